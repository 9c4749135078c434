"""Reading chips of a store one at a time, and averages over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip_set import ChipSet
from augment_store.inspect.references import OtherMaps, Reference, References, has_mask
from augment_store.inspect.statistics import (
    MEASURES,
    ChipMaps,
    ChipStatistics,
    chip_measures,
    class_shares,
    find_flags,
)
from augment_store.modalities.categorical import CONFIDENCE
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.modalities.legend_table import LegendTable
from augment_store.modalities.map_arrays import TOKEN_PROBABILITY
from augment_store.store.chip_selection import StoreProgress
from augment_store.store.writer import AugmentStore


@dataclass(frozen=True)
class Group:
    """Means over the chips of a split.

    Attributes:
        name: Name of the split, empty for chips of none.
        chips: Number of chips.
        shares: ``[class]`` mean share of each class.
        measures: Mean of each measure over the chips it applies to, NaN where it applies to none.
        mean_value: Mean of a continuous map.
    """

    name: str
    chips: int
    shares: NDArray[np.float64]
    measures: dict[str, float]
    mean_value: float


class StoreInspector:
    """Reader of the chips of an open store with what belongs to them.

    Args:
        store: The store.
        chips: Its chip set, for splits and references; None to go without.
        table: Legend table to the masks' classes; None if they are not known, and masks are not compared.
        against: Maps of another store, which stand for the references.
    """

    def __init__(
        self,
        store: AugmentStore,
        chips: ChipSet | None,
        table: LegendTable | None,
        against: OtherMaps | None = None,
    ) -> None:
        self.store = store
        self._against = against
        self.chips = chips
        self.kind: GeneratedMap = store.spec.map
        inputs = store.spec.inputs
        self._references = None if chips is None else References(chips, self.kind, table, inputs)
        self._present = frozenset() if chips is None else frozenset(chips.ids)
        self._table = table

    @cached_property
    def progress(self) -> StoreProgress:
        """Number of chips in each state."""
        return StoreProgress.read(self.store)

    @property
    def legend(self) -> str:
        """Name of the legend table by which masks are compared; empty if none are."""
        return self._table.name if self._table is not None and self._masks_count else ""

    @property
    def unknown_masks(self) -> bool:
        """Say whether masks are left uncompared because nothing names their classes."""
        return self._table is None and self._masks_count

    @property
    def _masks_count(self) -> bool:
        """Say whether masks could be references of the maps."""
        if self.chips is None or self._against is not None or self.kind.continuous:
            return False
        # one chip stands for all: a look at every file takes long, above all at a URL
        return has_mask(self.chips, self.chips.ids[0])

    @property
    def title(self) -> str:
        """Modality and generator, in words."""
        spec = self.store.spec
        doubt = " with random weights" if spec.weights == "random" else ""
        return f"{spec.modality} by {spec.generator}{doubt}"

    @cached_property
    def splits(self) -> dict[str, str]:
        """Split of each chip that is in one."""
        given = {} if self.chips is None else self.chips.splits
        return {chip_id: name for name, ids in given.items() for chip_id in ids}

    def has_inputs(self, chip_id: str) -> bool:
        """Return whether the chip set holds this chip."""
        return chip_id in self._present

    def reference(self, chip_id: str) -> Reference | None:
        """Read a chip's reference; None if there is none."""
        if self._against is not None:
            return self._against.read(chip_id)
        if self._references is None or not self.has_inputs(chip_id):
            return None
        return self._references.read(chip_id, self.store.extent.shape)

    def maps(self, chip_id: str) -> ChipMaps:
        """Read a chip's generated maps."""
        # one timestep is no copy; not reading its source saves an object per chip
        one_time = self.store.extent.timesteps == 1
        sources = np.zeros(1, np.int16) if one_time else self.store.read(chip_id, "timestep_source")
        values, probability = (
            self.store.read(chip_id, name) for name in (self.kind.array, TOKEN_PROBABILITY)
        )
        sure = CONFIDENCE in self.store.map_names
        confidence = self.store.read(chip_id, CONFIDENCE) if sure else None
        if self.store.spec.codebooks > 1:  # [sample, time, codebook, ty, tx]
            probability = probability.mean(axis=2)
        return ChipMaps(values, probability, confidence, sources)

    def measure(self, positions: Iterable[int]) -> Iterator[ChipStatistics]:
        """Yield statistics of chips, one at a time."""
        for position in positions:
            yield self.statistics(self.store.chip_ids[position])

    def statistics(self, chip_id: str) -> ChipStatistics:
        """Return statistics of one chip."""
        maps, reference = self.maps(chip_id), self.reference(chip_id)
        shares = class_shares(maps.values, self.kind)
        measures = chip_measures(maps, self.kind, reference)
        return ChipStatistics(
            chip_id=chip_id,
            split=self.splits.get(chip_id, ""),
            shares=shares,
            measures=measures,
            mean_value=self.kind.mean(maps.values),
            flags=find_flags(shares, measures, self.kind),
        )


def average_by_split(statistics: Sequence[ChipStatistics]) -> list[Group]:
    """Average by split, in the order train, val, test, other; first over all chips where there are several."""
    # chips of no split have the empty name, and come last
    names = sorted({entry.split for entry in statistics}, key=("train", "val", "test", "").index)
    groups = [_average_group(name, [entry for entry in statistics if entry.split == name]) for name in names]
    # beside a single split, "all" would have the same numbers
    return groups if len(groups) == 1 else [_average_group("all", statistics), *groups]


def _average_group(name: str, members: Sequence[ChipStatistics]) -> Group:
    measures = {key: _finite_mean([entry.measures[key] for entry in members]) for key in MEASURES}
    shares = np.mean([entry.shares for entry in members], axis=0)
    return Group(name, len(members), shares, measures, _finite_mean([entry.mean_value for entry in members]))


def _finite_mean(values: Sequence[float]) -> float:
    # NaN: the measure does not apply to a chip; NumPy would warn of a mean over none
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else np.nan
