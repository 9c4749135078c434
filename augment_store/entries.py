"""Identity of a store's chips: scene and georeference, checked against the digest written with them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import xxhash

from augment_store.chips.georeference import Georeference
from augment_store.errors import StoreError
from augment_store.schema import ENTRY_CHIPS

if TYPE_CHECKING:
    from augment_store.reading import StoreReader


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


def digest_of(*parts: bytes | memoryview) -> bytes:
    """128-bit XXH3 digest of concatenated parts: it finds mistakes, as any digest without a key, and not malice."""
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part)
    return state.digest()


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
