"""Turning cached arrays into the tensors a model sees; runs on batches, on the model's device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from augment_store.modalities.definitions import PATCH_SIZE
from augment_store.modalities.map_arrays import TOKENS
from finetune.augment.encodings import PLANES_MODALITY, EncodingPlan, Placement, carrier_of


def make_planes(plan: EncodingPlan, maps: Mapping[str, Tensor]) -> Tensor:
    """Concatenate the planes of a batch, finite whatever the maps hold.

    Args:
        plan: Which planes.
        maps: Raw values ``[B, T, H, W]`` by the store's array name, or ``[B, T, K, H, W]`` for an array with K bands.

    Returns:
        ``[B, C, T, H, W]`` float32.
    """
    return torch.cat([encoding.encode(maps[encoding.array]) for encoding in plan.planes], dim=1)


def make_token_grid(tokens: Tensor) -> Tensor:
    """Repeat codebook indices over their patches, so that TerraTorch's wrappers see one image size.

    Args:
        tokens: ``[B, T, H/16, W/16]`` codebook indices.

    Returns:
        ``[B, 1, T, H, W]`` int64; `finetune.model.backbone.take_indices` undoes this.
    """
    grid = tokens.long().repeat_interleave(PATCH_SIZE, dim=-1).repeat_interleave(PATCH_SIZE, dim=-2)
    return grid.unsqueeze(1)


def join_images(
    plan: EncodingPlan,
    images: Mapping[str, Tensor],
    maps: Mapping[str, Tensor],
    token_modality: str,
) -> dict[str, Tensor]:
    """Add the cached modalities to the images of a batch, where the encoding puts them.

    Args:
        plan: Which planes, and where they go.
        images: Standardised ``[B, C, T, H, W]``, or ``[B, C, H, W]`` for one timestep, by modality.
        maps: Raw values ``[B, T, …]`` by the store's array name.
        token_modality: Modality that takes the tokens.

    Returns:
        The images, with what is joined in the same number of dimensions.
    """
    if plan.placement is Placement.NOWHERE:
        return dict(images)
    # by the same rule the backbone picks the patch embedding that it widens
    carrier = carrier_of(tuple(images))
    tokens = plan.placement is Placement.TOKENS
    joined = make_token_grid(maps[TOKENS]) if tokens else make_planes(plan, maps)
    # [B, C, 1, H, W] → [B, C, H, W], as images are without TerraTorch's temporal wrapper
    joined = joined.squeeze(2) if images[carrier].ndim == 4 else joined
    if plan.placement is Placement.BANDS:
        # planes last: the widened embedding takes the first bands for the pretrained ones
        return {**images, carrier: torch.cat([images[carrier], joined], dim=1)}
    return {**images, token_modality if tokens else PLANES_MODALITY: joined}
