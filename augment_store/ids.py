"""Ids of a store's chips by position, and positions by id, without reading all of them."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, overload

from augment_store.errors import StoreError
from augment_store.names import check_names
from augment_store.schema import ENTRY_CHIPS, State
from augment_store.words import counted

if TYPE_CHECKING:
    from augment_store.reading import StoreReader

_HELD_CHUNKS: Final = 256
"""Chunks of ids kept in memory: those of a million chips, about 80 MB once all have been read."""


class ChipIds(Sequence[str]):
    """Ids by position, read by chunk when they are asked for; a pending chip may have none.

    An id is found by bisection, in `sorted_first` and then in one object of `sorted_id`. The result is only a hint: if
    `chip_id` does not have the id at that position, all ids are read. So a lookup that is damaged, or out of date
    because announcing was interrupted, costs nothing but time.

    Args:
        store: The store.
        total: Number of chips.
        lost_ids: Whether chips whose id is damaged or missing count as nameless; otherwise asking for one is
            an error.
    """

    def __init__(self, store: StoreReader, total: int, *, lost_ids: bool) -> None:
        self._store = store
        self._total = total
        self._lost_ids = lost_ids
        self._chunks: dict[int, list[str]] = {}
        self._sorted: dict[int, list[str]] = {}
        self._firsts: list[str] | None = None
        self._all: dict[str, int] | None = None

    def __len__(self) -> int:
        return self._total

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple([self[position] for position in range(*index.indices(self._total))])
        position = int(index) + self._total * (index < 0)
        if not 0 <= position < self._total:
            raise IndexError(f"position {index} of {self._total} chips")
        number, place = divmod(position, ENTRY_CHIPS)
        if number not in self._chunks:
            _hold(self._chunks, number, self._read(number))
        return self._chunks[number][place]

    def __iter__(self) -> Iterator[str]:
        chunks = range(-(-self._total // ENTRY_CHIPS))
        return itertools.chain.from_iterable(self._chunks.get(n) or self._read(n) for n in chunks)

    def __contains__(self, chip_id: object) -> bool:
        return isinstance(chip_id, str) and self.find(chip_id) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChipIds | tuple) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment] # a store may be announced more chips

    def find(self, chip_id: str) -> int | None:
        """Position of a chip, None if the store does not know it.

        Raises:
            StoreError: If ids that had to be read are damaged.
        """
        hint = self._hint(chip_id) if chip_id and self._all is None else None
        if hint is not None and 0 <= hint < self._total and self[hint] == chip_id:
            return hint
        return self.positions().get(chip_id)

    def positions(self) -> dict[str, int]:
        """Position of every chip that has an id, by id.

        Raises:
            StoreError: If an id is damaged or invalid.
        """
        if self._all is None:
            self._all = {chip_id: position for position, chip_id in enumerate(self) if chip_id}
        return self._all

    def _hint(self, chip_id: str) -> int | None:
        try:
            if self._firsts is None:
                self._firsts = self._store.values("sorted_first").tolist()
            number = bisect.bisect_right(self._firsts, chip_id) - 1
            ids = self._sorted_chunk(number) if number >= 0 else []
            rank = bisect.bisect_left(ids, chip_id)
            if rank == len(ids) or ids[rank] != chip_id:
                return None
            rank += number * ENTRY_CHIPS
            return int(self._store.values("sorted_position", slice(rank, rank + 1))[0])
        except (StoreError, IndexError):
            return None  # `verify` names the damage; the ids themselves answer

    def _sorted_chunk(self, number: int) -> list[str]:
        if number not in self._sorted:
            _hold(self._sorted, number, self._store.values("sorted_id", _region(number)).tolist())
        return self._sorted[number]

    def _read(self, number: int) -> list[str]:
        """Ids of a chunk, checked."""
        region = _region(number, self._total)
        count = region.stop - region.start
        try:
            ids: list[str] = self._store.values("chip_id", region).tolist()
        except StoreError:
            if not self._lost_ids:
                raise self._lost(f"chip_id of chips {region.start} to {region.stop - 1} is damaged") from None
            return [""] * count
        ids += [""] * (count - len(ids))  # of a column that was cut short
        check_names(f"{self._store.path}: chip id", filter(None, ids))
        if "" in ids and not self._lost_ids:
            nameless = [place for place, chip_id in enumerate(ids) if not chip_id]
            if (self._store.values("state", region)[nameless] != State.PENDING).any():
                first = region.start + nameless[0]
                raise self._lost(f"no id for {counted(len(nameless), 'chip')}, the first at position {first}")
        return ids

    def _lost(self, what: str) -> StoreError:
        path = self._store.path
        return StoreError(
            f"{path}: {what}; python -m augment_store verify {path} --repair restores what it can prove, and sets the "
            "other chips back for the generate command to make again"
        )


def _region(number: int, total: int | None = None) -> slice:
    stop = (number + 1) * ENTRY_CHIPS
    return slice(number * ENTRY_CHIPS, stop if total is None else min(stop, total))


def _hold(held: dict[int, Any], number: int, values: Any) -> None:
    """Keeps a chunk, and drops the oldest if there are too many."""
    if len(held) >= _HELD_CHUNKS:
        del held[next(iter(held))]
    held[number] = values
