"""Check that TerraTorch's network takes images of a shape; parts of it were written for squares."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from terratorch.models.backbones.terramind.model.terramind_tim import TerraMindTiM
from terratorch.models.necks import ReshapeTokensToImage
from torch import Tensor, nn

from augment_store.errors import AugmentStoreError
from augment_store.modalities.definitions import PATCH_SIZE
from augment_store.utils.text import format_size, single_line
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


@contextlib.contextmanager
def unchanged(task: nn.Module) -> Iterator[None]:
    """Put the modes and buffers of a task's modules back after a trial, such as those from which batch norm learns."""
    modes = {module: module.training for module in task.modules()}
    buffers = {name: buffer.clone() for name, buffer in task.named_buffers()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for name, buffer in task.named_buffers():
                # some networks make one as they run
                if name in buffers:
                    buffer.copy_(buffers[name])


def try_network(task: nn.Module, images: Mapping[str, Tensor], counted: str | None) -> None:
    """Run a task's network once on one chip, and leave it and all random draws as they were.

    Args:
        task: TerraTorch's task, before training.
        images: ``[1, C, ...]`` by modality, as the network gets them.
        counted: How a training batch of one chip comes about, for the message; None if there is none. Batch norm over
            an image that is pooled to one pixel then has a single value for each channel.

    Raises:
        ConfigError: If it fails, in the words of the layer that does.
    """
    try:
        with unchanged(task), isolate_rng(include_cuda=False), torch.no_grad():
            # else in the modes that training has, too
            if counted is None:
                task.eval()
            task(dict(images))
    except AugmentStoreError:
        raise
    # any decoder may be here, and TerraTorch's raise what PyTorch raises
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
        # these two say little without their names
        told = single_line(repr(error) if isinstance(error, KeyError | AssertionError) else error)
        # of the computer, not of the network: the trial is on the CPU, and training may not be
        if isinstance(error, NotImplementedError) or "not enough memory" in told:
            return
        if counted is not None and "more than 1 value per channel" in told:
            raise ConfigError(
                f"a batch of an epoch holds one chip ({counted}), and the decoder's batch norm over a single pixel "
                "needs two; choose another data.init_args.batch_size"
            ) from error
        size = format_size(next(iter(images.values())).shape[-2:])
        raise ConfigError(
            f"the network fails on a chip of {size}: {told}; make necks and decoder of model_args fit one another"
        ) from error


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
