"""Layers of a map: what is made of the probabilities of a scene's pixels, and how it stands in a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from augment_store.modalities.definitions import LegendClass
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.modalities.legend_table import legend
from predict.options import CLASS, GENERATED
from predict.strips import BlendedRows

NO_CLASS: Final = 255
"""Value of a map of classes where there is no prediction."""

PIECE: Final = 1024
"""Columns of which a layer is made at a time: on the way it takes several times the memory of its values."""


@dataclass(frozen=True)
class MapLayer:
    """One layer, written as a file of its own.

    Attributes:
        name: What users call it.
        bands: What each band holds.
        dtype: Type of its values.
        nodata: Value of pixels without a prediction.
        resampling: How overviews are made of it.
        make: Makes it of finished rows: ``[bands, rows, W]``; no data is put in by `of`.
        classes: Legend of a layer of classes.
        scale: Factor from stored to physical values.
    """

    name: str
    bands: tuple[str, ...]
    dtype: str
    nodata: float
    resampling: str
    make: Callable[[BlendedRows], NDArray[Any]]
    classes: tuple[LegendClass, ...] = ()
    scale: float = 1.0

    def of(self, rows: BlendedRows) -> NDArray[Any]:
        """Return its values ``[bands, rows, W]``."""
        nodata = np.array(self.nodata, self.dtype)
        made = [
            np.where(piece.observed, self.make(piece).astype(self.dtype), nodata)
            for piece in rows.pieces(PIECE)
        ]
        return np.concatenate(made, axis=-1)


def class_map(names: Sequence[str]) -> MapLayer:
    """Return the layer of the likeliest class of the mean over all members."""

    def make(rows: BlendedRows) -> NDArray[Any]:
        likeliest: NDArray[Any] = _mean(rows, len(names)).argmax(axis=0)[None]
        return likeliest

    return MapLayer(CLASS, ("class",), "uint8", NO_CLASS, "nearest", make, legend(names))


def probability_map(names: Sequence[str]) -> MapLayer:
    """Return the layer of the mean probability of each class."""
    bands = tuple(f"probability of {name}" for name in names)
    return MapLayer(
        "probability", bands, "float32", math.nan, "average", lambda rows: _mean(rows, len(names))
    )


def entropy_map(names: Sequence[str]) -> MapLayer:
    """Return the layer of the entropy of the mean: 0 where it is sure, 1 where all classes are as likely."""

    def make(rows: BlendedRows) -> NDArray[Any]:
        # in nats, over that of all classes alike
        entropy: NDArray[Any] = entr(_mean(rows, len(names))).sum(axis=0)[None] / math.log(len(names))
        return entropy

    return MapLayer("entropy", ("entropy, 0 sure to 1 undecided",), "float32", math.nan, "average", make)


def agreement_map(names: Sequence[str]) -> MapLayer:
    """Return the layer of the share of members whose likeliest class is the map's."""

    def make(rows: BlendedRows) -> NDArray[Any]:
        chosen = _mean(rows, len(names)).argmax(axis=0)
        # [member, class, rows, W] → [member, rows, W]
        votes = _members(rows, len(names)).argmax(axis=1)
        share: NDArray[Any] = (votes == chosen).mean(axis=0)[None]
        return share

    return MapLayer("agreement", ("share of members that agree",), "float32", math.nan, "average", make)


def generated_layer(kind: GeneratedMap, dates: int) -> MapLayer:
    """Return the layer of the map that TerraMind generated, a band for each date and band of it."""
    [array] = [array for array in kind.arrays(probabilities=False) if array.name == kind.array]
    names = array.bands if len(array.bands) > 1 else (kind.array,)
    bands = tuple(f"{name}, timestep {date}" for date in range(dates) for name in names)
    nodata = array.fill if array.nodata is None else array.nodata
    return MapLayer(
        GENERATED,
        bands,
        array.dtype,
        nodata,
        array.resampling,
        lambda rows: rows.generated,
        array.classes,
        array.scale,
    )


MAKERS: Final[Mapping[str, Callable[[Sequence[str]], MapLayer]]] = {
    CLASS: class_map,
    "probability": probability_map,
    "entropy": entropy_map,
    "agreement": agreement_map,
}
"""By name, those that are made of probabilities alone."""


def _members(rows: BlendedRows, classes: int) -> NDArray[np.float64]:
    """Return probabilities ``[member, class, rows, W]``."""
    return rows.probabilities.reshape(-1, classes, *rows.probabilities.shape[1:])


def _mean(rows: BlendedRows, classes: int) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = _members(rows, classes).mean(axis=0)
    return mean
