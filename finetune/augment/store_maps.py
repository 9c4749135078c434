"""Joining chips with the store that was generated from them, by digest."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from augment_store.chips.chip_set import Chip, ChipSet
from augment_store.integrity.input_match import Mismatch, check_same, find_mismatch, generator_inputs
from augment_store.modalities.map_arrays import TOKEN_PROBABILITY, TOKENS, by_pixel
from augment_store.store.schema import State
from augment_store.store.writer import AugmentStore
from finetune.errors import EncodingError


class StoreMaps:
    """Maps of a store, kept in memory once read if they fit.

    Only the path travels to worker processes; each opens the store for itself.

    Args:
        opened: The store, open in this process.
        arrays: Arrays that will be read.
        memory_limit: Bytes that the arrays of all chips in use may take in memory; beyond it they are read each time.

    Raises:
        EncodingError: If the store lacks an array.
    """

    def __init__(self, opened: AugmentStore, arrays: Sequence[str], memory_limit: int) -> None:
        self.path = opened.path
        self.spec, self.fingerprint = opened.spec, opened.fingerprint
        self.arrays = tuple(arrays)
        self.memory_limit = memory_limit
        self._held: dict[tuple[str, str], NDArray[Any]] = {}
        self._holding = False
        self._opened: AugmentStore | None = opened
        self._process = os.getpid()
        self._found: dict[str, Mismatch] = {}
        _check_arrays(opened, self.arrays)
        self.inputs = generator_inputs(opened)

    @cached_property
    def complete(self) -> frozenset[str]:
        """Chips whose maps are there."""
        return frozenset(self.store.chips_in(State.COMPLETE))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": {}, "_opened": None}

    @property
    def store(self) -> AugmentStore:
        """The store, opened by this process."""
        if self._opened is None or self._process != os.getpid():
            self._opened, self._process = AugmentStore.open(self.path), os.getpid()
        return self._opened

    def note(self, chip: Chip) -> None:
        """Compares a chip on disk with what the store was generated from; `check` reports.

        Args:
            chip: The modalities named in `inputs`, raw.
        """
        complete = chip.chip_id in self.complete
        what = find_mismatch(self.store, chip) if complete else Mismatch.PENDING
        if what is not None:
            self._found[chip.chip_id] = what

    def check(self, chips: ChipSet) -> None:
        """Stops if a chip that was noted does not belong to the store.

        Raises:
            OtherChipsError: Naming the chips, what differs and the remedy.
        """
        found, self._found = self._found, {}
        check_same(self.store, chips, found)

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
        """Raw values of one chip, ``[sample, time, …]``; for ``token_probability`` one per pixel."""
        values = self._read(array, chip_id)
        return by_pixel(values, self.store.extent.shape) if array == TOKEN_PROBABILITY else values

    def _read(self, array: str, chip_id: str) -> NDArray[Any]:
        held = self._held.get((array, chip_id))
        if held is not None:
            return held
        values = self.store.read(array, chip_id)
        values = values[None] if array == "probabilities" else values
        if self._holding:
            self._held[array, chip_id] = values
        return values


def _check_arrays(store: AugmentStore, arrays: Sequence[str]) -> None:
    for array in arrays:
        if array not in store.map_names:
            missing = f"{store.path}: no array {array!r} in this {store.spec.modality} store"
            there = f"it has {', '.join(store.map_names)}"
            remedy = "choose another encoding or store"
            if array == TOKENS and store.spec.sampling.window is not None:
                remedy = (
                    "its maps are blended of windows, which leaves none: generate a store without --window"
                )
            if array == "probabilities":
                remedy = "generate a store with --probabilities"
            raise EncodingError(f"{missing}, {there}; {remedy}")
