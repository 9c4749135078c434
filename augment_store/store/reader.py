"""Opening a store and reading it by chip."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from augment_store.errors import ChipNotFoundError, StoreError
from augment_store.io.files import check_writable
from augment_store.io.remote import as_path
from augment_store.store.arrays import wrap_damage
from augment_store.store.chip_index import ChipIds
from augment_store.store.columns import StoreColumns, group_attributes, no_store_at
from augment_store.store.digests import content_digest
from augment_store.store.schema import SCHEMA_VERSION, Role, State, digested_names
from augment_store.utils.text import pluralize


class StoreReader(StoreColumns):
    """An open store as its readers see it, by chip id; `AugmentStore` opens one."""

    def __init__(self, path: Path, attributes: dict[str, Any], *, mode: str, lost_ids: bool) -> None:
        super().__init__(path, attributes, mode)
        self._lost_ids = lost_ids
        # by array name, its row in ``output_digest``
        self._digested = {name: row for row, name in enumerate(digested_names(self.spec, self.extent))}
        self.chip_ids = ChipIds(self, lost_ids=lost_ids)

    @classmethod
    def open(cls, path: str | Path, mode: str = "r", *, lost_ids: bool = False) -> Self:
        """Open an existing store.

        Args:
            path: Folder of the store, or its URL.
            mode: ``r`` to read, ``r+`` to write shards.
            lost_ids: Whether chips whose id cannot be read count as nameless, so that `verify` can name
                and repair the damage; otherwise asking for one is an error.

        Raises:
            StoreError: If there is none, or it is of another schema version or damaged.
            RemotePathError: If a URL does not answer, or is to be written to and cannot be.
        """
        path = as_path(path)
        if mode != "r":
            check_writable("store", path)
        if not (path / "zarr.json").is_file():
            raise StoreError(f"{path}: {no_store_at(path)}")
        attributes = group_attributes(path)
        # before the other attributes are parsed, which another version may not have
        version = attributes.get("schema_version")
        if version is None:
            raise StoreError(f"{path}: a Zarr group, but not an augment store (no schema_version)")
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{path}: schema version {version}, expected {SCHEMA_VERSION}; generate into a new --store"
            )
        return cls(path, attributes, mode=mode, lost_ids=lost_ids)

    def index(self, chip_id: str) -> int:
        """Return the position of a chip.

        Raises:
            ChipNotFoundError: If the store does not know it.
            StoreError: If ids are damaged.
        """
        position = self.chip_ids.find(chip_id)
        if position is None:
            raise ChipNotFoundError(
                f"{self.path}: no chip {chip_id!r} among its {pluralize(self.total, 'chip')}"
            )
        return position

    def read(self, chip_id: str, name: str) -> NDArray[Any]:
        """Return one chip's part of an array, without the chip dimension.

        Checksum and digest are compared on every read: some 50 µs for a megabyte.

        Raises:
            ValueError: If the array belongs to the chip's entry, which is checked as a whole.
            ChipNotFoundError: If the store does not know the chip.
            StoreError: If the store has no such array, or the chunk is missing, damaged, or not what was written for
                this chip by this spec.
        """
        position = self.index(chip_id)
        array = self._array(name)
        if array.schema.role in {Role.ENTRY, Role.ID}:
            raise ValueError(
                f"{name} belongs to the entry of a chip; use augment_store.store.chip_index.read_entry"
            )
        with wrap_damage(self.path, f"{name} of chip {chip_id}"):
            values = array.chip(position)
            # inside, since the digests are read from disk as well
            own = self._is_own(name, chip_id, position, values)
        if not own:
            # a lost object reads as fill values, so its digest differs too
            there = self.has_shard(name, position // self.shard_chips)
            wrong = "not what was written for it" if there else "missing from the disk"
            raise StoreError(
                f"{self.path}: {name} of chip {chip_id} is {wrong}; tim-store verify "
                f"{self.path} --repair sets the chip back, and the generate command makes it again"
            )
        return values

    def series_index(self, chip_id: str, timestep: int) -> dict[str, int]:
        """Return the position of a complete chip's timestep in its file of each input modality, from 0.

        Raises:
            ChipNotFoundError: If the store does not know the chip.
            StoreError: If the store is damaged there.
        """
        # [input, time] → [input]
        taken = self.read(chip_id, "series_index")[:, timestep].tolist()
        return dict(zip((entry.name for entry in self.spec.inputs), taken, strict=True))

    def _is_own(self, name: str, chip_id: str, position: int, values: NDArray[Any]) -> bool:
        """Say whether values are those written for a chip; never for a chip that is not complete.

        `state` and `error` have no digest, since they change without the others: they only have to exist.
        """
        if name not in self._digested:
            return self.has_shard(name, position // self.shard_chips)
        digests = self._array("output_digest").chip(position)
        written: bytes = digests[self._digested[name]].tobytes()
        return written == content_digest(self.fingerprint, chip_id, name, values)

    def chips_in(self, state: State) -> tuple[str, ...]:
        """Return the ids of the chips in a state."""
        states = self.values("state", slice(0, self.total))
        # before the ids, all of which are read when the first is asked for
        if not (states == state).any():
            return ()
        known = zip(self.chip_ids, (states == state).tolist(), strict=True)
        # a pending chip may have no id yet
        return tuple(chip_id for chip_id, found in known if chip_id and found)
