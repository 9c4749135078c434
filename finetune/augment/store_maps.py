"""Joining chips with the store that was generated from them, by digest."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip_set import Chip, ChipSet
from augment_store.modalities import PATCH_SIZE
from augment_store.schema import Extent, State
from augment_store.store import AugmentStore
from finetune.augment.generate_command import generate_command
from finetune.errors import EncodingError, JoinError

NAMED_CHIPS: Final = 10


class StoreMaps:
    """Maps of a store, held in memory once read as long as they fit.

    Only the path travels to worker processes; each opens the store for itself.

    Args:
        path: Folder of the store.
        arrays: Arrays that will be read.
        memory_limit: Bytes the arrays of all chips in use may take in memory; larger ones are read each time.

    Raises:
        StoreError: If there is no store.
        EncodingError: If the store lacks an array.
    """

    def __init__(self, path: Path, arrays: Sequence[str], memory_limit: int) -> None:
        self.path = path
        self.arrays = tuple(arrays)
        self.memory_limit = memory_limit
        self._held: dict[tuple[str, str], NDArray[Any]] = {}
        self._holding = False
        self._opened: AugmentStore | None = None
        self._process = os.getpid()
        self._problems: dict[str, list[str]] = {}
        self._check_arrays()
        self.inputs = tuple(entry.name for entry in self.store.spec.inputs)
        self._complete = frozenset(self.store.chips_in(State.COMPLETE))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": {}, "_opened": None}

    @property
    def store(self) -> AugmentStore:
        """The store, opened by this process."""
        if self._opened is None or self._process != os.getpid():
            self._opened, self._process = AugmentStore.open(self.path), os.getpid()
        return self._opened

    def _check_arrays(self) -> None:
        for array in self.arrays:
            if array not in self.store.map_names:
                missing = f"{self.path}: no array {array!r} in this {self.store.spec.modality} store"
                there = f"it has {', '.join(self.store.map_names)}"
                remedy = "choose another encoding or store"
                if array == "probabilities":
                    remedy = "generate a store with --probabilities"
                raise EncodingError(f"{missing}, {there}; {remedy}")

    def note(self, chip: Chip) -> None:
        """Compares a chip on disk with what the store was generated from; `check` reports.

        Args:
            chip: The modalities named in `inputs`, raw.
        """
        extent = Extent(chip.timesteps, chip.size)
        if chip.chip_id not in self._complete:
            self._problems.setdefault("are not complete in the store", []).append(chip.chip_id)
        elif extent != self.store.extent:
            ours, theirs = (f"{e.timesteps} × {e.size} px" for e in (extent, self.store.extent))
            problem = f"have {ours} on disk where the store has {theirs} (timesteps × size)"
            self._problems.setdefault(problem, []).append(chip.chip_id)
        elif not np.array_equal(self.store.read("input_digest", chip.chip_id), chip.digests()):
            problem = "have other inputs on disk than the store was generated from"
            self._problems.setdefault(problem, []).append(chip.chip_id)

    def check(self, chips: ChipSet) -> None:
        """Stops if a chip that was noted does not belong to the store.

        Raises:
            JoinError: Naming the chips and the command that generates them.
        """
        problems, self._problems = self._problems, {}
        if not problems:
            return
        listed = "; ".join(f"{len(ids)} chips {what}: {_name(ids)}" for what, ids in problems.items())
        changed = any("complete" not in what for what in problems)
        target = self.path.with_name(f"{self.path.name}_new") if changed else self.path
        command = generate_command(self.store.spec, chips.root, target)
        raise JoinError(f"{self.path}: {listed}. Generate them with: {command}")

    def hold(self, ids: Sequence[str]) -> None:
        """Reads the maps of these chips into memory, if they fit, so that forked workers share them."""
        self._holding = self._bytes(len({*ids, *(chip_id for _, chip_id in self._held)})) <= self.memory_limit
        if self._holding:
            for chip_id in ids:
                for array in self.arrays:
                    self._read(array, chip_id)

    def _bytes(self, chips: int) -> int:
        arrays = (self.store.array(name) for name in self.arrays)
        return sum(chips * math.prod(array.shape[1:]) * array.dtype.itemsize for array in arrays)

    def read(self, array: str, chip_id: str) -> NDArray[Any]:
        """Raw values of one chip, ``[sample, time, …]``; of ``token_probability`` one per pixel."""
        values = self._read(array, chip_id)
        if array != "token_probability":
            return values
        return values.repeat(PATCH_SIZE, axis=-1).repeat(PATCH_SIZE, axis=-2)

    def _read(self, array: str, chip_id: str) -> NDArray[Any]:
        held = self._held.get((array, chip_id))
        if held is not None:
            return held
        values = self.store.read(array, chip_id)
        values = values[None] if array == "probabilities" else values
        if self._holding:
            self._held[array, chip_id] = values
        return values


def _name(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED_CHIPS]) + (" …" if len(ids) > NAMED_CHIPS else "")
