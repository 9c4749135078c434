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

from augment_store.modalities.definitions import IGNORED_LABEL
from augment_store.modalities.map_arrays import TOKENS
from augment_store.utils.text import format_size
from finetune.augment.encodings import NOT_GENERATED
from finetune.errors import ConfigError

Transforms: TypeAlias = A.Compose | Sequence[A.BasicTransform | BaseCompose] | None

TransformList: TypeAlias = A.Compose | list[A.BasicTransform | BaseCompose] | None
"""Transforms as a YAML gives them; a choice such as OneOf may be among them."""

FLATTEN = "FlattenTemporalIntoChannels"
"""Transform of TerraTorch that makes ``[T, H, W, C]`` into ``[H, W, T·C]``."""

RESIZING = (
    A.RandomScale,
    A.RandomCropFromBorders,
    A.CropAndPad,
    A.PadIfNeeded,
    A.LongestMaxSize,
    A.SmallestMaxSize,
    *(A.D4, A.RandomRotate90, A.Transpose),
)
"""Transforms whose result may have another size each time, even if they are always applied."""

KEEPING = (A.HorizontalFlip, A.VerticalFlip, A.D4, A.RandomRotate90, A.Transpose)
"""Transforms that never make another size of a square."""

TURNING = (A.D4, A.RandomRotate90, A.Transpose)
"""Transforms that exchange height and width."""

COVERED = 21_845
"""Value that marks the pixels of a chip in a plane of its own, which a pad or a rotation fills with others.

No label is that large, so that a `fill_mask` of a YAML is never taken for the chip.
"""

COVERAGE = "covered_by_the_chip"
"""Name of that plane among the targets of a transform."""

PIXEL_NUMBERS = "pixel_numbers"
"""Name of a plane that may go along as a map, and tells behind the transforms which pixel of the chip each one is."""

NO_PIXEL = -1
"""Number of a pixel that is none of the chip's."""

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
        ConfigError: If a spatial transform would see four dimensions, or is combined with tokens.
    """

    def __init__(
        self, transforms: Transforms, modalities: Sequence[str], arrays: Sequence[str], timesteps: int
    ) -> None:
        steps = steps_of(transforms)
        check_steps(steps, arrays, timesteps)
        # Albumentations calls its first image `image`; the others are further targets
        targets = dict.fromkeys(modalities[1:], "image") | dict.fromkeys(
            (*arrays, COVERAGE, PIXEL_NUMBERS), "mask"
        )
        self._first = modalities[0]
        # [T, H, W, C] beside [H, W] differ in the first two axes, which Albumentations would refuse
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
            maps: ``[T, H, W]`` or ``[T, K, H, W]`` by array name; also `PIXEL_NUMBERS`, ``[H, W]``.
            seed: Seed for random draws.

        Returns:
            Images, mask and maps as tensors, dimensions in the same order.
        """
        if self._compose is None:
            return _tensors(images), None if mask is None else torch.from_numpy(mask), _tensors(maps)
        # Albumentations has a generator of its own: set here, so that torch's seed decides the sample
        self._compose.set_random_seed(seed)
        # [C, …, H, W] → […, H, W, C]
        given = {name: np.moveaxis(image, 0, -1) for name, image in images.items()}
        given["image"] = given.pop(self._first)
        given |= {name: flatten_maps(values) for name, values in maps.items()}
        height, width = next(iter(images.values())).shape[-2:]
        given[COVERAGE] = np.full((height, width), COVERED, np.int16)
        moved = self._compose(**given, **({} if mask is None else {"mask": mask}))
        moved[self._first] = moved.pop("image")
        outside = torch.as_tensor(moved[COVERAGE]) != COVERED
        made = {name: unflatten_maps(moved[name], values.shape[:-2]) for name, values in maps.items()}
        return (
            {name: _channels_first(moved[name]) for name in images},
            None if mask is None else torch.as_tensor(moved["mask"]).masked_fill(outside, IGNORED_LABEL),
            {name: fill_maps(name, values, outside) for name, values in made.items()},
        )


