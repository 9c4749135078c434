"""Pictures as data URIs: indexed PNG for maps, WebP for what is continuous."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augment_store.inspect.kinds import NO_CODE
from augment_store.modalities import LegendClass

_RAMP: Final = ((0.0, (68, 27, 84)), (0.35, (190, 74, 94)), (0.7, (247, 172, 104)), (1.0, (253, 246, 214)))
"""Probability from none (dark) to certain (light)."""


def palette(classes: Sequence[LegendClass]) -> NDArray[np.uint8]:
    """Colours ``[256, 3]`` of the codes of a legend; grey for codes that are in none."""
    colours = np.full((NO_CODE + 1, 3), 128, dtype=np.uint8)
    for entry in classes:
        colours[entry.value] = entry.rgb
    return colours


def colour_confidence(confidence: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A probability ``[y, x]`` in 0..1 as a picture ``[y, x, 3]``."""
    places = [place for place, _ in _RAMP]
    channels = np.array([colour for _, colour in _RAMP], dtype=float).T
    mixed = np.stack([np.interp(confidence, places, channel) for channel in channels], axis=-1)
    return mixed.round().astype(np.uint8)


def map_uri(codes: NDArray[np.uint8], classes: Sequence[LegendClass], stride: int) -> str:
    """A map ``[y, x]`` as an indexed PNG, every `stride`-th pixel of it."""
    present, places = np.unique(codes[::stride, ::stride], return_inverse=True)
    indexed = Image.fromarray(places.astype(np.uint8)).convert("P")
    indexed.putpalette(palette(classes)[present].tobytes())
    return _uri(indexed, "png", optimize=True, bits=_bits(present.size))


def photo_uri(picture: NDArray[np.uint8], size: int, quality: int) -> str:
    """A picture ``[y, x, 3]`` as WebP of at most `size` pixels a side."""
    image = Image.fromarray(picture)
    if size < image.width:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    return _uri(image, "webp", quality=quality, method=4)


def _bits(colours: int) -> int:
    return next(bits for bits in (1, 2, 4, 8) if colours <= 2**bits)


def _uri(image: Image.Image, kind: str, **options: int | bool) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
