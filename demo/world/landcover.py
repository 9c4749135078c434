"""Terrain and land cover: what lies where, and why.

Relief comes first; the sea, a river, towns, fields, forest and wetland then compete for each pixel by scores
that depend on height, slope, distance to water and a random field of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo.world.fields import Cells, FloatGrid, draw_cells, fractal_field, rotated_grid, smooth_field

PIXEL_SIZE: Final = 10.0
"""Ground sampling distance in metres."""

WATER, TREES, FLOODED, CROPS, BUILT, BARE, RANGELAND = 1, 2, 3, 4, 5, 6, 9
CLASSES: Final = (WATER, TREES, FLOODED, CROPS, BUILT, BARE, RANGELAND)
"""The LULC classes that occur in this world, as values of TerraMind's ten-class legend."""


@dataclass(frozen=True)
class Relief:
    """The shape of the ground.

    Attributes:
        elevation: [H, W] height in metres; 0 over the sea.
        slope: [H, W] steepness in metres per metre.
        sea: [H, W] whether the pixel lies below sea level.
        river: [H, W] whether the pixel lies in the river.
        water_distance: [H, W] distance to the middle of the river in pixels, infinite without one.
    """

    elevation: FloatGrid
    slope: FloatGrid
    sea: NDArray[np.bool_]
    river: NDArray[np.bool_]
    water_distance: FloatGrid


@dataclass(frozen=True)
class LandCover:
    """Land cover with the parcels that structure it.

    Attributes:
        relief: The ground below.
        lulc: [H, W] class value of TerraMind's ten-class legend.
        fields: Parcels of the farmland.
        blocks: Blocks of the towns; the borders between them are streets.
    """

    relief: Relief
    lulc: NDArray[np.uint8]
    fields: Cells
    blocks: Cells


def steepness(elevation: FloatGrid) -> tuple[FloatGrid, FloatGrid]:
    """Slope southwards and eastwards [H, W] of a height map in metres, in metres per metre."""
    south, east = np.gradient(elevation, PIXEL_SIZE)
    return np.asarray(south, dtype=np.float32), np.asarray(east, dtype=np.float32)


def _river(rng: np.random.Generator, shape: tuple[int, int]) -> FloatGrid:
    """Distance to a meandering line through the scene in pixels [H, W]; infinite in one scene of four."""
    across, _ = rotated_grid(shape, rng.uniform(0.0, np.pi))
    line = across + np.float32(rng.uniform(-0.25, 0.25) * min(shape))
    # the straight line is bent twice: wide meanders, and small bends on them
    line = line + 32.0 * smooth_field(rng, shape, 36.0) + 6.0 * smooth_field(rng, shape, 10.0)
    # after the draws above: a scene takes as many with a river as without
    if rng.random() < 0.25:
        return np.full(shape, np.inf, dtype=np.float32)
    gradient = np.hypot(*np.gradient(line))
    # |f| / |∇f| is about the distance to f = 0; where f is flat, 0.35 keeps it from a division by 0
    return np.asarray(np.abs(line) / np.maximum(gradient, np.float32(0.35)), dtype=np.float32)


def draw_relief(rng: np.random.Generator, shape: tuple[int, int]) -> Relief:
    """Draw relief, coast and river valley.

    Args:
        rng: Source of randomness.
        shape: Height and width in pixels of 10 m.

    Returns:
        The ground: between a few metres and some hundred metres of relief, a sea in every second scene.
    """
    tilt, _ = rotated_grid(shape, rng.uniform(0.0, 2.0 * np.pi))
    height = fractal_field(rng, shape, rng.uniform(2.1, 2.4)) + tilt * np.float32(2.4 / max(shape))
    # the quantile is the share of the scene below the sea; without a sea, its level is the lowest point
    sea_level = np.quantile(height, rng.uniform(0.1, 0.45)) if rng.random() < 0.5 else height.min()
    base = 0.0 if sea_level > height.min() else rng.uniform(5.0, 250.0)
    # log-uniform, so that gentle relief is as frequent as steep
    height = (height - sea_level) * np.float32(np.exp(rng.uniform(np.log(6.0), np.log(90.0))))
    distance = _river(rng, shape)
    # the river's valley: a tenth of the height is left at its middle; below sea level nothing is carved
    height = np.where(height > 0, height * (1.0 - 0.9 * np.exp(-((distance / 45.0) ** 2))), height)
    elevation = np.maximum(height + np.float32(base), 0.0).astype(np.float32)
    sea = height < 0
    return Relief(
        elevation=elevation,
        slope=np.hypot(*steepness(elevation)).astype(np.float32),
        sea=sea,
        river=(distance < rng.uniform(2.5, 7.0)) & ~sea,
        water_distance=distance,
    )


LENGTHS: Final = {TREES: 12.0, FLOODED: 10.0, BUILT: 22.0, BARE: 12.0, RANGELAND: 14.0}
"""Correlation length of each class's own random field, in pixels."""


def _scores(rng: np.random.Generator, relief: Relief, fields: Cells) -> dict[int, FloatGrid]:
    """Score how well each land class fits each pixel [H, W]."""
    shape = relief.elevation.shape
    near_river = np.exp(-relief.water_distance / 40.0)
    shore = np.exp(-relief.water_distance / 9.0) + np.exp(-relief.elevation / 1.5)
    steep = np.minimum(relief.slope, 0.6)
    # how common a class is in this scene, whereas `rough` says where it is
    taste = dict(zip(CLASSES, rng.normal(0.0, 0.35, len(CLASSES)).astype(np.float32), strict=True))
    rough = {value: smooth_field(rng, shape, length) for value, length in LENGTHS.items()}
    farm = smooth_field(rng, shape, 28.0) + 0.8 * fields.constant(rng)
    return {
        TREES: 1.1 * rough[TREES] + 3.5 * steep + 0.1 + taste[TREES],
        FLOODED: 0.9 * rough[FLOODED] + 2.2 * np.minimum(shore, 1.0) - 12.0 * steep - 0.7 + taste[FLOODED],
        CROPS: 1.0 * farm - 5.0 * steep + 0.2 + taste[CROPS],
        BUILT: 1.3 * rough[BUILT] + 0.8 * near_river - 5.0 * steep + taste[BUILT],
        BARE: 1.0 * rough[BARE] + 1.2 * np.exp(-relief.elevation) - 0.9 + taste[BARE],
        RANGELAND: 0.9 * rough[RANGELAND] + 1.5 * steep + 0.1 + taste[RANGELAND],
    }


def draw_landcover(rng: np.random.Generator, shape: tuple[int, int]) -> LandCover:
    """Draw terrain and the land cover that obeys it.

    Args:
        rng: Source of randomness.
        shape: Height and width in pixels of 10 m.

    Returns:
        Terrain, classes and parcels.
    """
    relief = draw_relief(rng, shape)
    fields = draw_cells(rng, shape, spacing=rng.uniform(13.0, 22.0), aspect=rng.uniform(1.0, 2.0))
    blocks = draw_cells(rng, shape, spacing=rng.uniform(7.0, 11.0), aspect=rng.uniform(1.0, 1.6))
    scores = _scores(rng, relief, fields)
    values = np.array(list(scores), dtype=np.uint8)
    # [class, y, x] → [y, x]: the class of the highest score, by its value in the legend
    lulc = values[np.argmax(np.stack(list(scores.values())), axis=0)]
    # water does not compete: it is where the relief has it
    lulc[relief.sea | relief.river] = WATER
    return LandCover(relief=relief, lulc=lulc, fields=fields, blocks=blocks)
