"""Turning cached arrays into the tensors a model sees; runs on batches, on the model's device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from augment_store.modalities import NDVI, PATCH_SIZE
from augment_store.schema import NDVI_FILL, NDVI_SCALE, SHARE_SCALE
from finetune.augment.encodings import CLASSES, EncodingPlan


def make_planes(plan: EncodingPlan, maps: Mapping[str, Tensor]) -> Tensor:
    """Concatenated planes of a batch, finite whatever the maps hold.

    Args:
        plan: Which planes.
        maps: Raw values ``[B, T, H, W]`` by the store's array name; ``probabilities`` are
            ``[B, T, 10, H, W]``.

    Returns:
        ``[B, C, T, H, W]`` float32.
    """
    return torch.cat([_ENCODERS[encoding.name](maps[encoding.array]) for encoding in plan.planes], dim=1)


def _onehot(lulc: Tensor) -> Tensor:
    """A plane per class, 1 where the pixel is of it; all are 0 where nothing was generated."""
    classes = torch.arange(CLASSES, device=lulc.device, dtype=lulc.dtype).view(1, -1, 1, 1, 1)
    return (lulc.unsqueeze(1) == classes).float()


def _probabilities(shares: Tensor) -> Tensor:
    return shares.transpose(1, 2).float() * SHARE_SCALE


def _index(lulc: Tensor) -> Tensor:
    """The class number scaled to 0..1; 0, which is "no data", where nothing was generated."""
    index = lulc.unsqueeze(1).float()
    return torch.where(index < CLASSES, index / (CLASSES - 1), 0.0)


def _ndvi(ndvi: Tensor) -> Tensor:
    """NDVI standardised as TerraMind was pretrained with it; 0, the mean, where nothing was generated."""
    raw = ndvi.unsqueeze(1)
    standardised = (raw.float() * NDVI_SCALE - NDVI.mean[0]) / NDVI.std[0]
    return torch.where(raw == NDVI_FILL, 0.0, standardised)


def _confidence(share: Tensor) -> Tensor:
    return share.unsqueeze(1).float() * SHARE_SCALE


def _token_probability(probability: Tensor) -> Tensor:
    """Probability of the token that a pixel's patch was drawn; 0 where nothing was generated."""
    return probability.unsqueeze(1).float().nan_to_num(nan=0.0)


_ENCODERS = {
    "onehot": _onehot,
    "probabilities": _probabilities,
    "index": _index,
    "ndvi": _ndvi,
    "confidence": _confidence,
    "token_probability": _token_probability,
}


def make_token_grid(tokens: Tensor) -> Tensor:
    """Codebook indices repeated over their patches, so that TerraTorch's wrappers see one image size.

    Args:
        tokens: ``[B, T, H/16, W/16]`` codebook indices.

    Returns:
        ``[B, 1, T, H, W]`` int64; `finetune.model.backbone.take_indices` takes them back.
    """
    grid = tokens.long().repeat_interleave(PATCH_SIZE, dim=-1).repeat_interleave(PATCH_SIZE, dim=-2)
    return grid.unsqueeze(1)
