"""The proof that the weights in use are a checkpoint's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from terramind_weights.weight_files import WeightsError


def load_proven(
    module: nn.Module, state: Mapping[str, Tensor], origin: Path, names: Mapping[str, str] | None = None
) -> None:
    """Load a checkpoint into a module and prove that the module's tensors are the checkpoint's.

    Tensors of the checkpoint that the module does not have, such as other modalities', are left alone. Where the
    module has no memory yet (device ``meta``), the checkpoint's tensors become its own instead of being copied.

    Args:
        module: What to load into.
        state: The checkpoint's tensors.
        origin: File they are from, for messages.
        names: Tensors of the module to load → their names in the checkpoint; None for all of them, under
            their own names.

    Raises:
        WeightsError: Naming the first tensor that the file lacks, that has another shape, or that differs after
            loading.
    """
    wanted = names if names is not None else {name: name for name in module.state_dict()}
    own = module.state_dict(keep_vars=True)  # tied tensors are the same object
    # in the module's type, to which loading converts: the comparison below is of equal types
    expected = {ours: _find(ours, wanted, own, state, origin).to(own[ours].dtype) for ours in wanted}
    if any(own[ours].is_meta for ours in wanted):
        _assign(module, expected, own, origin)
    else:
        # with `names` the rest of the module is not in `expected`, and no error
        module.load_state_dict(expected, strict=names is None)
    # read again: after `_assign`, the module holds other objects than those in `own`
    loaded = module.state_dict()
    for ours, theirs in wanted.items():
        if loaded[ours].is_meta or not torch.equal(loaded[ours].cpu(), expected[ours]):
            raise WeightsError(f"{origin}: tensor {theirs} differs from the file after loading")


def _assign(
    module: nn.Module, expected: Mapping[str, Tensor], own: Mapping[str, Tensor], origin: Path
) -> None:
    """Give a module tensors to keep; tied ones share one.

    Raises:
        WeightsError: If the file has different ones for tensors that are tied.
    """
    # assign: parameters on meta have no memory that values could be copied into
    module.load_state_dict(dict(expected), strict=False, assign=True)
    for ours in expected:
        # `own` is of before the loading, which has given each name of a tie its own tensor
        first = next(other for other in expected if own[other] is own[ours])
        if first == ours:
            continue
        if not torch.equal(expected[ours], expected[first]):
            raise WeightsError(f"{origin}: tensor {ours} differs from {first}, to which it is tied")
        folder, _, name = ours.rpartition(".")
        # both names lead to one parameter again, as the network was built
        setattr(module.get_submodule(folder), name, module.get_parameter(first))


def _find(
    ours: str,
    wanted: Mapping[str, str],
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    origin: Path,
) -> Tensor:
    """Find a tensor of the file by its name or that of a tensor tied to it (safetensors keeps only one of them)."""
    tied = (other for other in wanted if own[other] is own[ours])
    name = next((wanted[name] for name in (ours, *tied) if wanted[name] in state), None)
    if name is None:
        raise WeightsError(
            f"{origin}: tensor {wanted[ours]} is missing; these are not the weights of this model"
        )
    if state[name].shape != own[ours].shape:
        found, expected = tuple(state[name].shape), tuple(own[ours].shape)
        raise WeightsError(f"{origin}: tensor {name} has shape {found}, expected {expected}")
    return state[name]


def sha256_of_tensors(module: nn.Module) -> str:
    """SHA-256 over a module's tensors, names and shapes, for weights that do not come from a file."""
    state = hashlib.sha256()
    # sorted: the digest must not depend on the order in which modules were built
    for name, tensor in sorted(module.state_dict().items()):
        state.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()
