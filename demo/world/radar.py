"""Sentinel-1 RTC over the procedural world: backscatter by class, wind, moisture, slope and speckle."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo.world.fields import FloatGrid, blur
from demo.world.landcover import BUILT, WATER, LandCover, steepness
from demo.world.optics import within_class_noise
from demo.world.spectra import class_table

GAMMA_SHAPE: Final = 0.75
"""Shape of the gamma noise before the sensor's point spread averages neighbours."""
POINT_SPREAD: Final = 0.22
"""Weight of each neighbour along an axis; leaves about five equivalent looks, correlated over two pixels."""
SLOPE_EFFECT: Final = 4.0
"""What terrain correction leaves of the slope's effect, in dB per unit of slope towards the sensor."""


def speckle(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatGrid:
    """Spatially correlated multiplicative gamma noise [..., H, W] with median 1.

    Args:
        rng: Source of randomness.
        shape: Shape of the result; the last two axes are the image's.

    Returns:
        Factors on linear power.
    """
    power = blur(rng.standard_gamma(GAMMA_SHAPE, shape, dtype=np.float32), POINT_SPREAD)
    return np.asarray(power / np.median(power), dtype=np.float32)


def mean_backscatter(rng: np.random.Generator, cover: LandCover, timesteps: int) -> FloatGrid:
    """Backscatter [T, 2, H, W] in dB without speckle."""
    lulc = cover.lulc
    spread = class_table("radar")[lulc]
    shared, own = within_class_noise(rng, cover), within_class_noise(rng, cover)
    # VH follows VV, but not wholly; 0.85² + 0.5² ≈ 1 keeps its variance
    variation = np.stack([spread * shared, spread * (0.85 * shared + 0.5 * own)])
    _, east = steepness(cover.relief.elevation)
    # the sensor looks from one side, so only the slope towards the east counts
    slope = np.clip(SLOPE_EFFECT * east, -3.0, 3.0)
    ground = class_table("backscatter")[lulc].transpose(2, 0, 1) + variation + slope
    wind = 1.8 * rng.standard_normal(timesteps).astype(np.float32)
    moisture = 0.6 * rng.standard_normal(timesteps).astype(np.float32)
    water = lulc == WATER
    soil = ~water & (lulc != BUILT)
    # [time, y, x]: wind roughens water, rain wets soil, and towns see neither
    weather = wind[:, None, None] * water + moisture[:, None, None] * soil
    return np.asarray(ground[None] + weather[:, None], dtype=np.float32)


def observe_radar(rng: np.random.Generator, cover: LandCover, timesteps: int) -> NDArray[np.float16]:
    """Observe the scene with Sentinel-1.

    Args:
        rng: Source of randomness.
        cover: Terrain and land cover.
        timesteps: How many acquisitions, T.

    Returns:
        [T, 2, H, W] VV and VH in dB.
    """
    # blurred as linear power: a mean of decibels would dim single bright pixels
    power = blur(10.0 ** (mean_backscatter(rng, cover, timesteps) / np.float32(10.0)), 0.12)
    power = power * speckle(rng, power.shape)
    # −50 dB at least, since 0 has no logarithm
    return (10.0 * np.log10(np.maximum(power, 1e-5))).astype(np.float16)
