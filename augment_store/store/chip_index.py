"""Chip ids by position and positions by id, and the scene and georeference of each chip."""

from __future__ import annotations

import bisect
import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, overload

from augment_store.chips.georeference import Georeference
from augment_store.errors import StoreError
from augment_store.store.digests import digest_of
from augment_store.store.schema import ENTRY_CHIPS, State
from augment_store.utils.identifiers import check_names
from augment_store.utils.text import pluralize

if TYPE_CHECKING:
    from augment_store.store.reader import StoreReader


@dataclass(frozen=True)
class ChipEntry:
    """A chip as it is announced to a store, before anything is generated."""

    chip_id: str
    scene_id: str
    georeference: Georeference = field(default_factory=Georeference)

    def digest(self) -> bytes:
        """128-bit digest of the entry."""
        place = (value if value == value else _NAN for value in self.georeference.transform)
        words = f"{self.chip_id}\0{self.scene_id}\0{self.georeference.crs_wkt}"
        return digest_of(words.encode(), struct.pack("<6d", *place))


_NAN: Final = float("nan")
"""One of the many bit patterns of NaN, so that equal entries have equal digests."""


def read_entry(store: StoreReader, chip_id: str) -> ChipEntry:
    """Scene and georeference that a chip was announced with.

    Raises:
        ChipNotFoundError: If the store does not know the chip.
        StoreError: If the store is damaged there.
    """
    position = store.index(chip_id)
    return next(_checked(store, range(position, position + 1)))


def read_entries(store: StoreReader) -> dict[str, ChipEntry]:
    """Scene and georeference of every chip, by id.

    Raises:
        StoreError: If the store is damaged there.
    """
    return {entry.chip_id: entry for entry in iter_entries(store)}


def iter_entries(store: StoreReader) -> Iterator[ChipEntry]:
    """Scene and georeference of every chip that has an id, in the store's order.

    Raises:
        StoreError: If the store is damaged there.
    """
    for positions in entry_chunks(store):
        yield from _checked(store, positions)


def entry_chunks(store: StoreReader) -> Iterator[range]:
    """Chip positions by object of the columns that hold entries."""
    total = len(store.chip_ids)
    for start in range(0, total, ENTRY_CHIPS):
        yield range(start, min(start + ENTRY_CHIPS, total))


def rows(
    store: StoreReader, positions: range, ids: Sequence[str] | None = None
) -> Iterator[tuple[int, ChipEntry, bool]]:
    """Position and entry of each chip that has an id, and whether the entry matches its digest.

    It does not after damage, nor after a kill while a chip was being announced again with another scene.

    Args:
        store: The store.
        positions: Which chips.
        ids: Their ids; None for the store's.
    """
    region = slice(positions.start, positions.stop)
    names = ("scene_id", "crs_wkt", "transform", "entry_digest")
    columns = [store.values(name, region) for name in names]
    if any(len(column) != len(positions) for column in columns):
        raise StoreError(f"{store.path}: a column of the chips' entries is cut short; the store is damaged")
    scenes, systems, places = (column.tolist() for column in columns[:3])
    ids = store.chip_ids[region] if ids is None else ids
    for position, chip_id, scene, crs, place, digest in zip(
        positions, ids, scenes, systems, places, columns[3], strict=True
    ):
        if chip_id:
            entry = ChipEntry(chip_id, scene, Georeference(crs, tuple(place)))
            yield position, entry, entry.digest() == digest.tobytes()


def _checked(store: StoreReader, positions: range) -> Iterator[ChipEntry]:
    for _, entry, intact in rows(store, positions):
        if not intact:
            raise StoreError(
                f"{store.path}: scene, coordinate reference system or transform of chip {entry.chip_id} is not what it "
                "was announced with; run the generate command again, which announces it again"
            )
        yield entry


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
                raise self._lost(
                    f"no id for {pluralize(len(nameless), 'chip')}, the first at position {first}"
                )
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
