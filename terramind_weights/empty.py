"""Building a network without memory for its weights, where a file is about to bring them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Parameters of modules built inside are on device ``meta``; buffers, which upstream computes, are real.

    Memory that a module asks for is never written to, so the system never gives it: initialising weights that a file
    replaces cost more than reading it. `torch.device("meta")` would take the buffers too, and upstream reads some of
    them while it builds. Ties between parameters are kept. `terramind_weights.proof.load_proven` fills them.
    """
    register = nn.Module.register_parameter

    def register_on_meta(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:
            param = nn.Parameter(param.detach().to("meta"), requires_grad=param.requires_grad)
        register(self, name, param)

    nn.Module.register_parameter = register_on_meta  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
