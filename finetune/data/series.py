"""Dates of a series: which of them the store's timesteps are, and taking those from a sample of another datamodule.

A store knows no dates, but the position of each timestep in the chip's files. A sample that has the chip's whole series
is cut down to those. Dates are compared where the dataset tells them, as TerraTorch's PASTIS does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from augment_store.errors import StoreError
from augment_store.integrity.input_match import generator_inputs
from augment_store.modalities.definitions import S2_MODALITIES
from augment_store.store.schema import State, in_order
from augment_store.store.writer import AugmentStore
from augment_store.utils.text import pluralize
from finetune.augment.encodings import carrier_of

OPTICAL: Final = "S2"
"""What TerraTorch's PASTIS calls the series that is its image."""


class MisalignedSampleError(Exception):
    """An image and its maps differ."""


@dataclass(frozen=True)
class StoreDates:
    """Where the store's timesteps are in each chip's files.

    Attributes:
        timesteps: The store's timesteps that are joined.
        inputs: Modalities that the store was generated from.
        positions: By chip, the position in its file of every timestep of the store, ``[input, T]``; empty if the store
            has one timestep.
    """

    timesteps: tuple[int, ...]
    inputs: tuple[str, ...] = ()
    positions: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)

    @classmethod
    def read(cls, store: AugmentStore, ids: Iterable[str], timesteps: tuple[int, ...]) -> Self:
        """Reads the positions of the chips that are complete.

        Raises:
            StoreError: If the store is damaged there.
        """
        complete = store.chips_in(State.COMPLETE) if store.extent.timesteps > 1 else ()
        known = frozenset(complete)
        positions = {chip_id: store.read("series_index", chip_id) for chip_id in ids if chip_id in known}
        for chip_id, rows in positions.items():
            if not all(map(in_order, rows)):
                raise StoreError(
                    f"{store.path}: series_index of chip {chip_id} is not in order; look at it with verify"
                )
        return cls(timesteps, generator_inputs(store), positions)

    def of(self, chip_id: str) -> dict[str, NDArray[np.int32]]:
        """Positions of a chip's timesteps by input modality, those that are not joined included."""
        return dict(zip(self.inputs, self.positions.get(chip_id, ()), strict=False))

    def described(self) -> str:
        """The positions of one chip, for a message; empty if none are known."""
        for chip_id in self.positions:
            rows = self.of(chip_id)
            listed = ", ".join(f"{name} {_listed(row[list(self.timesteps)])}" for name, row in rows.items())
            return f"positions {listed} in the files of chip {chip_id}"
        return ""


def tells_dates(dataset: Any) -> bool:
    """Whether a dataset tells the dates of its samples and of the whole series, as TerraTorch's PASTIS does."""
    return callable(getattr(dataset, "get_dates", None)) and hasattr(dataset, "id_patches")


def take_dates(
    dataset: Any, place: int, sample: dict[str, Any], dates: StoreDates, chip_id: str
) -> dict[str, Any]:
    """A sample with the dates of the store's timesteps, if it has the whole series; else as it is.

    Args:
        dataset: Its dataset.
        place: Its place in the dataset.
        sample: ``image`` ``[C, T, H, W]``, or by modality.
        dates: The store's.
        chip_id: Its chip.

    Raises:
        Apart: If the sample tells its dates and lacks one of the store's, or has a series of which the store knows
            nothing.
    """
    # a file of one timestep, which stands for each, has no series
    rows = {name: row for name, row in dates.of(chip_id).items() if row.any()}
    if not rows:
        return sample
    optical = next((name for name in S2_MODALITIES if name in rows), None)
    if tells_dates(dataset) and optical and OPTICAL in sample.get("dates", ()):
        series = dataset.get_dates(dataset.id_patches[place], OPTICAL).tolist()
        places = _places_by_date(
            sample["dates"][OPTICAL].tolist(), series, rows[optical][list(dates.timesteps)]
        )
        own = {**sample["dates"], OPTICAL: sample["dates"][OPTICAL][places]}
        image = sample["image"][:, places] if sample["image"].ndim == 4 else sample["image"]
        return {**sample, "image": image, "dates": own, OPTICAL: sample[OPTICAL][places]}
    image = sample["image"]
    if isinstance(image, Tensor):
        return {**sample, "image": _cut(image, rows[carrier_of(tuple(rows))], dates.timesteps)}
    return {
        **sample,
        "image": {name: _of_modality(name, image[name], rows, dates.timesteps) for name in image},
    }


def _places_by_date(own: Sequence[int], series: Sequence[int], wanted: NDArray[np.int32]) -> list[int]:
    """Where a sample with the dates `own` has those at the positions `wanted` of a series."""
    where = {day: place for place, day in enumerate(own)}  # the last of equal ones, since padding comes first
    places = [where.get(series[position]) if position < len(series) else None for position in wanted]
    if None in places:
        taken = [position for position, day in enumerate(series) if day in where]
        raise MisalignedSampleError(
            f"its dates are at the positions {_listed(taken)} of the chip's series, those of the store at "
            f"{_listed(wanted)}; let the datamodule take the whole series, or generate from the dates that it takes"
        )
    return [place for place in places if place is not None]


def _of_modality(
    name: str, image: Tensor, rows: Mapping[str, NDArray[np.int32]], timesteps: tuple[int, ...]
) -> Tensor:
    cut = _cut(image, rows[name], timesteps) if name in rows else image
    if cut.ndim == 4 and cut.shape[1] > len(timesteps) and name not in rows:
        raise MisalignedSampleError(
            f"its {name} has {pluralize(cut.shape[1], 'timestep')}, {len(timesteps)} are joined, and nothing tells "
            f"which: the store was generated from {', '.join(rows)}"
        )
    return cut


def _cut(image: Tensor, row: NDArray[np.int32], timesteps: tuple[int, ...]) -> Tensor:
    """The timesteps of a whole series ``[C, T, H, W]``, whose length the last position tells: every layout takes it."""
    times, length, wanted = image.shape[1] if image.ndim == 4 else 1, int(row[-1]) + 1, row[list(timesteps)]
    if times <= len(timesteps):
        return image
    if times != length:
        raise MisalignedSampleError(
            f"its image has {times} timesteps, the series that the store was generated from {length}, of which those "
            f"at {_listed(wanted)} are joined; let the datamodule take the whole series, or as many as are joined"
        )
    return image[:, wanted.tolist()]


def _listed(positions: Iterable[int]) -> str:
    return " ".join(str(int(position)) for position in positions)
