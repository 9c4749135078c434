"""Pictures as data URIs: indexed PNG for maps, WebP for what is continuous."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augment_store.modalities.definitions import INPUT_MODALITIES, NATIVE, S2_MODALITIES, S2L2A, LegendClass
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.modalities.registry import CONTINUOUS
from augment_store.modalities.rendering import Picture, palette
from augment_store.modalities.values import native

_RAMP: Final = ((0.0, (68, 27, 84)), (0.35, (190, 74, 94)), (0.7, (247, 172, 104)), (1.0, (253, 246, 214)))
"""Probability from none (dark) to certain (light)."""


@dataclass(frozen=True)
class MapPicture:
    """A map as it is shown: in the colors of its legend, or as a picture of its own.

    Attributes:
        codes: ``[y, x]`` codes of the legend.
        classes: The legend.
        photo: The picture, None if it is drawn in the legend's colors.
    """

    codes: NDArray[np.uint8]
    classes: tuple[LegendClass, ...]
    photo: Picture | None = None

    @classmethod
    def from_values(cls, kind: GeneratedMap, values: NDArray[Any]) -> Self:
        """Return one generated map of stored values."""
        photo = None if kind.drawn_by_legend else kind.picture(values)
        return cls(kind.codes(values), kind.legend, photo)

    def pixels(self) -> Picture:
        """Return its colors."""
        return palette(self.classes)[self.codes] if self.photo is None else self.photo

    def uri(self, size: int, quality: int) -> str:
        """Return it as a data URI: a legend's map as PNG, another as WebP of at most `size` pixels each way."""
        if self.photo is None:
            return map_uri(self.codes, self.classes)
        return photo_uri(self.photo, size, quality)


def draw_input(raw: NDArray[Any], modality: str, *, unit: str = NATIVE) -> Picture:
    """Draw an input raster ``[C, y, x]`` as the generated map of its modality would be.

    Args:
        raw: Values on disk.
        modality: Name of an input modality.
        unit: Their unit, see `native`.
    """
    values = native(raw, INPUT_MODALITIES[modality], unit=unit)
    kind = S2L2A.name if modality in S2_MODALITIES else modality  # both begin with the bands that are drawn
    return CONTINUOUS[kind].picture_of(values)


def color_confidence(confidence: NDArray[np.float64]) -> Picture:
    """Return a probability ``[y, x]`` in 0..1 as a picture ``[y, x, 3]``."""
    positions = [position for position, _ in _RAMP]
    channels = np.array([color for _, color in _RAMP], dtype=float).T
    # [y, x] → [y, x, 3], a channel at a time
    mixed = np.stack([np.interp(confidence, positions, channel) for channel in channels], axis=-1)
    return mixed.round().astype(np.uint8)


def map_uri(codes: NDArray[np.uint8], classes: Sequence[LegendClass]) -> str:
    """Return a map ``[y, x]`` as an indexed PNG."""
    # only the classes that occur get a palette entry, so that few bits a pixel suffice
    present, indices = np.unique(codes, return_inverse=True)
    # from gray to P, gray levels become the indices of a palette
    indexed = Image.fromarray(indices.reshape(codes.shape).astype(np.uint8)).convert("P")
    indexed.putpalette(palette(classes)[present].tobytes())
    return _uri(indexed, "png", optimize=True, bits=_bits(present.size))


def photo_uri(picture: Picture, size: int, quality: int) -> str:
    """Return a picture ``[y, x, 3]`` as a WebP data URI of at most `size` pixels each way."""
    image = Image.fromarray(picture)
    longer = max(image.size)
    if size < longer:
        # a long, narrow picture must not shrink to no pixels
        width, height = (max(1, round(side * size / longer)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return _uri(image, "webp", quality=quality, method=4)


def _bits(colors: int) -> int:
    # the depths that an indexed PNG can have
    return next(bits for bits in (1, 2, 4, 8) if colors <= 2**bits)


def _uri(image: Image.Image, kind: str, **options: int | bool) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
