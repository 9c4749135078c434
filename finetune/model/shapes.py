"""Check that TerraTorch's network takes images of a shape; parts of it were written for squares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from terratorch.models.backbones.terramind.model.terramind_tim import TerraMindTiM
from terratorch.models.necks import ReshapeTokensToImage
from torch import nn

from augment_store.modalities.definitions import PATCH_SIZE
from augment_store.utils.text import format_size
from finetune.errors import ConfigError

PADDED_TO: Final = 2 * PATCH_SIZE
"""TerraTorch pads the sides of an image to a multiple of two patches, since many decoders halve them."""

DEFAULT_CROP: Final = 224
"""Side of TerraTorch's tiles where none is named."""

REMEDY: Final = "cut squares of the rasters (tim-store cut), or crop in the transforms"


def check_shape(task: nn.Module, shape: tuple[int, int]) -> None:
    """Make sure that a task takes images of a shape and puts their tokens back where they came from.

    Args:
        task: TerraTorch's task, with its network.
        shape: Height and width in pixels, after the transforms.

    Raises:
        ConfigError: If it does not.
    """
    _check_tiles(getattr(task, "tiled_inference_parameters", None) or {}, shape)
    # rounded up to whole pairs of patches, as TerraTorch pads
    rows, columns = (-(-side // PADDED_TO) * PADDED_TO // PATCH_SIZE for side in shape)
    for module in task.modules():
        if isinstance(module, TerraMindTiM) and rows != columns:
            raise ConfigError(
                f"images of {format_size(shape)}: TerraTorch's in-line TiM takes squares only; {REMEDY}, or use a store"
            )
        taken = _rows_taken(module, rows * columns) if isinstance(module, ReshapeTokensToImage) else None
        if taken not in {None, rows}:
            raise ConfigError(
                f"images of {format_size(shape)} have {rows} × {columns} tokens, which TerraTorch's "
                "ReshapeTokensToImage "
                f"would lay out in {taken} rows: say h: {rows} at that neck in the YAML, or {REMEDY}"
            )


def check_smallest_batch(task: nn.Module, images: int, counted: str) -> None:
    """Make sure that a decoder can train on the smallest batch of an epoch.

    Batch norm over an image that is pooled to one pixel has a single value for each channel in a batch of one.

    Args:
        task: TerraTorch's task, with its network.
        images: Number of images in the smallest batch.
        counted: How that comes about, for the message.

    Raises:
        ConfigError: If it cannot.
    """
    if images > 1:
        return
    for name, module in task.named_modules():
        if isinstance(module, nn.Sequential) and _normalizes_one_pixel(module):
            raise ConfigError(
                f"a batch of an epoch holds one chip ({counted}), and batch norm after the pooling in {name} needs "
                "two; choose another data.init_args.batch_size"
            )


def _normalizes_one_pixel(layers: nn.Sequential) -> bool:
    # TerraTorch's pyramid pooling has one such branch, whose image is a single pixel
    pools = [isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)) for layer in layers]
    if True not in pools:
        return False
    # batch norm before the pooling sees the whole image
    after = list(layers)[pools.index(True) + 1 :]
    parts = (part for layer in after for part in layer.modules())
    # the common base of batch norm in any dimension
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in parts)


def _rows_taken(neck: ReshapeTokensToImage, tokens: int) -> int | None:
    """Return the rows that the neck assumes, without a look at the image: those it is told, or those of a square."""
    side = math.isqrt(tokens)
    # without h the neck takes the square root of the number of tokens
    return neck.h or (side if side**2 == tokens else None)


def _check_tiles(tiles: Mapping[str, Any], shape: tuple[int, int]) -> None:
    """Refuse images with one side longer and one shorter than a tile, on which TerraTorch's tiling fails."""
    if not tiles:
        return
    # TerraTorch takes the side for both axes or for each
    crop = tuple(tiles.get(f"{axis}_crop") or tiles.get("crop") or DEFAULT_CROP for axis in "hw")
    longer = any(side > tile for side, tile in zip(shape, crop, strict=True))
    if longer and any(side < tile for side, tile in zip(shape, crop, strict=True)):
        raise ConfigError(
            f"images of {format_size(shape)} are longer than the tiles of {format_size(crop)} of "
            "tiled_inference_parameters in one "
            "direction and shorter in the other, which TerraTorch cannot tile; leave tiled_inference_parameters out, "
            "or make h_crop and w_crop fit"
        )
