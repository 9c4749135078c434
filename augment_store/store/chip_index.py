"""Chip ids by position and positions by id, and the scene and georeference of each chip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, overload

from numpy.typing import NDArray

from augment_store.chips.georeference import Georeference
from augment_store.errors import StoreError
from augment_store.store.columns import StoreColumns
from augment_store.store.digests import entry_digest
from augment_store.store.schema import ENTRY_CHIPS, ID_CHIPS, State
from augment_store.utils.identifiers import check_names
from augment_store.utils.text import pluralize


@dataclass(frozen=True)
class ChipEntry:
    """A chip as it is announced to a store, before anything is generated."""

    chip_id: str
    scene_id: str
    georeference: Georeference = field(default_factory=Georeference)

    def digest(self) -> bytes:
        """Return the 128-bit digest of the entry."""
        return entry_digest(self.chip_id, self.scene_id, self.georeference)


class ChipIds(Sequence[str]):
    """Ids by position; a pending chip may have none. All are read when the first is asked for.

    A million ids take about half a second and 150 MB.

    Args:
        columns: The store's columns.
        lost_ids: Whether chips whose id is damaged or missing count as nameless; otherwise asking for one is
            an error.
    """

    def __init__(self, columns: StoreColumns, *, lost_ids: bool) -> None:
        self._columns = columns
        self._total = columns.total
        self._lost_ids = lost_ids
        self._ids: list[str] | None = None
        self._positions: dict[str, int] | None = None

    def __len__(self) -> int:
        return self._total

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self._read()[index])
        # asked first, so that a wrong position does not cost reading all ids
        if not -self._total <= int(index) < self._total:
            raise IndexError(f"position {index} of {self._total} chips")
        return self._read()[int(index)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __contains__(self, chip_id: object) -> bool:
        return isinstance(chip_id, str) and self.find(chip_id) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChipIds | tuple) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment] # a store may be announced more chips

    def find(self, chip_id: str) -> int | None:
        """Return the position of a chip, None if the store does not know it.

        Raises:
            StoreError: If ids are damaged or invalid.
        """
        return self.positions().get(chip_id)

    def positions(self) -> dict[str, int]:
        """Return the position of every chip that has an id, by id.

        Raises:
            StoreError: If ids are damaged or invalid.
        """
        if self._positions is None:
            self._positions = {chip_id: position for position, chip_id in enumerate(self._read()) if chip_id}
        return self._positions

    def _read(self) -> list[str]:
        if self._ids is None:
            objects = id_objects(self._columns)
            self._ids = [chip_id for positions in objects for chip_id in self._object(positions)]
        return self._ids

    def _object(self, positions: range) -> list[str]:
        """Read the ids of one object, and check them."""
        region = slice(positions.start, positions.stop)
        try:
            ids: list[str] = self._columns.values("chip_id", region).tolist()
        except StoreError:
            if not self._lost_ids:
                raise self._lost(f"chip_id of chips {region.start} to {region.stop - 1} is damaged") from None
            return [""] * len(positions)
        ids += [""] * (len(positions) - len(ids))  # of a column that was cut short
        # "" is no name to check: a pending chip may have no id
        check_names(f"{self._columns.path}: chip id", filter(None, ids))
        if "" in ids and not self._lost_ids:
            # only pending chips may lack an id, which `announce` writes last
            nameless = [row for row, chip_id in enumerate(ids) if not chip_id]
            if (self._columns.values("state", region)[nameless] != State.PENDING).any():
                chips, first = pluralize(len(nameless), "chip"), region.start + nameless[0]
                raise self._lost(f"no id for {chips}, the first at position {first}")
        return ids

    def _lost(self, what: str) -> StoreError:
        path = self._columns.path
        return StoreError(
            f"{path}: {what}; tim-store verify {path} --chips DIR --repair restores the ids that it can "
            "prove, and sets the other chips back for the generate command to make again"
        )


class IndexedStore(Protocol):
    """Columns whose chips have ids, as far as entries need them; `augment_store.store.reader.StoreReader` is one."""

    @property
    def path(self) -> Path:
        """Folder of the store."""

    @property
    def chip_ids(self) -> ChipIds:
        """Ids by position."""

    def index(self, chip_id: str) -> int:
        """Return the position of a chip."""

    def values(self, name: str, region: slice = ...) -> NDArray[Any]:
        """Return the chips of an array in a region."""


def read_entry(store: IndexedStore, chip_id: str) -> ChipEntry:
    """Return the scene and georeference that a chip was announced with.

    Raises:
        ChipNotFoundError: If the store does not know the chip.
        StoreError: If the store is damaged there.
    """
    position = store.index(chip_id)
    return next(_intact_entries(store, range(position, position + 1)))


def read_entries(store: IndexedStore) -> dict[str, ChipEntry]:
    """Return the scene and georeference of every chip, by id.

    Raises:
        StoreError: If the store is damaged there.
    """
    return {entry.chip_id: entry for entry in iter_entries(store)}


def iter_entries(store: IndexedStore) -> Iterator[ChipEntry]:
    """Yield the scene and georeference of every chip that has an id, in the store's order.

    Raises:
        StoreError: If the store is damaged there.
    """
    # one object of each column at a time, so that memory does not grow with the store
    for positions in chunks(range(len(store.chip_ids)), ENTRY_CHIPS):
        yield from _intact_entries(store, positions)


def chunks(positions: range, size: int) -> Iterator[range]:
    """Yield positions in runs of at most `size`."""
    for start in range(positions.start, positions.stop, size):
        yield range(start, min(start + size, positions.stop))


def entry_objects(columns: StoreColumns) -> Iterator[range]:
    """Yield the chip positions of each object of the columns that hold entries."""
    return chunks(range(columns.total), ENTRY_CHIPS)


def id_objects(columns: StoreColumns) -> Iterator[range]:
    """Yield the chip positions of each object of ids."""
    return chunks(range(columns.total), ID_CHIPS)


def rows(
    store: IndexedStore, positions: range, ids: Sequence[str] | None = None
) -> Iterator[tuple[int, ChipEntry, bool]]:
    """Yield position and entry of each chip that has an id, and whether the entry matches its digest.

    It does not after damage, nor after a kill while a chip was being announced again with another scene.

    Args:
        store: The store.
        positions: Which chips.
        ids: Their ids; None for the store's.
    """
    region = slice(positions.start, positions.stop)
    names = ("scene_id", "crs_wkt", "transform", "entry_digest")
    columns = [store.values(name, region) for name in names]
    # before `zip`, whose own error would not name the store
    if any(len(column) != len(positions) for column in columns):
        raise StoreError(f"{store.path}: a column of the chips' entries is cut short; the store is damaged")
    # plain Python values for the entries; digests stay an array, as their bytes are compared
    scenes, systems, transforms = (column.tolist() for column in columns[:3])
    ids = store.chip_ids[region] if ids is None else ids
    for position, chip_id, scene, crs, transform, digest in zip(
        positions, ids, scenes, systems, transforms, columns[3], strict=True
    ):
        if chip_id:
            entry = ChipEntry(chip_id, scene, Georeference(crs, tuple(transform)))
            yield position, entry, entry.digest() == digest.tobytes()


def _intact_entries(store: IndexedStore, positions: range) -> Iterator[ChipEntry]:
    for _, entry, intact in rows(store, positions):
        if not intact:
            raise StoreError(
                f"{store.path}: scene, coordinate reference system or transform of chip {entry.chip_id} is not what it "
                "was announced with; run the generate command again, which announces it again"
            )
        yield entry
