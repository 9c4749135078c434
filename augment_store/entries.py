"""Scene and georeference of a store's chips, compared with the digest that was written with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from augment_store.chips.georeference import Georeference
from augment_store.errors import StoreError
from augment_store.records import ChipEntry
from augment_store.store import AugmentStore


def read_entry(store: AugmentStore, chip_id: str) -> ChipEntry:
    """Scene and georeference that a chip was announced with.

    Raises:
        ChipNotFoundError: If the store does not know the chip.
        StoreError: If the store is damaged there.
    """
    position = store.index(chip_id)
    return next(_checked(store, range(position, position + 1)))


def read_entries(store: AugmentStore) -> dict[str, ChipEntry]:
    """Scene and georeference of every chip, by id.

    Raises:
        StoreError: If the store is damaged there.
    """
    return {entry.chip_id: entry for entry in _checked(store, range(len(store.chip_ids)))}


def changed_entries(store: AugmentStore, positions: range) -> Iterator[int]:
    """Positions of chips whose scene or georeference is not what their digest was made of.

    Damage leaves them, and so does a kill while a chip was announced again with another scene.
    """
    for position, _, intact in _rows(store, positions):
        if not intact:
            yield position


def _checked(store: AugmentStore, positions: range) -> Iterator[ChipEntry]:
    for _, entry, intact in _rows(store, positions):
        if not intact:
            raise StoreError(
                f"{store.path}: scene, coordinate reference system or transform of chip {entry.chip_id} is not what it "
                "was announced with; run the generate command again, which announces it anew"
            )
        yield entry


def _rows(store: AugmentStore, positions: range) -> Iterator[tuple[int, ChipEntry, bool]]:
    """Position and entry of each chip that has an id, and whether it is what its digest was made of."""
    region = slice(positions.start, positions.stop)
    names = ("scene_id", "crs_wkt", "transform", "entry_digest")
    columns = [store.values(name, region) for name in names]
    if any(len(column) != len(positions) for column in columns):
        raise StoreError(f"{store.path}: a column of the chips' entries is cut short; the store is damaged")
    for position, (scene, crs, place, digest) in zip(positions, zip(*columns, strict=True), strict=True):
        chip_id = store.chip_ids[position]
        entry = ChipEntry(chip_id, str(scene), Georeference(str(crs), tuple(place.tolist())))
        if chip_id:
            yield position, entry, np.array_equal(entry.digest(), digest)
