"""Albumentations on a sample as a whole: images, mask and cached maps move together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import albumentations as A  # noqa: N812 - the name everyone knows it by
import numpy as np
import torch
from albumentations.core.composition import BaseCompose
from numpy.typing import NDArray
from torch import Tensor

from augment_store.modalities.map_arrays import TOKENS
from augment_store.utils.text import format_size
from finetune.errors import ConfigError, EncodingError

Transforms: TypeAlias = A.Compose | Sequence[A.BasicTransform] | None

FLATTEN = "FlattenTemporalIntoChannels"
"""Transform of TerraTorch that makes ``[T, H, W, C]`` into ``[H, W, T·C]``."""

TURNING = (A.D4, A.RandomRotate90, A.Transpose)
"""Transforms that exchange height and width."""

TRIES = 16
"""A transform that turns half of the images is overlooked once in 65,536 times."""


class SampleTransform:
    """Applies a list of transforms to a sample.

    Images go in channels last, as TerraTorch's temporal transforms expect; the mask and the maps are masks to
    Albumentations, so that they are resampled by nearest neighbour and no colour transform touches them.

    Args:
        transforms: Albumentations transforms, or None to pass samples through.
        modalities: Names of the images.
        arrays: Names of the cached maps.
        timesteps: Number of timesteps.

    Raises:
        ConfigError: If a spatial transform would see four dimensions.
        EncodingError: If a spatial transform is combined with tokens.
    """

    def __init__(
        self, transforms: Transforms, modalities: Sequence[str], arrays: Sequence[str], timesteps: int
    ) -> None:
        steps = steps_of(transforms)
        check_steps(steps, arrays, timesteps)
        targets = dict.fromkeys(modalities[1:], "image") | dict.fromkeys(arrays, "mask")
        self._first = modalities[0]
        self._compose = A.Compose(steps, is_check_shapes=False, additional_targets=targets) if steps else None

    def __call__(
        self,
        images: Mapping[str, NDArray[np.float32]],
        mask: NDArray[np.int64] | None,
        maps: Mapping[str, NDArray[Any]],
        seed: int,
    ) -> tuple[dict[str, Tensor], Tensor | None, dict[str, Tensor]]:
        """Transform one sample.

        Args:
            images: ``[C, H, W]`` or ``[C, T, H, W]`` by modality.
            mask: ``[H, W]``, or None.
            maps: ``[T, H, W]`` or ``[T, K, H, W]`` by array name.
            seed: Seed for random draws.

        Returns:
            Images, mask and maps as tensors, dimensions in the same order.
        """
        if self._compose is None:
            return _tensors(images), None if mask is None else torch.from_numpy(mask), _tensors(maps)
        self._compose.set_random_seed(seed)
        given = {name: np.moveaxis(image, 0, -1) for name, image in images.items()}
        given["image"] = given.pop(self._first)
        given |= {name: flatten_maps(values) for name, values in maps.items()}
        moved = self._compose(**given, **({} if mask is None else {"mask": mask}))
        moved[self._first] = moved.pop("image")
        return (
            {name: _channels_first(moved[name]) for name in images},
            None if mask is None else torch.as_tensor(moved["mask"]),
            {name: unflatten_maps(moved[name], values.shape[:-2]) for name, values in maps.items()},
        )


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


def flatten_maps(values: NDArray[Any]) -> NDArray[Any]:
    """Reshape ``[…, H, W]`` to ``[H, W, channels]``."""
    planes = values.reshape(-1, *values.shape[-2:])
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def unflatten_maps(values: NDArray[Any] | Tensor, leading: tuple[int, ...]) -> Tensor:
    """Reverse `flatten_maps`, whatever the size has become."""
    tensor = torch.as_tensor(values)
    height, width = tensor.shape[:2]
    return tensor.reshape(height, width, -1).permute(2, 0, 1).reshape(*leading, height, width).contiguous()


def _channels_first(image: NDArray[np.float32] | Tensor) -> Tensor:
    """Return a transformed image as a tensor; one that ToTensorV2 has already converted is in order."""
    if isinstance(image, Tensor):
        return image.contiguous()
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0)))


def steps_of(transforms: Transforms) -> list[Any]:
    """List the transforms, however a YAML gives them."""
    return list(transforms.transforms if isinstance(transforms, A.Compose) else transforms or ())


def one_shape(draw: Callable[[], tuple[int, int]], transforms: Transforms) -> tuple[int, int]:
    """Return height and width of the images that transforms make; a batch needs one for all.

    Where a turn is followed by a crop, only trying tells what comes out; so turns are tried, with and without.

    Args:
        draw: Transforms an image, and gives its height and width.
        transforms: Albumentations transforms, or None.

    Raises:
        ConfigError: If some images are turned by 90°, which are not square.
    """
    shape = draw()
    turning = [step for step in every_step(steps_of(transforms)) if isinstance(step, TURNING)]
    if not turning or shape[0] == shape[1]:
        return shape
    usual = [step.p for step in turning]
    shapes = {shape}
    try:
        for share in (0, 1):
            for step in turning:
                step.p = share
            shapes |= {draw() for _ in range(TRIES)}
    finally:
        for step, share in zip(turning, usual, strict=True):
            step.p = share
    if len(shapes) > 1:
        raise ConfigError(
            f"transform {type(turning[0]).__name__} turns some images of {format_size(min(shapes))} by 90°, so "
            "that they do "
            "not fit into a batch with the others; take HorizontalFlip and VerticalFlip, or crop squares before it"
        )
    return shape


def every_step(steps: Sequence[Any]) -> Iterator[Any]:
    """Yield every transform, including those inside OneOf and the like."""
    for step in steps:
        if isinstance(step, BaseCompose):
            yield from every_step(step.transforms)
        else:
            yield step


def check_steps(steps: Sequence[Any], arrays: Sequence[str], timesteps: int) -> None:
    """Make sure that images and maps can go through transforms together.

    Args:
        steps: Albumentations transforms.
        arrays: Names of the cached maps.
        timesteps: Number of timesteps.

    Raises:
        ConfigError: If a spatial transform would see four dimensions.
        EncodingError: If a spatial transform is combined with tokens.
    """
    flat = list(every_step(steps))
    spatial = [type(step).__name__ for step in flat if isinstance(step, A.DualTransform)]
    if spatial and TOKENS in arrays:
        raise EncodingError(
            f"transform {spatial[0]} with encoding tokens: codebook indices do not rotate or rescale; "
            "leave spatial transforms out, or use another encoding"
        )
    names = [type(step).__name__ for step in flat]
    if arrays and any(getattr(step, "transpose_mask", False) for step in flat):
        raise ConfigError(
            "ToTensorV2 with transpose_mask: cached maps expect masks as they are; leave it out"
        )
    if spatial and timesteps > 1 and FLATTEN not in names:
        raise ConfigError(
            f"transform {spatial[0]} on {timesteps} timesteps needs {FLATTEN} before it and "
            "UnflattenTemporalFromChannels after ToTensorV2"
        )
