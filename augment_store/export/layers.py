"""The layers a store's arrays fall into: a sample and a timestep each, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.errors import ExportError
from augment_store.modalities import LULC_LEGEND, PATCH_SIZE, LegendClass
from augment_store.schema import LULC_FILL, NDVI_FILL, NDVI_SCALE, SHARE_SCALE, TOKEN_FILL
from augment_store.store import AugmentStore


@dataclass(frozen=True)
class Style:
    """How an array's values are written.

    Attributes:
        dtype: NumPy data type.
        nodata: Value that means "nothing generated here", None where every value means something.
        scale: Factor from stored value to physical value.
        classes: Legend of categorical values, empty for continuous ones.
        resampling: How overviews are made.
        pixels: Chip pixels a value covers in each direction.
    """

    dtype: str
    nodata: float | None
    scale: float = 1.0
    classes: tuple[LegendClass, ...] = ()
    resampling: str = "nearest"
    pixels: int = 1


STYLES: Final[dict[str, Style]] = {
    "lulc": Style("uint8", LULC_FILL, classes=LULC_LEGEND, resampling="mode"),
    "ndvi": Style("int16", NDVI_FILL, NDVI_SCALE, resampling="average"),
    "confidence": Style("uint8", 0, SHARE_SCALE, resampling="average"),
    "probabilities": Style("uint8", None, SHARE_SCALE, resampling="average"),
    "tokens": Style("uint16", TOKEN_FILL, pixels=PATCH_SIZE),
    "token_probability": Style("float32", np.nan, resampling="average", pixels=PATCH_SIZE),
}
"""By array. The class taken is never less probable than 1/10, so that confidence 0 is free to mean no data."""


NAMES: Final[dict[str, str]] = {
    "lulc": "generated LULC class",
    "ndvi": "generated NDVI",
    "confidence": "probability of the class taken",
    "tokens": "codebook index",
    "token_probability": "probability of the token drawn",
}


@dataclass(frozen=True)
class Layer:
    """One sample and timestep of an array.

    Attributes:
        array: Name of the array in the store.
        sample: Which sample, None for `probabilities`, which is a mean over samples.
        timestep: Which timestep.
        suffix: What sets its file apart from other layers', empty where there is but one.
        bands: Description of each band.
    """

    array: str
    sample: int | None
    timestep: int
    suffix: str
    bands: tuple[str, ...]

    @property
    def style(self) -> Style:
        """How its values are written."""
        return STYLES[self.array]

    @property
    def place(self) -> tuple[int, ...]:
        """Position in the array's dimensions between chip and pixels."""
        return (self.timestep,) if self.sample is None else (self.sample, self.timestep)

    def take(self, store: AugmentStore, chip_id: str) -> NDArray[Any]:
        """A chip's pixels ``[band, y, x]``, of the timestep whose generation stands for this one."""
        source = int(store.read("timestep_source", chip_id)[self.timestep])
        values = store.read(self.array, chip_id)[(*self.place[:-1], source)]
        banded: NDArray[Any] = values.reshape(len(self.bands), *values.shape[-2:])
        return banded


def choose_arrays(store: AugmentStore, names: Sequence[str] | None) -> tuple[str, ...]:
    """The arrays asked for, or every map of the store with a value per pixel.

    Raises:
        ExportError: If the store has no such array.
    """
    present = store.map_names
    for name in names or ():
        if name not in present:
            raise ExportError(f"{store.path}: no array {name!r} to export; it has {', '.join(present)}")
    return tuple(names) if names else tuple(name for name in present if STYLES[name].pixels == 1)


def layers(store: AugmentStore, arrays: Sequence[str]) -> Iterator[Layer]:
    """Every layer of the arrays, sample by sample and timestep by timestep."""
    times, samples = store.extent.timesteps, store.spec.sampling.samples
    for array in arrays:
        averaged = array == "probabilities"
        for sample in range(1 if averaged else samples):
            for timestep in range(times):
                which = None if averaged else sample
                parts = [f"s{sample}"] * (samples > 1 and not averaged) + [f"t{timestep}"] * (times > 1)
                yield Layer(array, which, timestep, "_".join(parts), _bands(store, array, which, timestep))


def distinct_timesteps(store: AugmentStore, chip_ids: Sequence[str]) -> set[int]:
    """Timesteps that any of the chips has a generation of its own for."""
    return {
        int(source) for chip_id in chip_ids for source in np.unique(store.read("timestep_source", chip_id))
    }


def _bands(store: AugmentStore, array: str, sample: int | None, timestep: int) -> tuple[str, ...]:
    words = [f"sample {sample}"] * (sample is not None and store.spec.sampling.samples > 1)
    words += [f"timestep {timestep}"] * (store.extent.timesteps > 1)
    tail = f" ({', '.join(words)})" if words else ""
    if array == "probabilities":
        return tuple(f"probability of {entry.name}{tail}" for entry in LULC_LEGEND)
    return (NAMES[array] + tail,)
