"""Values as pictures: natural colors, radar, relief, and the colors of a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augment_store.modalities.definitions import S2L2A, LegendClass

Picture = NDArray[np.uint8]
"""``[y, x, 3]`` red, green, blue."""

NO_CODE: Final = 255
"""Code of a pixel without a value."""

_RGB: Final = tuple(S2L2A.bands.index(name) for name in ("RED", "GREEN", "BLUE"))

_CLOUD: Final = 3000.0
"""Reflectance × 10⁴ from which a pixel counts as cloud or snow, if all visible bands reach it."""

_MIN_CLEAR_SHARE: Final = 0.05
"""Share of clear pixels below which a chip is stretched over all its pixels."""

_SUN: Final = (-1.0, 1.0, 1.6)
"""Direction the hillshade's light comes from, as x east, y north, z up: north-west, 49° high."""

_GENTLE_STEP: Final = 0.5
"""Height difference between pixels in metres below which relief is not exaggerated further."""


def palette(classes: Sequence[LegendClass]) -> NDArray[np.uint8]:
    """Return the colors ``[256, 3]`` of the codes of a legend; grey for codes that are in none."""
    colors = np.full((NO_CODE + 1, 3), 128, dtype=np.uint8)
    for entry in classes:
        colors[entry.value] = entry.rgb
    return colors


def draw_rgb(bands: NDArray[np.floating]) -> Picture:
    """Draw natural colors of Sentinel-2 bands ``[C, y, x]``, stretched over the chip's own range without clouds."""
    chosen = bands[list(_RGB)]
    # [3, y, x] → [3, n]
    clear = chosen[:, ~(chosen >= _CLOUD).all(axis=0)]
    return _picture(_stretch(chosen, clear if clear.size > _MIN_CLEAR_SHARE * chosen.size else chosen) ** 0.8)


def draw_radar(bands: NDArray[np.floating]) -> Picture:
    """Draw VV as red and blue, and VH as green, of the two S1 bands ``[2, y, x]`` in dB, stretched."""
    # each by itself: VH is some 7 dB weaker (the means in `definitions`)
    vv, vh = (_stretch(band) for band in bands)
    return _picture(np.stack([vv, vh, vv]))


def draw_hillshade(bands: NDArray[np.floating]) -> Picture:
    """Draw the hillshade of a DEM ``[1, y, x]`` in meters, lighter where higher."""
    # a gradient would spread NaN to the neighbors
    height = np.where(np.isfinite(bands[0]), bands[0], 0.0)
    # the rise from row to row, which run south, and from column to column
    south, east = np.gradient(height)
    # the slope that is drawn as 45°: steeper than nine tenths of the chip
    steep = max(float(np.percentile(np.hypot(south, east), 90)), _GENTLE_STEP)
    # the surface's normal [3, y, x]: x east, y north, z up, as in `_SUN`
    normal = np.stack([-east / steep, south / steep, np.ones_like(height)])
    light = np.tensordot(np.array(_SUN), normal / np.linalg.norm(normal, axis=0), axes=1) / np.linalg.norm(
        _SUN
    )
    grey = 0.65 * light.clip(0, 1) + 0.35 * _stretch(bands[0])
    return _picture(np.stack([grey, grey, grey * 0.96]))


def _stretch(values: NDArray[np.floating], over: NDArray[np.floating] | None = None) -> NDArray[np.floating]:
    """Stretch values between the 2nd and 98th percentile of `over`, or their own, to 0..1; 0 where one is missing.

    If all are equal, they become ½.
    """
    over = values if over is None else over
    finite = over[np.isfinite(over)]
    if not finite.size:
        return np.zeros_like(values)
    low, high = np.percentile(finite, (2, 98))
    if high <= low:
        return np.where(np.isfinite(values), 0.5, 0.0)
    stretched: NDArray[np.floating] = np.nan_to_num((values - low) / (high - low)).clip(0, 1)
    return stretched


def _picture(channels: NDArray[np.floating]) -> Picture:
    # [3, y, x] → [y, x, 3]
    return np.ascontiguousarray((channels * 255).round().astype(np.uint8).transpose(1, 2, 0))
