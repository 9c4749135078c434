"""Symmetries of the square that an augmentation can draw, so that features are made once for each of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import albumentations as A  # noqa: N812 - the name everyone knows it by
import numpy as np
from albumentations.core.composition import BaseCompose
from numpy.typing import NDArray
from torch import Tensor

from finetune.data.transforms import Transforms, every_step, steps_of
from finetune.errors import ConfigError

Turn = Callable[[NDArray[Any]], NDArray[Any]]

IDENTITY: Final = "e"

TURNS: Final[Mapping[str, Turn]] = {
    IDENTITY: lambda image: image,
    "r90": lambda image: np.rot90(image, 1, (-2, -1)),
    "r180": lambda image: np.rot90(image, 2, (-2, -1)),
    "r270": lambda image: np.rot90(image, 3, (-2, -1)),
    "h": lambda image: image[..., ::-1],
    "v": lambda image: image[..., ::-1, :],
    "t": lambda image: image.swapaxes(-2, -1),
    "hvt": lambda image: np.rot90(image, 2, (-2, -1)).swapaxes(-2, -1),
}
"""The eight symmetries by Albumentations' names, each of an image ``[…, H, W]``."""

GENERATORS: Final[Mapping[str, tuple[str, ...]]] = {
    "HorizontalFlip": ("h",),
    "VerticalFlip": ("v",),
    "Transpose": ("t",),
    "RandomRotate90": ("r90",),
    "D4": ("r90", "h"),
    "SquareSymmetry": ("r90", "h"),
}
"""Symmetries that generate the group of each transform, by its class."""

MOTIONLESS: Final = frozenset(
    {"FlattenTemporalIntoChannels", "UnflattenTemporalFromChannels", "ToTensorV2", "NoOp"}
)
"""Transforms that move no pixel and change no value."""

_CORNERS: Final = np.arange(4).reshape(2, 2)
_NAMES: Final = {tuple(turn(_CORNERS).ravel().tolist()): name for name, turn in TURNS.items()}
"""Each symmetry by where it puts the four corners, which tell the eight apart."""


def symmetries_of(transforms: Transforms, split: str) -> tuple[str, ...]:
    """Return every symmetry that transforms can draw, the identity first: the group that they generate.

    Args:
        transforms: Albumentations transforms, or None.
        split: Their split, for the message.

    Raises:
        ConfigError: If one does anything else to an image, for which there would be no features.
    """
    names = [type(step).__name__ for step in every_step(steps_of(transforms))]
    strange = [name for name in names if name not in GENERATORS and name not in MOTIONLESS]
    if strange:
        raise ConfigError(
            f"{split}_transform {strange[0]}: features are made for the symmetries of the square alone; leave it out, "
            f"take {', '.join(GENERATORS)}, or train without --features"
        )
    generators = {turn for name in names for turn in GENERATORS.get(name, ())}
    found = {IDENTITY}
    # products with the generators, until there are no new ones
    while new := {_product(turn, known) for turn in generators for known in found} - found:
        found |= new
    return tuple(name for name in TURNS if name in found)


def _product(outer: str, inner: str) -> str:
    return _NAMES[tuple(TURNS[outer](TURNS[inner](_CORNERS)).ravel().tolist())]


def motions_of(transforms: Transforms) -> list[Any]:
    """Return copies of transforms that move pixels alone, but draw the same random numbers.

    A sample's symmetry is then found without its image, and is the one that the image would have got.
    """
    return [_motion(copy.deepcopy(step)) for step in steps_of(transforms)]


def _motion(step: Any) -> Any:
    if isinstance(step, BaseCompose):
        step.transforms = [_motion(member) for member in step.transforms]
        return step
    # every transform draws whether it is applied, also one that changes no pixel
    return A.NoOp(p=step.p) if type(step).__name__ in MOTIONLESS else step


def drawn_symmetry(positions: Tensor) -> str:
    """Return the symmetry that has moved an image of pixel positions.

    Args:
        positions: ``[H, W]``, the image that was ``arange(H · W)`` before.
    """
    corners = positions[[0, -1]][:, [0, -1]].ravel().tolist()
    # ranks 0 to 3: the four corners in the order in which they lay
    order = sorted(corners)
    return _NAMES[tuple(order.index(value) for value in corners)]


def turned(images: Mapping[str, NDArray[Any]], names: Sequence[str]) -> list[dict[str, NDArray[Any]]]:
    """Return images ``[…, H, W]`` under each symmetry, as contiguous copies."""
    return [
        {key: np.ascontiguousarray(TURNS[name](image)) for key, image in images.items()} for name in names
    ]
