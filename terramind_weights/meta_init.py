"""Building a network without memory for its weights, because a file will supply them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Build parameters on device ``meta`` inside the block; buffers, which upstream computes, are real.

    Memory that a module asks for is never written to, so the system never provides it: initialising weights that a
    file replaces costs more than reading the file. `torch.device("meta")` would affect the buffers too, and upstream
    reads some of them while it builds. Ties between parameters are kept.
    `terramind_weights.verified_loading.load_proven` fills the parameters.
    """
    # every module registers its parameters by it, whoever builds the module
    register = nn.Module.register_parameter

    def register_on_meta(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        # one on meta already is registered again to tie it, and must stay the same object
        if param is not None and not param.is_meta:
            param = nn.Parameter(param.detach().to("meta"), requires_grad=param.requires_grad)
        register(self, name, param)

    nn.Module.register_parameter = register_on_meta  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
