"""The columns and maps of a store by array name and chip position; ids are in `augment_store.store.chip_index`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import zarr
from numpy.typing import NDArray
from zarr.storage import FsspecStore

from augment_store.errors import StoreError
from augment_store.io.file_kinds import found_folder
from augment_store.io.objects import read_object
from augment_store.io.remote import RemotePath, translate_remote_errors
from augment_store.store.arrays import WRITE_ALL_CHUNKS, StoredArray, wrap_damage
from augment_store.store.schema import ArraySchema, StoreAttributes, chip_arrays, map_arrays
from augment_store.utils.validation import load_json

MAX_CHIPS: Final = 100_000_000
"""A store that declares more is damaged."""


class StoreColumns:
    """The arrays of an open store, read by name and position. Nothing is read before it is asked for.

    Args:
        path: Folder of the store.
        attributes: Attributes of its group.
        mode: ``r`` to read, ``r+`` to write.

    Raises:
        StoreError: If the attributes are invalid, or the store declares too many chips.
    """

    def __init__(self, path: Path, attributes: dict[str, Any], mode: str) -> None:
        self.path = path
        self._mode = mode
        header = StoreAttributes.read(attributes, path)
        self.spec, self.extent, self.shard_chips = header.spec, header.extent, header.shard_chips
        self.fingerprint = self.spec.fingerprint
        self.audit, self.history = header.audit, header.history
        self._schemas = {schema.name: schema for schema in self.schemas()}
        self._stored: dict[str, StoredArray] = {}
        self._arrays: dict[str, zarr.Array[Any]] = {}  # written to; at a URL, opening takes two requests
        self.total = self._count()

    def _count(self) -> int:
        """Count the chips: as many as `state` has. It grows last, so a killed `announce` leaves others longer."""
        total = self.length("state")
        if total > MAX_CHIPS:
            raise StoreError(
                f"{self.path}: declares {total} chips, at most {MAX_CHIPS}; the store is damaged"
            )
        return total

    @property
    def attributes(self) -> dict[str, Any]:
        """Return the group's attributes as they are on disk."""
        return group_attributes(self.path)

    def schemas(self) -> tuple[ArraySchema, ...]:
        """Return every array that the store has, those with few values per chip last."""
        return (*map_arrays(self.spec, self.extent), *chip_arrays(self.spec, self.extent))

    def schema(self, name: str) -> ArraySchema:
        """Return what an array of the store holds."""
        return self._schemas[name]

    @property
    def map_names(self) -> tuple[str, ...]:
        """Return the names of the arrays that hold tokens and maps."""
        return tuple(schema.name for schema in map_arrays(self.spec, self.extent))

    def shards(self) -> list[range]:
        """Return the chip positions of each shard."""
        return [self.shard(number) for number in range(-(-self.total // self.shard_chips))]

    def shard(self, number: int) -> range:
        """Return the chip positions of a shard."""
        start = number * self.shard_chips
        return range(start, min(start + self.shard_chips, self.total))

    @cached_property
    def _group(self) -> zarr.Group:
        with wrap_damage(self.path, "zarr.json"), translate_remote_errors(self.path, "read", OSError):
            return zarr.open_group(
                for_zarr(self.path, write=self._mode == "r+"),
                mode="r+" if self._mode == "r+" else "r",
                zarr_format=3,
                # after a kill, the consolidated copy may be older than the arrays' own metadata
                use_consolidated=False,
            )

    def array(self, name: str) -> zarr.Array[Any]:
        """Return the Zarr array of that name, for writing, or for seeing it as Zarr does.

        Raises:
            StoreError: If the store has none, or its shape is not what the extent says.
        """
        # first the checks of `StoredArray`: zarr would open an array of another layout as well
        self.length(name)
        with wrap_damage(self.path, name), translate_remote_errors(self.path / name, "read", OSError):
            found = self._group[name]
        if not isinstance(found, zarr.Array):
            raise StoreError(f"{self.path}: {name} is not an array; the store is damaged")
        return found.with_config(WRITE_ALL_CHUNKS)

    def _array(self, name: str) -> StoredArray:
        if name not in self._schemas:
            lacks = f"{self.path}: no array {name!r} in this {self.spec.modality} store"
            if self.spec.tokens_only:
                remedy = f"tim-generate decode --tokens {self.path} --store NEW"
                raise StoreError(f"{lacks}, which holds tokens alone; make the maps with {remedy}")
            raise StoreError(lacks)
        if name not in self._stored:
            self._stored[name] = StoredArray(self.path, self._schemas[name], self.shard_chips)
        return self._stored[name]

    def length(self, name: str) -> int:
        """Return the number of chips that an array declares; most arrays grow before the new chips count.

        Raises:
            StoreError: If the store has no such array, or its metadata are damaged.
        """
        return self._array(name).length

    def values(self, name: str, region: slice = slice(None)) -> NDArray[Any]:
        """Return an array, or the chips of it in `region`; meant for arrays with few values per chip or for shards.

        Raises:
            StoreError: If the store has none, or it is damaged.
        """
        array = self._array(name)
        # open ends and ends beyond the array become positions
        first, last, _ = region.indices(array.length)
        with wrap_damage(self.path, name):
            return array.region(first, last)

    def has_shard(self, name: str, shard: int) -> bool:
        """Say whether the object that holds a shard of an array is there; Zarr reads a missing one as fill values."""
        return self.has_object(name, shard * self.shard_chips)

    def has_object(self, name: str, position: int) -> bool:
        """Say whether the object that holds a chip's part of an array is there."""
        array = self._array(name)
        return array.object(position // array.chips).is_file()


def no_store_at(path: Path) -> str:
    """Say what is wrong, and advise, where a store was to be read and there is none."""
    remedy = (
        "check the bucket and the folder in the URL"
        if isinstance(path, RemotePath)
        else "make one with tim-generate --store"
    )
    return f"not an augment store (no zarr.json){found_folder(path)}; {remedy}"


def for_zarr(path: Path, *, write: bool) -> Path | FsspecStore:
    """Return a store as Zarr takes it, which has file systems of its own for URLs."""
    if not isinstance(path, RemotePath):
        return path
    # not an option of every file system; a listing that is kept misses what other clients and processes write
    options = {"use_listings_cache": False} if write else None
    return _Listed.from_url(path.address, storage_options=options, read_only=not write)


class _Listed(FsspecStore):
    """Skip zero-byte directory markers; Zarr would list them as their own children forever."""

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        async for name in super().list_dir(prefix):
            if name.strip("/"):
                yield name


def group_attributes(path: Path) -> dict[str, Any]:
    """Read the attributes of the Zarr group at a path.

    Raises:
        StoreError: If its metadata are damaged.
    """
    try:
        # no file reads like an empty one: as damage
        group = load_json(read_object(path / "zarr.json") or b"")
        kind = group["zarr_format"], group["node_type"]
        attributes: dict[str, Any] = dict(group["attributes"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: zarr.json cannot be read ({error}); the store is damaged") from error
    if kind != (3, "group"):
        raise StoreError(f"{path}: zarr.json is of {kind}, expected a group of Zarr 3; the store is damaged")
    return attributes
