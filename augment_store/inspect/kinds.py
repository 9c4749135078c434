"""The two kinds of generated map, and how each is counted, compared and coloured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.modalities import LULC_LEGEND, LegendClass
from augment_store.schema import LULC_FILL, NDVI_FILL, NDVI_SCALE
from augment_store.spec import GenerationSpec

NO_CODE: Final = 255
"""Code of a pixel without a value."""

NDVI_TOLERANCE: Final = 0.1
"""Two NDVI values agree if they differ by no more than this."""

_NDVI_ANCHORS: Final = (
    (-1.0, (49, 91, 138)),
    (0.0, (236, 231, 218)),
    (0.4, (150, 190, 110)),
    (1.0, (16, 74, 42)),
)
_NDVI_BINS: Final = 20


@dataclass(frozen=True)
class MapKind(ABC):
    """A kind of map.

    Attributes:
        array: Name of its array in the store.
        classes: Legend of its codes: classes, or bins of a continuous value.
    """

    array: str
    classes: tuple[LegendClass, ...]

    continuous: ClassVar[bool]

    @abstractmethod
    def codes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Position in `classes` of each stored value; `NO_CODE` where there is none."""

    @abstractmethod
    def same(self, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
        """Where two arrays of stored values agree; never where either has no value."""


class LulcKind(MapKind):
    """Classes of land use and land cover; equal classes agree."""

    continuous = False

    def codes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """The classes themselves."""
        return np.where(values < len(self.classes), values, NO_CODE).astype(np.uint8)

    def same(self, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
        """Where both are the same class."""
        agreed: NDArray[np.bool_] = (one == other) & (one != LULC_FILL)
        return agreed


class NdviKind(MapKind):
    """NDVI in bins of 0.1; values within `NDVI_TOLERANCE` agree."""

    continuous = True

    def codes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Bin of each value, in units of 1e-4."""
        bins = np.floor((values * NDVI_SCALE + 1) * _NDVI_BINS / 2 + 1e-9).clip(0, _NDVI_BINS - 1)
        return np.where(values == NDVI_FILL, NO_CODE, bins).astype(np.uint8)

    def same(self, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
        """Where both lie close together."""
        apart = np.abs(one.astype(np.int32) - other.astype(np.int32))
        agreed: NDArray[np.bool_] = (
            (apart <= NDVI_TOLERANCE / NDVI_SCALE) & (one != NDVI_FILL) & (other != NDVI_FILL)
        )
        return agreed


def map_kind(spec: GenerationSpec) -> MapKind:
    """The kind of map a store of this spec holds."""
    return NdviKind("ndvi", _ndvi_bins()) if spec.modality == "NDVI" else LulcKind("lulc", LULC_LEGEND)


def _ndvi_bins() -> tuple[LegendClass, ...]:
    edges = np.linspace(-1, 1, _NDVI_BINS + 1)
    places = [place for place, _ in _NDVI_ANCHORS]
    channels = np.array([colour for _, colour in _NDVI_ANCHORS], dtype=float).T
    middles = (edges[:-1] + edges[1:]) / 2
    colours = (
        np.stack([np.interp(middles, places, channel) for channel in channels], axis=1).round().astype(int)
    )
    return tuple(
        LegendClass(code, f"{edges[code]:.1f} to {edges[code + 1]:.1f}", (int(red), int(green), int(blue)))
        for code, (red, green, blue) in enumerate(colours)
    )
