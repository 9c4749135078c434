"""A store that keeps the maps which a scene's windows were generated, for the next map of the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from augment_store.chips.chip_set import ChipSet
from augment_store.integrity.input_match import find_mismatch, generator_inputs
from augment_store.store.chip_index import ChipEntry
from augment_store.store.schema import ChipShape, State
from augment_store.store.spec import GenerationSpec
from augment_store.store.writer import AugmentStore, ChipRecord
from finetune.log_filters import notify


class KeptMaps:
    """Maps of windows in a store: those of the same input are read, and others are added as they are made.

    Args:
        path: Folder of the store, which is made if it is not there.
        spec: What generates the maps here.
        extent: Timesteps and size of a window.
        command: The command, for the store's history.

    Raises:
        StoreError: If something else is there, or a store of another spec or extent.
    """

    def __init__(self, path: Path, spec: GenerationSpec, extent: ChipShape, command: str) -> None:
        if (path / "zarr.json").is_file():
            self.store = AugmentStore.open(path, mode="r+")
            self.store.check_fits(spec, extent)
        else:
            self.store = AugmentStore.create(path, spec, extent)
        self.store.record_history(command)
        self._told = False
        self._complete = set(self.store.chips_in(State.COMPLETE))

    def find(self, windows: ChipSet, window: str) -> Mapping[str, NDArray[Any]] | None:
        """Return the maps of a window; None if the store has none of the same input."""
        if window not in self._complete:
            return None
        if find_mismatch(self.store, windows.read(window, generator_inputs(self.store))) is not None:
            return None
        return {name: self.store.read(window, name) for name in self.store.map_names}

    def add(self, windows: ChipSet, scene: str, records: Sequence[ChipRecord]) -> None:
        """Add windows of a scene, in place of those of the same names that are of another input.

        Raises:
            OSError: If the disk fails.
        """
        replaced = {made.chip_id for made in records} & self._complete
        if replaced and not self._told:
            self._told = True
            notify(
                f"--keep {self.store.path}: maps of windows of {scene} are of another input, and replaced; keep scenes "
                "of one name, or other --bounds, in stores of their own"
            )
        # before they are announced at their new place, where no map of the old one may be complete
        self.store.reset(map(self.store.index, replaced))
        self._complete -= replaced
        self.store.announce(
            [ChipEntry(made.chip_id, scene, windows.georeference(made.chip_id)) for made in records]
        )
        ordered = sorted(records, key=self._shard)
        for shard, made in groupby(ordered, key=self._shard):
            self.store.write_shard(shard, list(made))
        self._complete |= {made.chip_id for made in records if not made.error}

    def _shard(self, record: ChipRecord) -> int:
        return self.store.index(record.chip_id) // self.store.shard_chips
