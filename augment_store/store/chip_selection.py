"""Which chips are looked at: by id, the most doubtful ones, or random ones."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from augment_store.errors import StoreError
from augment_store.store.schema import State
from augment_store.store.writer import AugmentStore

_SUGGESTED_AMONG: Final = 20_000
"""Ids compared letter by letter with one that does not exist; more would take minutes."""


@dataclass(frozen=True)
class StoreProgress:
    """Progress of a store: the states of all its chips, read once.

    Attributes:
        states: ``[chip]`` a `State` each.
    """

    states: NDArray[np.uint8]

    @classmethod
    def read(cls, store: AugmentStore) -> Self:
        """Read the states of the chips the store had when it was opened."""
        return cls(store.values("state", slice(0, len(store.chip_ids))))

    def count(self, state: State) -> int:
        """Return the number of chips in a state."""
        return int((self.states == state).sum())

    @property
    def complete(self) -> NDArray[np.int64]:
        """Return the positions of the complete chips, in the store's order."""
        return np.flatnonzero(self.states == State.COMPLETE)

    def __str__(self) -> str:
        parts = [f"{self.count(State.COMPLETE):,} of {self.states.size:,} chips complete"]
        rest = {state.name.lower(): self.count(state) for state in (State.PENDING, State.FAILED)}
        return ", ".join(parts + [f"{count:,} {name}" for name, count in rest.items() if count])


def check_not_empty(store: AugmentStore, progress: StoreProgress) -> None:
    """Make sure that there is a chip to look at.

    Raises:
        StoreError: If none is complete; the message says how many failed or are pending.
    """
    if not progress.complete.size:
        raise StoreError(f"{store.path}: nothing to look at, {progress}; run tim-generate first")


def positions_of(store: AugmentStore, ids: Sequence[str], progress: StoreProgress) -> NDArray[np.int64]:
    """Return positions of chips by id, in the order given, each once.

    Raises:
        StoreError: If an id is not in the store (the nearest ones are named) or not complete.
    """
    unknown = [chip_id for chip_id in ids if chip_id not in store.chip_ids]
    if unknown:
        raise StoreError(f"{store.path}: no chip {unknown[0]!r}{_suggest(unknown[0], store.chip_ids)}")
    # each once, in the order asked for, which a set would lose
    positions = list(dict.fromkeys(store.index(chip_id) for chip_id in ids))
    for position in positions:
        state = State(int(progress.states[position]))
        if state != State.COMPLETE:
            raise StoreError(
                f"{store.path}: chip {store.chip_ids[position]!r} is {state.name.lower()}; "
                "only complete chips have maps"
            )
    return np.array(positions, dtype=np.int64)


def draw_positions(positions: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Draw `count` of the positions without repetition, or all if there are fewer; in ascending order."""
    # without replacement, `choice` refuses to draw more than there are
    if count >= positions.size:
        return positions
    return np.sort(np.random.default_rng(seed).choice(positions, size=count, replace=False))


def _suggest(chip_id: str, ids: Sequence[str]) -> str:
    known = tuple(ids)
    # rounded up, so that at most `_SUGGESTED_AMONG` ids are left after taking every step-th
    step = max(1, -(-len(known) // _SUGGESTED_AMONG))
    # looking for a part of a name is cheap, so every id is tried; `difflib` gets a sample
    alike = [other for other in known if chip_id.lower() in other.lower()][:3]
    nearest = alike or difflib.get_close_matches(chip_id, known[::step], n=3, cutoff=0.5)
    return f"; the nearest are {', '.join(nearest)}" if nearest else f"; the first is {known[0]!r}"
