"""The proof that the weights in use are a checkpoint's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from terramind_weights.files import WeightsError


def load_proven(
    module: nn.Module, state: Mapping[str, Tensor], origin: Path, names: Mapping[str, str] | None = None
) -> None:
    """Loads a checkpoint into a module and proves that the module's tensors are the checkpoint's.

    Tensors of the checkpoint that the module does not have, such as other modalities', are left alone.

    Args:
        module: What to load into.
        state: The checkpoint's tensors.
        origin: File they are from, for messages.
        names: Tensors of the module to load → their names in the checkpoint; None for all of them, under
            their own names.

    Raises:
        WeightsError: Naming the first tensor that the file lacks, has in another shape, or that is not equal
            after loading.
    """
    wanted = names if names is not None else {name: name for name in module.state_dict()}
    own = module.state_dict()
    expected = {ours: _find(ours, wanted, own, state, origin) for ours in wanted}
    module.load_state_dict(expected, strict=names is None)
    loaded = module.state_dict()
    for ours, theirs in wanted.items():
        if not torch.equal(loaded[ours].cpu(), expected[ours].to(loaded[ours].dtype)):
            raise WeightsError(f"{origin}: tensor {theirs} differs from the file after loading")


def _find(
    ours: str,
    wanted: Mapping[str, str],
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    origin: Path,
) -> Tensor:
    """A tensor of the file, by its name or by that of one tied to it (safetensors keeps only one of them)."""
    tied = (other for other in wanted if own[other].data_ptr() == own[ours].data_ptr())
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
    """SHA-256 over a module's tensors, names and shapes, for weights that come from no file."""
    state = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        state.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()
