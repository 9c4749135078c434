"""Sentinel-2 L2A over the procedural world: spectra, season, sun, sensor and atmosphere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo.world.fields import FloatGrid, blur, fractal_field, smooth_field
from demo.world.landcover import BUILT, LandCover, steepness
from demo.world.spectra import BRIGHTNESS, GREENNESS, WETNESS, class_table

RED, NIR = 3, 7
"""Positions of B04 and B08 among the 12 bands."""
BANDS_20M: Final = (4, 5, 6, 8, 10, 11)
BANDS_60M: Final = (0, 9)

HAZE_BY_BAND: Final = np.array(
    [1.0, 0.92, 0.8, 0.68, 0.6, 0.52, 0.46, 0.4, 0.38, 0.34, 0.14, 0.08], dtype=np.float32
)
"""Optical depth of haze relative to B01, falling with wavelength."""
CLOUD_REFLECTANCE: Final = np.array(
    [6800, 6700, 6500, 6500, 6600, 6700, 6800, 6900, 6900, 5200, 4300, 3400], dtype=np.float32
)
HAZE_REFLECTANCE: Final = np.float32(2600.0)
STREET_SHADE: Final = np.float32(-0.35)
"""Streets are that much darker than the rest of a town, in log reflectance."""


@dataclass(frozen=True)
class OpticalSeries:
    """What Sentinel-2 saw.

    Attributes:
        s2l2a: [T, 12, H, W] int16 surface reflectance × 10⁴.
        ndvi: [T, H, W] float32 true NDVI of the ground, without atmosphere or noise.
        cloud: [T, H, W] bool, where a cloud hides the ground.
    """

    s2l2a: NDArray[np.int16]
    ndvi: NDArray[np.float32]
    cloud: NDArray[np.bool_]


def within_class_noise(rng: np.random.Generator, cover: LandCover) -> FloatGrid:
    """Noise [H, W] of variance 1 that is parcel-wise, patchy or grainy as suits the class at each pixel."""
    parcel, grain = class_table("parcel")[cover.lulc], class_table("grain")[cover.lulc]
    parcels = np.where(cover.lulc == BUILT, cover.blocks.constant(rng), cover.fields.constant(rng))
    patches = smooth_field(rng, cover.lulc.shape, 4.0)
    pixels = rng.standard_normal(cover.lulc.shape, dtype=np.float32)
    # roots, since the three are shares of the variance
    mixed = np.sqrt(parcel) * parcels + np.sqrt(1.0 - parcel - grain) * patches + np.sqrt(grain) * pixels
    return np.asarray(mixed, dtype=np.float32)


def seasonal_greenness(rng: np.random.Generator, cover: LandCover, days: NDArray[np.float64]) -> FloatGrid:
    """Departure of greenness from its yearly mean [T, H, W]; every field has its own calendar."""
    calendar = 0.25 * cover.fields.constant(rng) * class_table("parcel")[cover.lulc]
    # day 190 is in early July, when leaves are greenest
    phase = 2.0 * np.pi * (days - 190.0) / 365.0
    season: FloatGrid = class_table("season")[cover.lulc] * np.cos(
        phase[:, None, None] + 2.0 * np.pi * calendar
    )
    return np.asarray(season, dtype=np.float32)


def ground_reflectance(rng: np.random.Generator, cover: LandCover, days: NDArray[np.float64]) -> FloatGrid:
    """Reflectance of the ground [T, 12, H, W] in full sun, × 10⁴, before any sensor effect.

    Log-normal within each class, so that the median is the class's own.
    """
    lulc = cover.lulc
    streets = STREET_SHADE * ((lulc == BUILT) & (cover.blocks.edge < 0.8))
    brightness = class_table("brightness")[lulc] * within_class_noise(rng, cover) + streets
    greenness = class_table("greenness")[lulc] * within_class_noise(rng, cover)
    wetness = class_table("wetness")[lulc] * within_class_noise(rng, cover)
    # [y, x, band] → [band, y, x]; rows of classes that do not occur are 0, which has no logarithm
    median = np.log(np.maximum(class_table("reflectance"), 1.0))[lulc].transpose(2, 0, 1)
    steady = median + BRIGHTNESS[:, None, None] * brightness + WETNESS[:, None, None] * wetness
    leaf = greenness + seasonal_greenness(rng, cover, days)
    moisture = 0.15 * rng.standard_normal(len(days)).astype(np.float32)
    # [time, y, x] by band, and [time] by band for all pixels → [time, band, y, x]
    shift = GREENNESS[:, None, None] * leaf[:, None] + (moisture[:, None] * WETNESS)[:, :, None, None]
    return np.asarray(np.exp(steady + shift), dtype=np.float32)


def sunlight(rng: np.random.Generator, elevation: FloatGrid, days: NDArray[np.float64]) -> FloatGrid:
    """Illumination of the slopes [T, H, W] relative to flat ground: 70 % direct light, 30 % diffuse.

    The sun stands in the south-east, higher in summer (mid-morning overpass at 41° N).
    """
    south, east = steepness(elevation)
    # 64° at midsummer (day 172) and 20° at midwinter
    height = np.deg2rad(42.0 + 22.0 * np.cos(2.0 * np.pi * (days - 172.0) / 365.0))
    azimuth = np.deg2rad(150.0 + 8.0 * rng.standard_normal(len(days)))
    towards = -(np.sin(azimuth)[:, None, None] * east - np.cos(azimuth)[:, None, None] * south)
    # cosine between the sun and the slope's normal, divided by that of flat ground
    facing = (1.0 + towards / np.tan(height)[:, None, None]) / np.sqrt(1.0 + south**2 + east**2)
    return np.asarray(0.3 + 0.7 * np.clip(facing, 0.2, 1.6), dtype=np.float32)


def sensor(reflectance: FloatGrid) -> FloatGrid:
    """Point spread of every band, then the coarser sampling of the 20 m and 60 m bands, in place.

    Args:
        reflectance: [T, 12, H, W] with even H and W.

    Returns:
        The same array, mixed pixels and all.
    """
    reflectance = blur(reflectance, 0.14)
    height, width = reflectance.shape[-2:]
    for band in BANDS_20M:
        # means of 2 × 2 pixels, each then repeated, as 20 m bands are resampled to 10 m
        coarse = reflectance[:, band].reshape(-1, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
        reflectance[:, band] = coarse.repeat(2, axis=1).repeat(2, axis=2)
    for band in BANDS_60M:
        # blurred, not binned: a side that is even need not be a multiple of 6 pixels
        for _ in range(3):
            reflectance[:, band] = blur(reflectance[:, band], 0.3)
    return reflectance


def _haze(rng: np.random.Generator, shape: tuple[int, int]) -> FloatGrid:
    """Optical depth of haze at B01 [H, W]: mostly little, in one timestep of four a veil."""
    depth = rng.uniform(0.05, 0.16) if rng.random() < 0.25 else rng.uniform(0.0, 0.01)
    return np.asarray(
        depth * np.clip(1.0 + 0.5 * smooth_field(rng, shape, 40.0), 0.0, None), dtype=np.float32
    )


def _cloud(rng: np.random.Generator, shape: tuple[int, int]) -> FloatGrid:
    """Opacity of clouds [H, W]: none in two timesteps of three, else up to a quarter of the scene."""
    cover = rng.uniform(0.02, 0.25) if rng.random() < 1.0 / 3.0 else 0.0
    thickness = fractal_field(rng, shape, 1.8)
    if cover == 0.0:
        return np.zeros(shape, dtype=np.float32)
    return np.asarray(
        # above the quantile lies `cover` of the scene; 0.25 makes edges translucent
        np.clip((thickness - np.quantile(thickness, 1.0 - cover)) / 0.25, 0.0, 1.0),
        dtype=np.float32,
    )


def atmosphere(rng: np.random.Generator, image: FloatGrid) -> tuple[FloatGrid, FloatGrid]:
    """Haze, clouds and their shadows over one timestep.

    Args:
        rng: Source of randomness.
        image: [12, H, W] reflectance × 10⁴.

    Returns:
        The image through the atmosphere [12, H, W], and the opacity of the clouds [H, W].
    """
    shape = (image.shape[1], image.shape[2])
    haze = HAZE_BY_BAND[:, None, None] * _haze(rng, shape)
    image = image * (1.0 - haze) + haze * HAZE_REFLECTANCE
    cloud = _cloud(rng, shape)
    if cloud.any():
        # up and to the left, since the sun stands in the south-east
        shadow = np.roll(cloud, (-int(rng.integers(8, 20)), -int(rng.integers(4, 12))), axis=(0, 1))
        image = image * (1.0 - 0.55 * shadow) * (1.0 - cloud) + CLOUD_REFLECTANCE[:, None, None] * cloud
    return image, cloud


def observe_optics(rng: np.random.Generator, cover: LandCover, days: NDArray[np.float64]) -> OpticalSeries:
    """Observe the scene with Sentinel-2.

    Args:
        rng: Source of randomness.
        cover: Terrain and land cover.
        days: [T] day of the year of each timestep.

    Returns:
        The image series with its true NDVI and its clouds.
    """
    ground = ground_reflectance(rng, cover, days)
    # of the ground itself, before light, sensor and atmosphere
    ndvi = (ground[:, NIR] - ground[:, RED]) / (ground[:, NIR] + ground[:, RED])
    images = sensor(ground * sunlight(rng, cover.relief.elevation, days)[:, None])
    views = [atmosphere(rng, image) for image in images]
    seen = np.stack([image for image, _ in views])
    noise = rng.standard_normal(seen.shape, dtype=np.float32)
    # a floor of noise, and a part that grows with the signal
    seen = seen + noise * (12.0 + 0.012 * seen)
    return OpticalSeries(
        # at least 1: a pixel of 0 in every band counts as no data
        s2l2a=np.clip(np.rint(seen), 1, 20_000).astype(np.int16),
        ndvi=ndvi.astype(np.float32),
        cloud=np.stack([cloud for _, cloud in views]) > 0.5,
    )