def fill_maps(array: str, values: Tensor, outside: Tensor) -> Tensor:
    """Mark pixels of a map as not generated where no chip is; tokens stay, since no transform moves them."""
    if array == TOKENS:
        return values
    return values.masked_fill(outside, NO_PIXEL if array == PIXEL_NUMBERS else NOT_GENERATED[array])


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


def flatten_maps(values: NDArray[Any]) -> NDArray[Any]:
    """Reshape ``[…, H, W]`` to ``[H, W, channels]``; a plane ``[H, W]`` stays one, which ToTensorV2 never turns."""
    if values.ndim == 2:
        return values
    # [T, K, H, W] → [T·K, H, W] → [H, W, T·K]
    planes = values.reshape(-1, *values.shape[-2:])
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def unflatten_maps(values: NDArray[Any] | Tensor, leading: tuple[int, ...]) -> Tensor:
    """Reverse `flatten_maps`, whatever the size has become."""
    tensor = torch.as_tensor(values)
    height, width = tensor.shape[:2]
    # [H', W', T·K] → [T·K, H', W'] → [T, K, H', W']
    return tensor.reshape(height, width, -1).permute(2, 0, 1).reshape(*leading, height, width).contiguous()


def _channels_first(image: NDArray[np.float32] | Tensor) -> Tensor:
    """Return a transformed image as a tensor; one that ToTensorV2 has already converted is in order."""
    if isinstance(image, Tensor):
        return image.contiguous()
    # […, H, W, C] → [C, …, H, W]
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0)))


def steps_of(transforms: Transforms) -> list[Any]:
    """List the transforms, however a YAML gives them."""
    return list(transforms.transforms if isinstance(transforms, A.Compose) else transforms or ())


def one_shape(draw: Callable[[], tuple[int, int]], transforms: Transforms) -> tuple[int, int]:
    """Return height and width of the images that transforms make; a batch needs one for all.

    Where a turn is followed by a crop, only trying tells what comes out; so transforms are tried, with and without.

    Args:
        draw: Transforms an image, and gives its height and width.
        transforms: Albumentations transforms, or None.

    Raises:
        ConfigError: If images of several shapes come out.
    """
    shapes = {draw()}
    steps = [step for step in every_step(steps_of(transforms)) if isinstance(step, A.DualTransform)]
    # nothing here changes a size by chance, so one draw tells
    if not any(isinstance(step, RESIZING) or step.p < 1 for step in steps):
        return shapes.pop()
    usual = [step.p for step in steps]
    try:
        # once without the optional transforms, once with all of them
        for share in (0, 1):
            # a transform that is always applied, such as a crop to one size, is never left out
            for step, own in zip(steps, usual, strict=True):
                step.p = share if 0 < own < 1 else own
            shapes |= {draw() for _ in range(TRIES)}
    # `p` belongs to the transforms that will train
    finally:
        for step, own in zip(steps, usual, strict=True):
            step.p = own
    if len(shapes) > 1:
        raise ConfigError(_describe_shapes(shapes, steps))
    return shapes.pop()


def _describe_shapes(shapes: set[tuple[int, int]], steps: Sequence[Any]) -> str:
    turning = [type(step).__name__ for step in steps if isinstance(step, TURNING)]
    # the same two sides, whichever is the height
    if turning and len({tuple(sorted(shape)) for shape in shapes}) == 1:
        return (
            f"transform {turning[0]} turns some images of {format_size(min(shapes))} by 90°, so that they do not fit "
            "into a batch with the others; take HorizontalFlip and VerticalFlip, or crop squares before it"
        )
    names = dict.fromkeys(type(step).__name__ for step in steps if not isinstance(step, KEEPING))
    return (
        f"transforms {', '.join(names)} make images of {format_size(min(shapes))} and of {format_size(max(shapes))}, "
        "which do not fit into one batch; end with a crop or a resize that is always applied (p: 1)"
    )


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
        ConfigError: If a spatial transform would see four dimensions, or is combined with tokens.
    """
    flat = list(every_step(steps))
    spatial = [type(step).__name__ for step in flat if isinstance(step, A.DualTransform)]
    if spatial and TOKENS in arrays:
        raise ConfigError(
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
