"""References of chips' maps: the mask, the raster of classes, or the values that the chip's own bands give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.labels import read_labels
from augment_store.errors import ChipDataError, ChipSetError, StoreError
from augment_store.modalities.continuous import VALUE_FILL, ContinuousMap
from augment_store.modalities.definitions import IGNORED_LABEL, INPUT_MODALITIES, LegendClass
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.modalities.legend_table import LegendTable
from augment_store.modalities.pictures import MapPicture
from augment_store.modalities.rendering import NO_CODE
from augment_store.modalities.values import native
from augment_store.store.schema import State
from augment_store.store.spec import InputSpec, units_on_disk
from augment_store.store.writer import AugmentStore
from augment_store.utils.text import format_size


@dataclass(frozen=True)
class Reference:
    """A chip's reference.

    Attributes:
        picture: The reference as it is shown, `NO_CODE` where it has no value.
        agreement: Share of the reference's pixels that maps ``[sample, time, …, y, x]`` agree with, mean over
            samples and timesteps; a class without counterpart in the reference's legend does not agree.
    """

    picture: MapPicture
    agreement: Callable[[NDArray[Any]], float]


@dataclass(frozen=True)
class References:
    """Reads the references of a chip set.

    Attributes:
        chips: The chip set.
        kind: What the store's maps are.
        table: From the generator's legend to the masks'; None if it is not known, and masks are no references.
        inputs: How the generator took its inputs; others are in the units that the layout says.
    """

    chips: ChipSet
    kind: GeneratedMap
    table: LegendTable | None
    inputs: tuple[InputSpec, ...] = ()

    def read(self, chip_id: str, shape: tuple[int, int]) -> Reference | None:
        """Read a chip's reference; None if it has none.

        Raises:
            ChipDataError: If it cannot be read, or its height and width are not the maps' `shape`.
        """
        kind = self.kind
        found = self._values(chip_id, kind) if isinstance(kind, ContinuousMap) else self._classes(chip_id)
        if found is not None and found.picture.codes.shape != shape:
            raise ChipDataError(
                f"chip {chip_id}: the reference has {format_size(found.picture.codes.shape)}, the store's maps "
                f"{format_size(shape)}"
            )
        return found

    def _classes(self, chip_id: str) -> Reference | None:
        if self.table is not None and has_mask(self.chips, chip_id):
            return _labelled(self.chips.mask(chip_id), self.table.classes, self.table.apply)
        if not self.chips.has(chip_id, self.kind.name):
            return None
        # without a mask, a raster of TerraMind's own classes (TerraMesh has them) is the reference
        path = self.chips.path(chip_id, self.kind.name)
        codes = read_labels(path).labels
        # before the codes are checked: no data is no class of the legend, and no error
        labels = np.where(np.isin(codes, self.kind.modality.nodata), IGNORED_LABEL, codes)
        _check_codes(labels, self.kind.legend, path)
        # both sides have TerraMind's own classes, so nothing is translated
        return _labelled(labels, self.kind.legend, lambda values: values.astype(np.int64))

    def _values(self, chip_id: str, kind: ContinuousMap) -> Reference | None:
        if not self.chips.has(chip_id, kind.source):
            return None
        raster = self.chips.raster(chip_id, kind.source)
        unit, offset = units_on_disk(kind.source, self.chips.layout, self.inputs)
        values = native(raster, INPUT_MODALITIES[kind.source], unit=unit, offset=offset)
        # packed as the store packs them, so that rounding is no disagreement
        stored = kind.store(values if kind.derive is None else kind.derive(values))
        # [time, 1, y, x] → [time, y, x], as a store has maps of one band
        stored = stored if kind.banded else stored[:, 0]

        def compare(maps: NDArray[Any]) -> float:
            there = stored != VALUE_FILL
            # a pixel of several bands counts where every band has a value
            there = there.all(axis=-3) if kind.banded else there
            # [sample, time, …] with [time, …]: the reference is repeated for every sample
            agreed = kind.same(maps, stored)
            valid = np.broadcast_to(there, agreed.shape)  # over samples
            return float(agreed[valid].mean()) if valid.any() else np.nan

        # the first timestep is what is shown; the agreement is over all of them
        return Reference(MapPicture.from_values(kind, stored[0]), compare)


def masks_table(chips: ChipSet | None, legend: Path | None) -> LegendTable | None:
    """Load the table to the classes of a chip set's masks: the one given, else the one that its layout names.

    Its codes, if it has any, are those of the masks: see `ChipSet.with_legend`.

    Args:
        chips: The chip set, if there is one.
        legend: File or name of a table.

    Returns:
        The table; None if nobody says which classes the masks have.

    Raises:
        ChipSetError: If it cannot be read, or maps no class.
    """
    named = None if chips is None else chips.layout.legend
    name = named if legend is None else legend
    if name is None:
        return None
    table = LegendTable.load(Path(name))
    if not table.mapping:
        labels = ", ".join(f"{entry.value} ({entry.name})" for entry in table.classes)
        raise ChipSetError(
            f"{name}: mapping is empty, so every pixel would count as wrong; write in it which of {labels} each "
            "of TerraMind's classes stands for"
        )
    return table


def has_mask(chips: ChipSet, chip_id: str) -> bool:
    """Return whether a chip has a reference mask on disk."""
    mask = chips.mask_path(chip_id)
    return mask is not None and mask.is_file()


class OtherMaps:
    """The maps of another store of the same chips, in place of references.

    Args:
        other: The other store.
        store: The store whose maps are looked at.
        timestep: Which timestep is shown.

    Raises:
        StoreError: If it holds another modality, other sizes, or none of the chips.
    """

    def __init__(self, other: AugmentStore, store: AugmentStore, timestep: int) -> None:
        self._other, self._store, self._timestep = other, store, timestep
        ours, theirs = ((s.spec.modality, s.extent) for s in (store, other))
        if ours != theirs:
            raise StoreError(
                f"{other.path}: holds {theirs[0]} and {theirs[1]}, {store.path} {ours[0]} and {ours[1]}; "
                "only maps of one modality and size can be compared"
            )
        self._complete = frozenset(other.chips_in(State.COMPLETE))
        if self._complete.isdisjoint(store.chips_in(State.COMPLETE)):
            raise StoreError(f"{other.path}: has no complete chip that {store.path} has as well")
        # Other inputs are a comparison in their own right; of the same ones the digests must agree.
        self._same_inputs = store.spec.inputs == other.spec.inputs

    def read(self, chip_id: str) -> Reference | None:
        """Read the other store's maps of a chip; None if it has none.

        Raises:
            ChipSetError: If the same inputs had other values.
        """
        if chip_id not in self._complete:
            return None
        if self._same_inputs:
            ours, theirs = (s.read(chip_id, "input_digest") for s in (self._store, self._other))
            if not np.array_equal(ours, theirs):
                raise ChipSetError(
                    f"chip {chip_id}: {self._other.path} was generated from other pixels than {self._store.path}; "
                    "compare stores of one chip set"
                )
        kind = self._other.spec.map
        values = self._other.read(chip_id, kind.array)

        def compare(maps: NDArray[Any]) -> float:
            both = min(len(maps), len(values))  # as many samples as both have
            return float(kind.same(maps[:both], values[:both]).mean())

        # [sample, time, …] → […]: of sample 0, at the timestep that is shown
        return Reference(MapPicture.from_values(kind, values[0, self._timestep]), compare)


def _check_codes(labels: NDArray[np.int64], legend: Sequence[LegendClass], path: Path) -> None:
    """Make sure that a reference has the codes of the legend: compared in others, right maps would look wrong.

    Raises:
        ChipDataError: If it has a code that the legend does not know.
    """
    known = {IGNORED_LABEL, *(entry.value for entry in legend)}
    unknown = [code for code in np.unique(labels).tolist() if code not in known]
    if unknown:
        codes = ", ".join(str(code) for code in unknown[:8])
        raise ChipDataError(
            f"{path}: codes {codes} that TerraMind's legend does not know (0 to {max(known)}); translate the "
            "references into its classes, or give them as masks with --legend"
        )


def _labelled(
    labels: NDArray[np.int64],
    classes: tuple[LegendClass, ...],
    translate: Callable[[NDArray[Any]], NDArray[np.int64]],
) -> Reference:
    counted = labels != IGNORED_LABEL

    def compare(values: NDArray[Any]) -> float:
        # [sample, time, y, x] → [sample, time, pixel]: only pixels that have a label
        return float((translate(values) == labels)[..., counted].mean()) if counted.any() else np.nan

    codes = np.where(counted, labels, NO_CODE).astype(np.uint8)
    return Reference(MapPicture(codes, classes), compare)
