"""The layers a store's arrays fall into: a sample and a timestep each, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment_store.errors import StoreError
from augment_store.modalities.map_arrays import MapArray
from augment_store.store.writer import AugmentStore


@dataclass(frozen=True)
class Layer:
    """One sample and timestep of an array.

    Attributes:
        array: The array.
        sample: Which sample, None where the array is a mean over samples.
        timestep: Which timestep.
        suffix: Distinguishes its file from other layers'; empty if there is only one.
        bands: Description of each band.
    """

    array: MapArray
    sample: int | None
    timestep: int
    suffix: str
    bands: tuple[str, ...]

    @property
    def index(self) -> tuple[int, ...]:
        """Position in the array's dimensions between chip and pixels."""
        return (self.timestep,) if self.sample is None else (self.sample, self.timestep)

    def take(self, store: AugmentStore, chip_id: str) -> NDArray[Any]:
        """Read a chip's pixels ``[band, y, x]``."""
        values = store.read(chip_id, self.array.name)[self.index]
        # [y, x] → [1, y, x]; [band, y, x] stays as it is
        banded: NDArray[Any] = values.reshape(len(self.bands), *values.shape[-2:])
        return banded


def choose_arrays(store: AugmentStore, names: Sequence[str] | None) -> tuple[MapArray, ...]:
    """Return the arrays asked for, or every map of the store with a value per pixel.

    Raises:
        StoreError: If the store has no such array.
    """
    present = {array.name: array for array in store.spec.arrays}
    for name in names or ():
        if name not in present:
            raise StoreError(f"{store.path}: no array {name!r} to export; it has {', '.join(present)}")
    if names:
        return tuple(present[name] for name in names)
    # tokens are coarser than pixels, and numbers of a codebook mean nothing on a map
    return tuple(array for array in present.values() if array.pixels == 1)


def layers(store: AugmentStore, arrays: Sequence[MapArray]) -> Iterator[Layer]:
    """Yield every layer of the arrays, sample by sample and timestep by timestep."""
    times, samples = store.extent.timesteps, store.spec.sampling.samples
    for array in arrays:
        for sample in range(samples if array.sampled else 1):
            for timestep in range(times):
                which = sample if array.sampled else None
                # only what distinguishes files of one array is in their names
                parts = [f"s{sample}"] * (samples > 1 and array.sampled) + [f"t{timestep}"] * (times > 1)
                yield Layer(array, which, timestep, "_".join(parts), _bands(store, array, which, timestep))


def distinct_timesteps(store: AugmentStore, chip_ids: Sequence[str]) -> set[int]:
    """Return the timesteps that were generated, not copied, for any of the chips."""
    return {
        # a generated timestep is its own source, so every source was generated
        int(source)
        for chip_id in chip_ids
        for source in np.unique(store.read(chip_id, "timestep_source"))
    }


def _bands(store: AugmentStore, array: MapArray, sample: int | None, timestep: int) -> tuple[str, ...]:
    # a list times a bool: the word, or nothing
    words = [f"sample {sample}"] * (sample is not None and store.spec.sampling.samples > 1)
    words += [f"timestep {timestep}"] * (store.extent.timesteps > 1)
    tail = f" ({', '.join(words)})" if words else ""
    return tuple(band + tail for band in array.bands)
