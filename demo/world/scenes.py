"""Scenes of the procedural world, cut into chips that adjoin on the ground."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augment_store.modalities.definitions import IGNORED_LABEL
from demo.world.fields import smooth_field
from demo.world.landcover import (
    BARE,
    BUILT,
    CROPS,
    FLOODED,
    PIXEL_SIZE,
    RANGELAND,
    TREES,
    WATER,
    draw_landcover,
)
from demo.world.optics import observe_optics
from demo.world.radar import observe_radar

CRS: Final = "EPSG:32618"
"""UTM zone 18 north, New York's."""
CHIP_SIDE: Final = 128
TIMESTEPS: Final = 4
MARGIN: Final = 16
"""Pixels drawn around each scene and cut off, so that nothing wraps around at its borders."""
SCENE_PITCH: Final = 16_000.0
"""Distance between the corners of two scenes in metres; chips of different scenes never adjoin."""
SCENES_PER_ROW: Final = 24
MAX_SIDE_PIXELS: Final = 1024

MACRO_CLASS: Final[dict[int, int]] = {
    WATER: 0,
    BUILT: 1,
    TREES: 2,
    FLOODED: 3,
    CROPS: 3,
    RANGELAND: 3,
    BARE: 4,
}
"""The NYC class (0 water, 1 developed, 2 forest, 3 herbaceous, 4 other) of each LULC class."""

GENERATOR_SCENES: Final = range(100_000, 200_000)
"""Scene numbers reserved for training the generator; no fine-tune may draw from them."""
GENERATOR_HELD_OUT: Final = range(200_000, 201_000)
"""Scene numbers on which the generator is evaluated."""
FINETUNE_SCENES: Final = range(0, 100_000)
"""Scene numbers for fine-tuning and its evaluation."""


@dataclass(frozen=True)
class Raster:
    """Everything known about one rectangle of ground, a whole scene or one chip of it.

    Attributes:
        name: Chip id, or the scene's name.
        s2l2a: [T, 12, H, W] int16 surface reflectance × 10⁴.
        s1rtc: [T, 2, H, W] float16 VV and VH in dB.
        dem: [H, W] int16 height in metres.
        mask: [H, W] int8 macro class 0..4 with boundary noise, −1 where ignored.
        lulc: [H, W] uint8 true class of TerraMind's ten-class legend.
        ndvi: [T, H, W] float32 true NDVI.
        cloud: [T, H, W] bool, where clouds hide the ground.
        west: Easting of the left edge in metres.
        north: Northing of the upper edge in metres.
    """

    name: str
    s2l2a: NDArray[np.int16]
    s1rtc: NDArray[np.float16]
    dem: NDArray[np.int16]
    mask: NDArray[np.int8]
    lulc: NDArray[np.uint8]
    ndvi: NDArray[np.float32]
    cloud: NDArray[np.bool_]
    west: float
    north: float

    def window(self, name: str, top: int, left: int, side: int) -> Raster:
        """Cut out the square of `side` pixels whose upper left pixel is (top, left)."""
        # the ellipsis takes [y, x] and [time, band, y, x] alike
        box = (..., slice(top, top + side), slice(left, left + side))
        return Raster(
            name=name,
            s2l2a=self.s2l2a[box],
            s1rtc=self.s1rtc[box],
            dem=self.dem[box],
            mask=self.mask[box],
            lulc=self.lulc[box],
            ndvi=self.ndvi[box],
            cloud=self.cloud[box],
            west=self.west + left * PIXEL_SIZE,
            north=self.north - top * PIXEL_SIZE,
        )

    def chips(self, side: int = CHIP_SIDE) -> Iterator[Raster]:
        """Cut the scene into chips named ``<scene>_r<row>c<column>``, row by row."""
        height, width = self.lulc.shape
        for row in range(height // side):
            for column in range(width // side):
                yield self.window(f"{self.name}_r{row}c{column}", row * side, column * side, side)


def label_mask(
    rng: np.random.Generator, lulc: NDArray[np.uint8], cloud: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Draw macro-class labels as an annotator would.

    Args:
        rng: Source of randomness.
        lulc: [H, W] true classes.
        cloud: [T, H, W] where clouds hide the ground.

    Returns:
        [H, W] class 0..4; boundaries are displaced by about a pixel, and ground under cloud in half of the
        timesteps or more is ignored (−1).
    """
    shape = (lulc.shape[0], lulc.shape[1])
    rows, columns = np.indices(shape)
    # clipped, since a negative index would take pixels of the opposite border
    rows = np.clip(rows + np.rint(0.9 * smooth_field(rng, shape, 3.0)).astype(int), 0, shape[0] - 1)
    columns = np.clip(columns + np.rint(0.9 * smooth_field(rng, shape, 3.0)).astype(int), 0, shape[1] - 1)
    # one entry for each value of a byte; a class that is not mapped is ignored
    table = np.full(256, IGNORED_LABEL, dtype=np.int8)
    table[list(MACRO_CLASS)] = list(MACRO_CLASS.values())
    return np.where(cloud.mean(axis=0) >= 0.5, np.int8(IGNORED_LABEL), table[lulc[rows, columns]])


def draw_scene(
    number: int,
    *,
    seed: int = 0,
    rows: int = 2,
    columns: int = 2,
    side: int = CHIP_SIDE,
    timesteps: int = TIMESTEPS,
) -> Raster:
    """Draw one scene of the world.

    Args:
        number: Number of the scene; it fixes the scene's place on the map and, with `seed`, its content.
        seed: Seed of the world.
        rows: Chips from north to south.
        columns: Chips from west to east.
        side: Side of a chip in pixels, even.
        timesteps: Acquisitions, spread evenly over a year.

    Returns:
        The scene with all its modalities, ready to be cut into chips.

    Raises:
        ValueError: If the scene would be larger than its place on the map, or the side is odd.
    """
    if max(rows, columns) * side > MAX_SIDE_PIXELS or side % 2:
        raise ValueError(
            f"a scene has at most {MAX_SIDE_PIXELS} pixels a side and chips of even side, "
            f"got {rows} x {columns} chips of {side} pixels: ask for fewer or smaller chips"
        )
    # a stream for each scene, so that scenes can be drawn alone and in any order
    rng = np.random.default_rng([seed, number])
    cover = draw_landcover(rng, (rows * side + 2 * MARGIN, columns * side + 2 * MARGIN))
    days = (rng.uniform(0.0, 365.0) + 365.0 * np.arange(timesteps) / timesteps) % 365.0
    # all draw from that stream in turn, so another order would be another world
    optics = observe_optics(rng, cover, days)
    s1rtc = observe_radar(rng, cover, timesteps)
    inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    return Raster(
        name=f"demo{number:06d}",
        s2l2a=optics.s2l2a[inner],
        s1rtc=s1rtc[inner],
        dem=np.rint(cover.relief.elevation[inner]).astype(np.int16),
        mask=label_mask(rng, cover.lulc[inner], optics.cloud[inner]),
        lulc=cover.lulc[inner],
        ndvi=optics.ndvi[inner],
        cloud=optics.cloud[inner],
        west=300_000.0 + SCENE_PITCH * (number % SCENES_PER_ROW),
        # 24 × 24 places; scenes whose numbers differ by 576 share one
        north=4_500_000.0 + SCENE_PITCH * (number // SCENES_PER_ROW % SCENES_PER_ROW),
    )
