"""The augment store: a Zarr group written shard by shard, read by chip."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import zarr
from numpy.typing import NDArray

from augment_store.arrays import WRITE_ALL_CHUNKS, create_array, damage_named
from augment_store.errors import ChipNotFoundError, SpecMismatchError, StoreError
from augment_store.files import check_name
from augment_store.header import Header
from augment_store.records import ChipEntry, ChipRecord, content_digest
from augment_store.schema import (
    SCHEMA_VERSION,
    ArraySchema,
    Extent,
    State,
    chip_arrays,
    digested_names,
    map_arrays,
)
from augment_store.spec import GenerationSpec

DEFAULT_SHARD_CHIPS: Final = 32
"""Chips per shard: a NYC chip's arrays are some 0.6 MB raw, so a shard stays far below memory."""

MOST_CHIPS: Final = 100_000_000
"""A store that declares more is taken for damaged."""


class AugmentStore:
    """An open augment store. Use `open` or `create`.

    A shard is the unit of writing: one call of `write_shard` writes every array of its chips, `state` last,
    so that a chip said to be complete is. Different processes may write different shards at once.
    """

    def __init__(self, path: Path, group: zarr.Group, *, lost_ids: bool = False) -> None:
        self.path = path
        self._group = group
        header = Header.read(group.attrs.asdict(), path)
        self.spec, self.extent, self.shard_chips = header.spec, header.extent, header.shard_chips
        self.fingerprint = self.spec.fingerprint
        self.audit = header.audit
        self._schemas = {schema.name: schema for schema in self.schemas()}
        self._digested = {name: place for place, name in enumerate(digested_names(self.spec, self.extent))}
        self._digests: dict[int, NDArray[Any]] = {}
        self.chip_ids = self._read_ids(lost_ids=lost_ids)
        self._index = {chip_id: index for index, chip_id in enumerate(self.chip_ids) if chip_id}

    # Opening -----------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: Path, mode: str = "r", *, lost_ids: bool = False) -> Self:
        """Opens an existing store.

        Args:
            path: Folder of the store.
            mode: ``r`` to read, ``r+`` to write shards.
            lost_ids: Whether chips whose id cannot be read are taken for nameless ones, so that `verify` can name
                and mend the damage; otherwise they are an error.

        Raises:
            StoreError: If there is none, or it is of another schema version or damaged, or a chip id is invalid.
        """
        if not (path / "zarr.json").is_file():
            raise StoreError(
                f"{path}: not an augment store (no zarr.json); make one with python -m generate --store"
            )
        try:
            group = zarr.open_group(
                path, mode="r+" if mode == "r+" else "r", zarr_format=3, use_consolidated=False
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StoreError(f"{path}: zarr.json cannot be read ({error}); the store is damaged") from error
        version = group.attrs.get("schema_version")
        if version is None:
            raise StoreError(f"{path}: a Zarr group, but not an augment store (no schema_version)")
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{path}: schema version {version}, expected {SCHEMA_VERSION}; generate into a new --store"
            )
        return cls(path, group, lost_ids=lost_ids)

    def _read_ids(self, *, lost_ids: bool) -> tuple[str, ...]:
        """Ids by position; a pending chip may have none, which the next `announce` fills."""
        total = self.array("state").shape[0]  # grown last: an interrupted `announce` leaves the others longer
        if total > MOST_CHIPS:
            raise StoreError(
                f"{self.path}: declares {total} chips, at most {MOST_CHIPS}; the store is damaged"
            )
        step = self.shard_chips
        ids: list[str] = []
        for start in range(0, total, step):
            region = slice(start, min(start + step, total))
            try:
                ids += map(str, self.values("chip_id", region))
            except StoreError:
                if not lost_ids:
                    raise self._lost(
                        f"chip_id of chips {region.start} to {region.stop - 1} is damaged"
                    ) from None
                ids += [""] * (region.stop - region.start)
        ids += [""] * (total - len(ids))  # of a column that was cut short
        for chip_id in filter(None, ids):
            check_name(f"{self.path}: chip id", chip_id)
        nameless = [position for position, chip_id in enumerate(ids) if not chip_id]
        if nameless and not lost_ids and (self.values("state")[nameless] != State.PENDING).any():
            raise self._lost(f"{len(nameless)} chips have no id, the first at position {nameless[0]}")
        return tuple(ids)

    def _lost(self, what: str) -> StoreError:
        return StoreError(
            f"{self.path}: {what}; python -m augment_store verify {self.path} --repair sets those chips back, and the "
            "generate command makes them again"
        )

    @classmethod
    def create(
        cls, path: Path, spec: GenerationSpec, extent: Extent, shard_chips: int = DEFAULT_SHARD_CHIPS
    ) -> Self:
        """Makes a store without chips; `extend` announces them.

        Raises:
            StoreError: If the folder exists and is not empty.
        """
        path = path.resolve()
        check_free(path)
        attributes = {
            "Conventions": "CF-1.11",
            "title": f"{spec.modality} generated by {spec.generator}",
            "schema_version": SCHEMA_VERSION,
            "fingerprint": spec.fingerprint,
            "spec": spec.to_dict(),
            "extent": {"timesteps": extent.timesteps, "size": extent.size},
            "shard_chips": shard_chips,
            "audit": [],
        }
        draft = path.with_name(f".{path.name}.draft")  # renamed when whole, so that no half-made store exists
        shutil.rmtree(draft, ignore_errors=True)
        group = zarr.create_group(draft, zarr_format=3, attributes=attributes)
        for schema in chip_arrays(spec, extent):
            create_array(group, schema, shard_chips, sharded=False)
        for schema in map_arrays(spec, extent):
            create_array(group, schema, shard_chips, sharded=True)
        draft.rename(path)
        return cls.open(path, mode="r+")

    def check_fits(self, spec: GenerationSpec, extent: Extent) -> None:
        """Makes sure that chips of this spec and extent may be added to the store.

        Raises:
            SpecMismatchError: If the store was made by another spec; the message names the fields.
            StoreError: If its chips have other timesteps or another size.
        """
        differences = self.spec.differences(spec)
        if differences:
            listed = "; ".join(differences)
            raise SpecMismatchError(
                f"{self.path}: made by another generation spec (store ≠ this run): {listed}. "
                "Repeat the store's settings, or choose another --store"
            )
        if self.extent != extent:
            raise StoreError(
                f"{self.path}: holds {self.extent}, the chips have {extent}; use another --store"
            )

    # Announcing chips --------------------------------------------------------------------------------

    def announce(self, entries: Sequence[ChipEntry]) -> None:
        """Makes chips known, as pending, in the order given; of those known already the entry is renewed.

        Interrupted anywhere, it leaves pending chips without an id, which readers pass over and the next call fills:
        `state` grows last and says how many chips there are, a chip's id is written last and says that it is there.
        """
        chip_ids = self._placed(dict.fromkeys(entry.chip_id for entry in entries))
        index = {chip_id: position for position, chip_id in enumerate(chip_ids) if chip_id}
        for schema in self.schemas():
            array = self.array(schema.name)
            if array.shape[0] != len(chip_ids):
                array.resize((len(chip_ids), *schema.shape))
        placed = [position for chip_id, position in index.items() if chip_id not in self._index]
        if (self.values("state")[placed] != State.PENDING).any():
            self.reset(placed)  # before they get a name: what is there was made for another chip
        for name, value in _ENTRY_COLUMNS.items():
            column = self.values(name)
            for entry in entries:
                column[index[entry.chip_id]] = value(entry)
            self.array(name)[...] = column
        self.consolidate()
        self.chip_ids, self._index = chip_ids, index

    def _placed(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Ids by position with those that are new: first where a chip has no id, then at the end."""
        new = iter([chip_id for chip_id in wanted if chip_id not in self._index])
        filled = [chip_id or next(new, "") for chip_id in self.chip_ids]
        return (*filled, *new)

    def record_audit(self, audit: list[dict[str, Any]]) -> None:
        """Keeps what an input audit found and the user accepted, beside what is there already."""
        self.audit = [*self.audit, *(finding for finding in audit if finding not in self.audit)]
        self._group.update_attributes({"audit": self.audit})
        self.consolidate()

    def consolidate(self) -> None:
        """Repeats all metadata in the group's own, where xarray looks for it first."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            zarr.consolidate_metadata(self.path, zarr_format=3)

    # Writing -----------------------------------------------------------------------------------------

    def shards(self) -> list[range]:
        """Chip positions of each shard."""
        total = len(self.chip_ids)
        return [
            range(start, min(start + self.shard_chips, total)) for start in range(0, total, self.shard_chips)
        ]

    def write_shard(self, shard: int, records: Sequence[ChipRecord]) -> None:
        """Writes records of chips of one shard and keeps its other chips as they are.

        Args:
            shard: Position in `shards`.
            records: Chips of that shard; complete ones must bring every array.

        Raises:
            StoreError: If a record is of another shard, or lacks an array, or has it in another shape.
            OSError: If the disk does not take it; the chips then stay as they were said to be.
        """
        positions = self.shards()[shard]
        placed = {self.index(record.chip_id) - positions.start: record for record in records}
        if any(not 0 <= place < len(positions) for place in placed):
            raise StoreError(f"{self.path}: shard {shard} holds the chips {positions}, not those given")
        region = slice(positions.start, positions.stop)
        states, errors = self.values("state", region), self.values("error", region)
        complete = {place: self._bound(record) for place, record in placed.items() if not record.error}
        if complete:
            for schema in self.schemas():
                if schema.name not in _ENTRY_COLUMNS and schema.name not in {"state", "error"}:
                    self._merge(schema, region, complete)
        for place, record in placed.items():
            states[place] = State.FAILED if record.error else State.COMPLETE
            errors[place] = record.error
        if complete:
            self._flush(
                shard
            )  # before state says so: a power cut must not leave a complete chip without its maps
        self.array("error")[region] = errors
        self.array("state")[region] = states

    def _bound(self, record: ChipRecord) -> ChipRecord:
        """A record with the digests that bind its arrays to its chip and to the store's spec."""
        rows = [
            content_digest(self.fingerprint, record.chip_id, name, record.arrays[name])
            for name in self._digested
            if name in record.arrays
        ]
        return ChipRecord(record.chip_id, {**record.arrays, "output_digest": np.array(rows)})

    def _flush(self, shard: int) -> None:
        """Has the operating system put a shard's objects on disk."""
        for schema in self.schemas():
            if schema.name not in {"state", "error"}:
                path = self._object(schema.name, shard)
                for place in (path, path.parent):
                    handle = os.open(place, os.O_RDONLY)
                    try:
                        os.fsync(handle)
                    finally:
                        os.close(handle)

    def _merge(self, schema: ArraySchema, region: slice, complete: Mapping[int, ChipRecord]) -> None:
        """Writes an array of a shard: the given chips anew, the other complete ones as they are."""
        values = np.full((region.stop - region.start, *schema.shape), schema.fill, schema.dtype)
        for place, record in complete.items():
            given = record.arrays.get(schema.name)
            if given is None or given.shape != schema.shape:
                found = "is missing" if given is None else f"has shape {given.shape}"
                raise StoreError(
                    f"chip {record.chip_id}: array {schema.name!r} {found}, expected {schema.shape}"
                )
            values[place] = given
        for kept in np.flatnonzero(self.values("state", region) == State.COMPLETE).tolist():
            if kept not in complete:
                values[kept] = self.read(schema.name, self.chip_ids[region.start + kept])
        self.array(schema.name)[region] = values

    def reset(self, positions: Iterable[int]) -> None:
        """Sets chips back to pending, so that they are generated again."""
        states = self.values("state")
        states[list(positions)] = State.PENDING
        self.array("state")[...] = states

    def clear_column(self, name: str, positions: Sequence[int]) -> None:
        """Overwrites a whole chunk of an array with few values per chip by fill values, without reading it."""
        array = self.array(name)
        array[min(positions) : max(positions) + 1] = array.fill_value

    # Reading -----------------------------------------------------------------------------------------

    @property
    def attributes(self) -> dict[str, Any]:
        """The group's attributes as they are on disk."""
        return self._group.attrs.asdict()

    def schemas(self) -> tuple[ArraySchema, ...]:
        """Every array that the store has, those with few values per chip last."""
        return (*map_arrays(self.spec, self.extent), *chip_arrays(self.spec, self.extent))

    @property
    def map_names(self) -> tuple[str, ...]:
        """Names of the arrays that hold tokens and maps."""
        return tuple(schema.name for schema in map_arrays(self.spec, self.extent))

    def array(self, name: str) -> zarr.Array[Any]:
        """The Zarr array of that name.

        Raises:
            StoreError: If the store has none, or one of another shape than its extent says.
        """
        metadata = self.path / name / "zarr.json"
        if metadata.exists() and not metadata.is_file():
            raise StoreError(f"{metadata}: not a regular file; the store is damaged")
        with damage_named(self.path, name):
            found = self._group.get(name)
        if not isinstance(found, zarr.Array):
            raise StoreError(f"{self.path}: no array {name!r} in this {self.spec.modality} store")
        if name in self._schemas and found.shape[1:] != self._schemas[name].shape:
            expected = self._schemas[name].shape
            raise StoreError(
                f"{self.path}: array {name}: shape {found.shape} by chip, expected {expected}; the store is damaged"
            )
        return found.with_config(WRITE_ALL_CHUNKS)

    def values(self, name: str, region: slice = slice(None)) -> NDArray[Any]:
        """An array, or the chips of it in `region`; meant for arrays with few values per chip or for shards.

        Raises:
            StoreError: If the store has none, or it is damaged.
        """
        first, last, _ = region.indices(self.array(name).shape[0])
        for shard in range(first // self.shard_chips, -(-last // self.shard_chips)):
            path = self._object(name, shard)
            if path.exists() and not path.is_file():  # reading a pipe would wait for ever
                raise StoreError(f"{path}: not a regular file; the store is damaged there")
        with damage_named(self.path, name):
            return np.asarray(self.array(name)[region])

    def index(self, chip_id: str) -> int:
        """Position of a chip.

        Raises:
            ChipNotFoundError: If the store does not know it.
        """
        if chip_id not in self._index:
            raise ChipNotFoundError(f"{self.path}: no chip {chip_id!r} among its {len(self.chip_ids)} chips")
        return self._index[chip_id]

    def read(self, name: str, chip_id: str) -> NDArray[Any]:
        """One chip's part of an array, without the chip dimension; its scene and place are in `augment_store.entries`.

        Raises:
            ValueError: If the array belongs to the chip's entry, which is checked as a whole.
            ChipNotFoundError: If the store does not know the chip.
            StoreError: If the store has no such array, or the chunk is missing, damaged, or not what was written for
                this chip by this spec.
        """
        if name in _ENTRY_COLUMNS:
            raise ValueError(f"{name} belongs to the entry of a chip; use augment_store.entries.read_entry")
        index = self.index(chip_id)
        if not self.has_shard(name, index // self.shard_chips):
            raise StoreError(
                f"{self.path}: {name} of chip {chip_id} is missing from the disk; python -m augment_store verify "
                f"{self.path} --repair sets the chip back, and the generate command makes it again"
            )
        with damage_named(self.path, f"{name} of chip {chip_id}"):
            values = np.asarray(self.array(name)[index])
            own = name not in self._digested or self._is_own(name, index, values)
        if not own:
            raise StoreError(
                f"{self.path}: {name} of chip {chip_id} is not what was written for it; python -m augment_store verify "
                f"{self.path} --repair sets the chip back, and the generate command makes it again"
            )
        return values

    def _is_own(self, name: str, index: int, values: NDArray[Any]) -> bool:
        """Whether values are those written for a chip; of a chip that is not complete none are."""
        found = content_digest(self.fingerprint, self.chip_ids[index], name, values)
        place = self._digested[name]
        # Anew, since the digests in memory may be from before the chip was written.
        return any(np.array_equal(self._digests_of(index, anew=anew)[place], found) for anew in (False, True))

    def _digests_of(self, index: int, *, anew: bool) -> NDArray[Any]:
        """Digests of a chip's arrays, kept in memory by shard."""
        shard, place = divmod(index, self.shard_chips)
        if anew or place >= len(self._digests.get(shard, ())):
            start = shard * self.shard_chips
            self._digests[shard] = self.values("output_digest", slice(start, start + self.shard_chips))
        row: NDArray[Any] = self._digests[shard][place]
        return row

    def has_shard(self, name: str, shard: int) -> bool:
        """Whether the object that holds a shard of an array is there; to Zarr a missing one is fill values."""
        return self._object(name, shard).is_file()

    def _object(self, name: str, shard: int) -> Path:
        array = self.array(name)
        return self.path / name / array.metadata.encode_chunk_key((shard, *[0] * (array.ndim - 1)))

    def chips_in(self, state: State) -> tuple[str, ...]:
        """Ids of the chips in a state."""
        states = self.values("state")
        known = zip(self.chip_ids, states, strict=True)
        return tuple(chip_id for chip_id, found in known if chip_id and found == state)


_ENTRY_COLUMNS: Final[Mapping[str, Callable[[ChipEntry], Any]]] = {
    "scene_id": lambda entry: entry.scene_id,
    "crs_wkt": lambda entry: entry.georeference.crs_wkt,
    "transform": lambda entry: entry.georeference.transform,
    "entry_digest": lambda entry: entry.digest(),
    "chip_id": lambda entry: entry.chip_id,  # last: a chip without an id is not there yet
}


def check_free(path: Path) -> None:
    """Makes sure that a store can be made at a path: nothing is there, or an empty folder.

    Raises:
        StoreError: If something is.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise StoreError(f"{path}: exists and is not an augment store; choose another --store")
