"""A widened patch embedding as TerraTorch has it: pretrained and new columns joined in one matrix, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from augment_store.modalities.definitions import PATCH_SIZE
from terramind_weights.checkpoint import NETWORK, Checkpoint, check_fit, network_tensors
from terramind_weights.weight_files import read_state

ADDED_WEIGHT: Final = ".proj.added.weight"
"""End of the name of a widened patch embedding's new columns."""


def merge_columns(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join the new columns of a widened patch embedding with the pretrained ones, the band running fastest.

    Args:
        tensors: Weights by name; a projection's are ``[token, pixels · bands]`` and ``[token, pixels · planes]``.
    """
    merged = dict(tensors)
    for name in [name for name in tensors if name.endswith(ADDED_WEIGHT)]:
        weight = _pretrained(name)
        # pop: TerraTorch knows no weight of that name
        pair = (merged[weight], merged.pop(name))
        # [token, pixel, band] each, so that every pixel has its bands, then its planes
        parts = [part.reshape(len(part), PATCH_SIZE**2, -1) for part in pair]
        merged[weight] = torch.cat(parts, dim=-1).flatten(-2).contiguous()
    return merged


def split_columns(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Part what `merge_columns` joined, to the last bit.

    Args:
        tensors: Weights by name.
        wanted: Weights of the network that they are for, whose new columns have a name of their own.
    """
    parted = dict(tensors)
    for name in _merged(tensors, wanted):
        weight = _pretrained(name)
        bands = wanted[weight].shape[1] // PATCH_SIZE**2
        # [token, pixels · (bands + planes)] → [token, pixel, band]
        joined = tensors[weight].reshape(len(tensors[weight]), PATCH_SIZE**2, -1)
        parted[weight] = joined[..., :bands].flatten(-2).contiguous()
        parted[name] = joined[..., bands:].flatten(-2).contiguous()
    return parted


def read_published(path: Path, task: nn.Module) -> Checkpoint:
    """Read the weights of a bundle, in TerraTorch's terms, as a checkpoint of exactly this network.

    Raises:
        MisfitError: If they belong to another architecture; the message names the first tensor that differs.
        WeightsError: If the file cannot be read.
    """
    own = network_tensors(task)
    named = {f"{NETWORK}{name}": value for name, value in read_state(path).items()}
    tensors = split_columns(named, own)
    check_fit(path, own, tensors)
    return Checkpoint(path, tensors, resumable=False)


def _pretrained(added: str) -> str:
    """Return the name of the pretrained columns beside new ones."""
    return f"{added.removesuffix(ADDED_WEIGHT)}.proj.weight"


def _merged(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Collection[str]:
    """Return names of new columns that a network has and these weights have joined with the pretrained ones."""
    lacking = (name for name in wanted if name.endswith(ADDED_WEIGHT) and name not in tensors)
    # of another size, they are left to be reported as another architecture
    return [
        name for name in lacking if _columns(tensors, name) == _columns(wanted, name) + wanted[name].shape[1]
    ]


def _columns(tensors: Mapping[str, Tensor], added: str) -> int:
    weight = tensors.get(_pretrained(added))
    return 0 if weight is None else weight.shape[-1]
