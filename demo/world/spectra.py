"""What each land-cover class looks like to Sentinel-2 and Sentinel-1.

Medians were measured on real TerraMesh chips. Spreads are this world's own: wide enough that the
classes overlap in every band and no pixel-wise rule separates them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo.world.landcover import BARE, BUILT, CROPS, FLOODED, RANGELAND, TREES, WATER


@dataclass(frozen=True)
class ClassSignature:
    """Median and spread of one class.

    Attributes:
        reflectance: Median of the 12 S2L2A bands, reflectance × 10⁴.
        backscatter: Median VV and VH in dB.
        brightness: Standard deviation along `BRIGHTNESS`, in log reflectance.
        greenness: Standard deviation along `GREENNESS`, in log reflectance.
        wetness: Standard deviation along `WETNESS`, in log reflectance.
        radar: Standard deviation of the backscatter in dB, speckle apart.
        parcel: Share of the variance that is constant inside a field or block.
        grain: Share of the variance that is new in every pixel.
        season: How far greenness moves with the season.
    """

    reflectance: tuple[float, ...]
    backscatter: tuple[float, float]
    brightness: float
    greenness: float
    wetness: float
    radar: float
    parcel: float
    grain: float
    season: float


SIGNATURES: Final[dict[int, ClassSignature]] = {
    WATER: ClassSignature(
        (743, 627, 831, 788, 961, 790, 824, 792, 752, 620, 313, 180),
        (-16.7, -21.7),
        brightness=0.22,
        greenness=0.15,
        wetness=0.30,
        radar=2.2,
        parcel=0.0,
        grain=0.1,
        season=0.0,
    ),
    TREES: ClassSignature(
        (190, 199, 385, 244, 738, 2081, 2523, 2686, 2786, 2806, 1230, 576),
        (-8.6, -14.5),
        brightness=0.24,
        greenness=0.24,
        wetness=0.20,
        radar=1.6,
        parcel=0.0,
        grain=0.4,
        season=0.20,
    ),
    FLOODED: ClassSignature(
        (1276, 1321, 1430, 1442, 1734, 2237, 2328, 2500, 2552, 2675, 2319, 1819),
        (-10.1, -16.5),
        brightness=0.30,
        greenness=0.40,
        wetness=0.30,
        radar=2.2,
        parcel=0.0,
        grain=0.3,
        season=0.25,
    ),
    CROPS: ClassSignature(
        (152, 189, 541, 508, 1070, 2318, 2554, 2758, 2833, 2906, 2015, 1168),
        (-11.2, -17.9),
        brightness=0.24,
        greenness=0.60,
        wetness=0.25,
        radar=2.0,
        parcel=0.8,
        grain=0.1,
        season=0.60,
    ),
    BUILT: ClassSignature(
        (1370, 1434, 1572, 1690, 1976, 2545, 2779, 2968, 3019, 3049, 2915, 2376),
        (-11.4, -17.1),
        brightness=0.34,
        greenness=0.45,
        wetness=0.20,
        radar=3.2,
        parcel=0.3,
        grain=0.6,
        season=0.05,
    ),
    BARE: ClassSignature(
        (1783, 2310, 2822, 3146, 3442, 3451, 3544, 3680, 3720, 3187, 4576, 4207),
        (-16.7, -21.6),
        brightness=0.30,
        greenness=0.25,
        wetness=0.25,
        radar=2.2,
        parcel=0.1,
        grain=0.2,
        season=0.0,
    ),
    RANGELAND: ClassSignature(
        (283, 291, 552, 526, 1084, 2542, 2802, 3052, 3101, 3199, 2125, 1196),
        (-11.9, -17.8),
        brightness=0.24,
        greenness=0.45,
        wetness=0.25,
        radar=1.9,
        parcel=0.2,
        grain=0.2,
        season=0.40,
    ),
}
"""Every class of the world by its value in TerraMind's ten-class legend."""

BRIGHTNESS: Final = np.ones(12, dtype=np.float32)
GREENNESS: Final = np.array(
    [-0.35, -0.40, -0.25, -0.70, -0.30, 0.10, 0.22, 0.25, 0.25, 0.25, -0.25, -0.45], dtype=np.float32
)
WETNESS: Final = np.array(
    [0.05, 0.05, 0.05, 0.0, -0.05, -0.15, -0.15, -0.20, -0.20, -0.20, -0.60, -0.75], dtype=np.float32
)
"""Directions of within-class variation in log reflectance: all bands alike, more leaf, more water."""

LEGEND_SIZE: Final = 10


def class_table(attribute: str) -> NDArray[np.float32]:
    """One attribute of every class as a look-up table by class value.

    Args:
        attribute: Name of a field of `ClassSignature`.

    Returns:
        [10, ...] values; rows of classes that do not occur in this world are zero.
    """
    # () for a number, (12,) or (2,) for a tuple; every class has the same
    width = np.shape(getattr(SIGNATURES[WATER], attribute))
    table = np.zeros((LEGEND_SIZE, *width), dtype=np.float32)
    for value, signature in SIGNATURES.items():
        table[value] = getattr(signature, attribute)
    return table
