"""Opening a store and reading it by chip."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import zarr
from numpy.typing import NDArray
from zarr.storage import FsspecStore

from augment_store.errors import ChipNotFoundError, StoreError
from augment_store.io.files import check_writable
from augment_store.io.objects import FileVersion, read_file
from augment_store.io.remote import RemotePath, as_path, translate_remote_errors
from augment_store.store.arrays import WRITE_ALL_CHUNKS, StoredArray, wrap_damage
from augment_store.store.chip_index import ChipIds
from augment_store.store.digests import content_digest
from augment_store.store.schema import (
    SCHEMA_VERSION,
    ArraySchema,
    Role,
    State,
    StoreAttributes,
    chip_arrays,
    digested_names,
    map_arrays,
)
from augment_store.utils.text import pluralize
from augment_store.utils.validation import load_json

if TYPE_CHECKING:
    import xarray as xr


MAX_CHIPS: Final = 100_000_000
"""A store that declares more is damaged."""


class StoreReader:
    """An open store as its readers see it; `AugmentStore` opens one. Nothing is read before it is asked for."""

    def __init__(self, path: Path, attributes: dict[str, Any], *, mode: str, lost_ids: bool) -> None:
        self.path = path
        self._mode = mode
        self._lost_ids = lost_ids
        header = StoreAttributes.read(attributes, path)
        self.spec, self.extent, self.shard_chips = header.spec, header.extent, header.shard_chips
        self.fingerprint = self.spec.fingerprint
        self.audit, self.history = header.audit, header.history
        self._digested = {name: place for place, name in enumerate(digested_names(self.spec, self.extent))}
        self._schemas = {schema.name: schema for schema in self.schemas()}
        self._stored: dict[str, StoredArray] = {}
        self._arrays: dict[str, zarr.Array[Any]] = {}  # written to; at a URL, opening takes two requests
        self._proven: dict[tuple[str, int], tuple[FileVersion, int]] = {}  # by shard, a bit for each chip
        self.chip_ids = self._known_ids()

    @classmethod
    def open(cls, path: str | Path, mode: str = "r", *, lost_ids: bool = False) -> Self:
        """Opens an existing store.

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
        attributes = _group_attributes(path)
        version = attributes.get("schema_version")
        if version is None:
            raise StoreError(f"{path}: a Zarr group, but not an augment store (no schema_version)")
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{path}: schema version {version}, expected {SCHEMA_VERSION}; generate into a new --store"
            )
        return cls(path, attributes, mode=mode, lost_ids=lost_ids)

    def _known_ids(self) -> ChipIds:
        """Ids of as many chips as `state` has: it grows last, so an interrupted `announce` leaves others longer."""
        total = self.length("state")
        if total > MAX_CHIPS:
            raise StoreError(
                f"{self.path}: declares {total} chips, at most {MAX_CHIPS}; the store is damaged"
            )
        return ChipIds(self, total, lost_ids=self._lost_ids)

    @property
    def attributes(self) -> dict[str, Any]:
        """The group's attributes as they are on disk."""
        return _group_attributes(self.path)

    def schemas(self) -> tuple[ArraySchema, ...]:
        """Every array that the store has, those with few values per chip last."""
        return (*map_arrays(self.spec, self.extent), *chip_arrays(self.spec, self.extent))

    @property
    def map_names(self) -> tuple[str, ...]:
        """Names of the arrays that hold tokens and maps."""
        return tuple(schema.name for schema in map_arrays(self.spec, self.extent))

    def shards(self) -> list[range]:
        """Chip positions of each shard."""
        return [self.shard(number) for number in range(-(-len(self.chip_ids) // self.shard_chips))]

    def shard(self, number: int) -> range:
        """Chip positions of a shard."""
        start = number * self.shard_chips
        return range(start, min(start + self.shard_chips, len(self.chip_ids)))

    @cached_property
    def _group(self) -> zarr.Group:
        with wrap_damage(self.path, "zarr.json"), translate_remote_errors(self.path, "read", OSError):
            return zarr.open_group(
                for_zarr(self.path, write=self._mode == "r+"),
                mode="r+" if self._mode == "r+" else "r",
                zarr_format=3,
                use_consolidated=False,
            )

    def array(self, name: str) -> zarr.Array[Any]:
        """The Zarr array of that name, for writing, or for seeing it as Zarr does.

        Raises:
            StoreError: If the store has none, or its shape is not what the extent says.
        """
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
                remedy = f"python -m generate decode --tokens {self.path} --store NEW"
                raise StoreError(f"{lacks}, which holds tokens alone; make the maps with {remedy}")
            raise StoreError(lacks)
        if name not in self._stored:
            self._stored[name] = StoredArray(self.path, self._schemas[name], self.shard_chips)
        return self._stored[name]

    def length(self, name: str) -> int:
        """Number of chips that an array declares; most arrays grow before the new chips count.

        Raises:
            StoreError: If the store has no such array, or its metadata are damaged.
        """
        return self._array(name).length

    def values(self, name: str, region: slice = slice(None)) -> NDArray[Any]:
        """An array, or the chips of it in `region`; meant for arrays with few values per chip or for shards.

        Raises:
            StoreError: If the store has none, or it is damaged.
        """
        array = self._array(name)
        first, last, _ = region.indices(array.length)
        with wrap_damage(self.path, name):
            return array.region(first, last)

    def index(self, chip_id: str) -> int:
        """Position of a chip.

        Raises:
            ChipNotFoundError: If the store does not know it.
            StoreError: If ids that had to be read are damaged.
        """
        position = self.chip_ids.find(chip_id)
        if position is None:
            raise ChipNotFoundError(
                f"{self.path}: no chip {chip_id!r} among its {pluralize(len(self.chip_ids), 'chip')}"
            )
        return position

    def read(self, name: str, chip_id: str) -> NDArray[Any]:
        """Return one chip's part of an array, without the chip dimension.

        The checksum is compared on every read, and the digest on the first one of a chip and after its file changed.

        Raises:
            ValueError: If the array belongs to the chip's entry, which is checked as a whole.
            ChipNotFoundError: If the store does not know the chip.
            StoreError: If the store has no such array, or the chunk is missing, damaged, or not what was written for
                this chip by this spec.
        """
        array = self._array(name)
        if array.schema.role in {Role.ENTRY, Role.LOOKUP}:
            raise ValueError(
                f"{name} belongs to the entry of a chip; use augment_store.store.chip_index.read_entry"
            )
        position = self.index(chip_id)
        with wrap_damage(self.path, f"{name} of chip {chip_id}"):
            values, stamp = array.stamped_chip(position)
            own = self._is_proven(name, position, stamp) or self._is_own(name, chip_id, position, values)
        if not own:
            there = self.has_shard(name, position // self.shard_chips)
            wrong = "not what was written for it" if there else "missing from the disk"
            raise StoreError(
                f"{self.path}: {name} of chip {chip_id} is {wrong}; python -m augment_store verify "
                f"{self.path} --repair sets the chip back, and the generate command makes it again"
            )
        if array.schema.role is Role.GENERATED:
            self._prove(name, position, stamp)
        return values

    def series_index(self, chip_id: str, timestep: int) -> dict[str, int]:
        """Position of a complete chip's timestep in its file of each input modality, from 0.

        Raises:
            ChipNotFoundError: If the store does not know the chip.
            StoreError: If the store is damaged there.
        """
        taken = self.read("series_index", chip_id)[:, timestep].tolist()
        return dict(zip((entry.name for entry in self.spec.inputs), taken, strict=True))

    def to_xarray(self, chip_id: str) -> xr.Dataset:
        """A complete chip with coordinates, in units; see `augment_store.store.xarray_view.chip_dataset`."""
        from augment_store.store.xarray_view import chip_dataset  # xarray takes 0.5 s to import

        return chip_dataset(self, chip_id)

    def _is_proven(self, name: str, position: int, stamp: FileVersion) -> bool:
        """Whether the digest of a chip's values was compared since their file was last written."""
        shard, place = divmod(position, self.shard_chips)
        known, places = self._proven.get((name, shard), (None, 0))
        return known == stamp and bool(places >> place & 1)

    def _prove(self, name: str, position: int, stamp: FileVersion) -> None:
        shard, place = divmod(position, self.shard_chips)
        known, places = self._proven.get((name, shard), (None, 0))
        self._proven[name, shard] = stamp, (places if known == stamp else 0) | 1 << place

    def _is_own(self, name: str, chip_id: str, position: int, values: NDArray[Any]) -> bool:
        """Whether values are those written for a chip; never for a chip that is not complete.

        `state` and `error` have no digest, since they change without the others: they only have to exist.
        """
        if name not in self._digested:
            return self.has_shard(name, position // self.shard_chips)
        digests = self._array("output_digest").chip(position)
        written: bytes = digests[self._digested[name]].tobytes()
        return written == content_digest(self.fingerprint, chip_id, name, values)

    def has_shard(self, name: str, shard: int) -> bool:
        """Whether the object that holds a shard of an array is there; Zarr reads a missing one as fill values."""
        return self.has_object(name, shard * self.shard_chips)

    def has_object(self, name: str, position: int) -> bool:
        """Whether the object that holds a chip's part of an array is there."""
        array = self._array(name)
        return array.object(position // array.chips).is_file()

    def chips_in(self, state: State) -> tuple[str, ...]:
        """Ids of the chips in a state."""
        states = self.values("state", slice(0, len(self.chip_ids)))
        if not (states == state).any():
            return ()
        known = zip(self.chip_ids, (states == state).tolist(), strict=True)
        return tuple(chip_id for chip_id, found in known if chip_id and found)


def no_store_at(path: Path) -> str:
    """What to say, and advise, where a store was to be read and there is none."""
    remedy = (
        "check the bucket and the folder in the URL"
        if isinstance(path, RemotePath)
        else "make one with python -m generate --store"
    )
    return f"not an augment store (no zarr.json); {remedy}"


def for_zarr(path: Path, *, write: bool) -> Path | FsspecStore:
    """A store's place as Zarr takes it, which has file systems of its own for URLs."""
    if not isinstance(path, RemotePath):
        return path
    # not an option of every file system; a listing that is kept misses what other clients and processes write
    options = {"use_listings_cache": False} if write else None
    return _Listed.from_url(path.address, storage_options=options, read_only=not write)


class _Listed(FsspecStore):
    """Leaves out the object that stands for a folder, which Zarr would take for a folder in it, without end."""

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        async for name in super().list_dir(prefix):
            if name.strip("/"):
                yield name


def _group_attributes(path: Path) -> dict[str, Any]:
    """Attributes of the Zarr group at a path.

    Raises:
        StoreError: If its metadata are damaged.
    """
    try:
        group = load_json(read_file(path / "zarr.json") or b"")
        kind = group["zarr_format"], group["node_type"]
        attributes: dict[str, Any] = dict(group["attributes"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: zarr.json cannot be read ({error}); the store is damaged") from error
    if kind != (3, "group"):
        raise StoreError(f"{path}: zarr.json is of {kind}, expected a group of Zarr 3; the store is damaged")
    return attributes
