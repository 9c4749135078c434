"""The augment store: a Zarr group, announced to and written shard by shard, read by chip."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import zarr
from numpy.typing import NDArray

from augment_store.errors import StoreError
from augment_store.io.files import flush, printable
from augment_store.io.remote import RemotePath, as_path, translate_remote_errors
from augment_store.store.chip_index import ChipEntry, ChipIds, chunks
from augment_store.store.columns import for_zarr
from augment_store.store.creation import create_store
from augment_store.store.digests import content_digest
from augment_store.store.history import with_line
from augment_store.store.reader import StoreReader
from augment_store.store.schema import (
    ENTRY_CHIPS,
    ID_CHIPS,
    ArraySchema,
    ChipShape,
    Role,
    State,
)
from augment_store.store.spec import GenerationSpec
from augment_store.utils.text import pluralize

if TYPE_CHECKING:
    import xarray as xr

DEFAULT_SHARD_CHIPS: Final = 32
"""Chips per shard: a NYC chip's arrays are about 0.6 MB raw, so a shard stays far below memory."""


@dataclass(frozen=True)
class ChipRecord:
    """Result of generating one chip.

    Attributes:
        chip_id: Id of the chip.
        arrays: The store's arrays for it (map arrays, ``input_digest``, ``timestep_source``, ``series_index``),
            without the chip dimension; empty if it failed.
        error: Why it failed, empty if it is complete.
    """

    chip_id: str
    arrays: Mapping[str, NDArray[Any]]
    error: str = ""


class AugmentStore(StoreReader):
    """An open augment store. Use `open` or `create`.

    A shard is the unit of writing: one call of `write_shard` writes every array of its chips, `state` last,
    so that a chip said to be complete is. Different processes may write different shards at once; one process
    announces chips, while no other writes.
    """

    def __len__(self) -> int:
        """Return the number of chips, complete or not."""
        return len(self.chip_ids)

    def __repr__(self) -> str:
        made = f"{self.spec.modality} by {self.spec.generator}"
        return printable(
            f"<AugmentStore {self.path}: {made}, {pluralize(len(self), 'chip')} of {self.extent}>"
        )

    def _repr_html_(self) -> str:
        from augment_store.store.notebook_view import store_html  # it needs this class

        return store_html(self)

    @classmethod
    def create(
        cls, path: Path, spec: GenerationSpec, extent: ChipShape, shard_chips: int = DEFAULT_SHARD_CHIPS
    ) -> Self:
        """Make a store without chips; `announce` adds them.

        Raises:
            StoreError: If the folder exists and is not empty, or readers would refuse what is asked for.
            RemotePathError: If it is a URL that cannot be written to.
        """
        path = as_path(path).resolve()
        create_store(path, spec, extent, shard_chips)
        return cls.open(path, mode="r+")

    def check_fits(self, spec: GenerationSpec, extent: ChipShape) -> None:
        """Make sure that chips of this spec and extent may be added to the store.

        Raises:
            StoreError: If the store was made by another spec; the message names the fields.
            StoreError: If its chips have other timesteps or another size.
        """
        differences = self.spec.differences(spec)
        if differences:
            listed = "; ".join(differences)
            raise StoreError(
                f"{self.path}: made by another generation spec (store ≠ this run): {listed}. "
                "Repeat the store's settings, or choose another --store"
            )
        if self.extent != extent:
            raise StoreError(
                f"{self.path}: holds {self.extent}, the chips have {extent}; use another --store"
            )

    # Announcing chips --------------------------------------------------------------------------------

    def announce(self, entries: Sequence[ChipEntry]) -> None:
        """Add chips as pending, in the order given; for chips it already knows, it renews the entry.

        Interrupted anywhere, it leaves pending chips without an id, which readers skip and the next call fills:
        `state` grows last and says how many chips there are, a chip's id is written last and says that it is there.
        """
        known = self.chip_ids.positions()
        positions = self._assign_positions(entry.chip_id for entry in entries)
        # −1, so that no entries ask for no chips
        total = max(self.total, 1 + max(positions.values(), default=-1))
        self._grow(total)
        self._reset_new([position for chip_id, position in positions.items() if chip_id not in known])
        renewed = {positions[entry.chip_id]: entry for entry in entries}
        for ids in chunks(range(total), ID_CHIPS):
            self._write_entries(ids, renewed)
        self.consolidate()
        # after consolidating, which writes the group's metadata anew
        self._flush_metadata()
        self.renew_ids()

    def _assign_positions(self, wanted: Iterable[str]) -> dict[str, int]:
        """Return positions of ids; new ones first fill those of chips without an id, then follow at the end."""
        known, total = self.chip_ids.positions(), self.total
        # only an interrupted announcement leaves positions without an id, so they are seldom looked for
        nameless = (p for p, chip_id in enumerate(self.chip_ids) if not chip_id) if len(known) < total else ()
        free = itertools.chain(nameless, itertools.count(total))
        # `fromkeys`: an id that is given twice takes one position
        return {i: known[i] if i in known else next(free) for i in dict.fromkeys(wanted)}

    def _grow(self, total: int) -> None:
        """Make every array long enough, `state` last."""
        for schema in self.schemas():
            if self.length(schema.name) != total:
                with translate_remote_errors(self.path / schema.name, "written"):
                    self.array(schema.name).resize((total, *schema.shape))
        # both remember the length from before
        self._stored.clear()
        self._arrays.clear()

    def _reset_new(self, positions: Sequence[int]) -> None:
        """Set chips to pending before they get a name: what is there was made for another chip."""
        states = self.values("state")
        # what was never written reads as pending, so there is mostly nothing to write
        if (states[list(positions)] != State.PENDING).any():
            self.reset(positions)

    def _write_entries(self, ids: range, renewed: Mapping[int, ChipEntry]) -> None:
        """Write the entries of one object of ids, and then its ids: a chip without an id is not there yet."""
        written = []
        for positions in chunks(ids, ENTRY_CHIPS):
            entries = {position: renewed[position] for position in positions if position in renewed}
            # objects in which nothing is renewed are neither read nor written
            if entries:
                self._write_rows(positions, entries, _ENTRY_VALUES)
                written += [(name, positions.start) for name in _ENTRY_VALUES]
        if written:
            # a power cut must not leave an id without its entry, nor later maps without an id
            self._flush(written)
            self._write_rows(ids, renewed, {"chip_id": lambda entry: entry.chip_id})
            self._flush([("chip_id", ids.start)])

    def _write_rows(
        self,
        positions: range,
        entries: Mapping[int, ChipEntry],
        values: Mapping[str, Callable[[ChipEntry], Any]],
    ) -> None:
        """Write whole objects of columns: the given entries anew, the other chips as they are."""
        region = slice(positions.start, positions.stop)
        for name, value in values.items():
            column = self.values(name, region)
            for position in positions:
                if position in entries:
                    column[position - positions.start] = value(entries[position])
            self._write(name, region, column)

    def renew_ids(self) -> None:
        """Look at the number of chips and their ids on disk again."""
        self.total = self._count()
        self.chip_ids = ChipIds(self, lost_ids=self._lost_ids)

    def record_audit(self, audit: list[dict[str, Any]]) -> None:
        """Keep what an input audit found and the user accepted, beside what is there already."""
        new = [finding for finding in audit if finding not in self.audit]
        if new:
            self.audit = [*self.audit, *new]
            self._set_attribute("audit", json.dumps(self.audit))
        self.consolidate()  # even with nothing new: a kill may have come between the two

    def record_history(self, command: str) -> None:
        """Add the command of a run, and the time, to the store's history."""
        self.write_history(with_line(self.history, command))

    def write_history(self, history: str) -> None:
        """Replace the store's history."""
        self.history = history
        self._set_attribute("history", history)
        self.consolidate()

    def _set_attribute(self, name: str, value: str) -> None:
        with translate_remote_errors(self.path, "written"):
            self._group.update_attributes({name: value})

    def consolidate(self) -> None:
        """Repeat all metadata in the group's own, where xarray looks first."""
        with warnings.catch_warnings(), translate_remote_errors(self.path, "written"):
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            zarr.consolidate_metadata(for_zarr(self.path, write=True), zarr_format=3)

    # Writing -----------------------------------------------------------------------------------------

    def _write(self, name: str, region: slice, values: Any) -> None:
        """Write chips of an array; at a URL, what was read of them before is forgotten."""
        with translate_remote_errors(self.path / name, "written"):
            if name not in self._arrays:
                self._arrays[name] = self.array(name)
            self._arrays[name][region] = values
        self._array(name).forget(region.start, region.stop)

    def write_shard(self, shard: int, records: Sequence[ChipRecord]) -> None:
        """Write records of chips of one shard and keep its other chips as they are.

        Args:
            shard: Position in `shards`.
            records: Chips of that shard; complete ones must bring every array.

        Raises:
            StoreError: If a record is of another shard, or lacks an array, or has it in another shape.
            OSError: If the disk fails; the chips' states then stay as they were.
            RemotePathError: If the server fails; likewise.
        """
        positions = self.shard(shard)
        # by the chip's row in the shard
        by_row = {self.index(record.chip_id) - positions.start: record for record in records}
        if any(not 0 <= row < len(positions) for row in by_row):
            raise StoreError(f"{self.path}: shard {shard} holds the chips {positions}, not those given")
        region = slice(positions.start, positions.stop)
        states, errors = self.values("state", region), self.values("error", region)
        complete = {row: self._bound(record) for row, record in by_row.items() if not record.error}
        # failures alone change no map
        if complete:
            # complete chips that no record renews: their values are carried over
            kept = sorted(set(np.flatnonzero(states == State.COMPLETE).tolist()).difference(complete))
            for schema in self._written():
                self._merge(schema, region, complete, kept)
            # before `state`: a power cut must not leave a complete chip without its maps
            self._flush([(schema.name, positions.start) for schema in self._written()])
        for row, record in by_row.items():
            states[row] = State.FAILED if record.error else State.COMPLETE
            errors[row] = record.error
        self._write("error", region, errors)  # before `state`: a failed chip must never lack its reason
        self._write("state", region, states)

    def _written(self) -> list[ArraySchema]:
        """Return the arrays that a complete chip brings."""
        return [schema for schema in self.schemas() if schema.role in {Role.GENERATED, Role.RESULT}]

    def _bound(self, record: ChipRecord) -> ChipRecord:
        """Return a record with the digests that bind its arrays to its chip and to the store's spec."""
        # in the order of ``output_digest``; an array that is lacking is reported by `_merge`
        rows = [
            np.frombuffer(
                content_digest(self.fingerprint, record.chip_id, name, record.arrays[name]), np.uint8
            )
            for name in self._digested
            if name in record.arrays
        ]
        return ChipRecord(record.chip_id, {**record.arrays, "output_digest": np.array(rows)})

    def _flush(self, objects: Iterable[tuple[str, int]]) -> None:
        """Flush objects to disk, by array and chip position; at a URL, a server that has answered has them."""
        if isinstance(self.path, RemotePath):
            return
        for name, position in objects:
            array = self._array(name)
            path = array.object(position // array.chips)
            flush(path)
            # a new file's name is kept in its folder, and flushed with it
            flush(path.parent)

    def _flush_metadata(self) -> None:
        """Flush the group's and the arrays' metadata, and the names of the arrays' folders."""
        if not isinstance(self.path, RemotePath):
            for folder in (*(self.path / schema.name for schema in self.schemas()), self.path):
                flush(folder / "zarr.json")
                flush(folder)

    def _merge(
        self, schema: ArraySchema, region: slice, complete: Mapping[int, ChipRecord], kept: Sequence[int]
    ) -> None:
        """Write an array of a shard: the given chips anew, the other complete ones, `kept`, as they are."""
        values = np.full((region.stop - region.start, *schema.shape), schema.fill, schema.dtype)
        for row, record in complete.items():
            given = record.arrays.get(schema.name)
            if given is None or given.shape != schema.shape:
                found = "is missing" if given is None else f"has shape {given.shape}"
                raise StoreError(
                    f"chip {record.chip_id}: array {schema.name!r} {found}, expected {schema.shape}"
                )
            values[row] = given
        for row in kept:
            # `read` compares digests: damage must not be written again with a fresh checksum
            values[row] = self.read(self.chip_ids[region.start + row], schema.name)
        self._write(schema.name, region, values)

    def reset(self, positions: Iterable[int]) -> None:
        """Set chips back to pending, so that they are generated again."""
        chosen = np.fromiter(positions, np.int64)
        # one write for each shard that is concerned
        for shard in np.unique(chosen // self.shard_chips).tolist():
            # not `self.shard`, which does not know chips that are just being announced
            start = shard * self.shard_chips
            region = slice(start, min(start + self.shard_chips, self.length("state")))
            states = self.values("state", region)
            states[chosen[chosen // self.shard_chips == shard] - start] = State.PENDING
            self._write("state", region, states)

    def to_xarray(self, chip_id: str) -> xr.Dataset:
        """Return a complete chip with coordinates, in units; see `augment_store.store.xarray_view.chip_dataset`."""
        from augment_store.store.xarray_view import chip_dataset  # xarray takes 0.5 s to import

        return chip_dataset(self, chip_id)

    def write_ids(self, positions: range, ids: Mapping[int, str]) -> None:
        """Overwrite a whole object of ids, without reading it; a chip whose id is not given has none."""
        column = np.array([ids.get(position, "") for position in positions], object)
        self._write("chip_id", slice(positions.start, positions.stop), column)

    def clear_column(self, name: str, positions: Sequence[int]) -> None:
        """Overwrite a whole object of an array with few values per chip with fill values, without reading it."""
        self._write(name, slice(min(positions), max(positions) + 1), self.array(name).fill_value)

    def remove_partial_writes(self) -> None:
        """Delete what writes that a crash cut short left on disk; at a URL, there is none."""
        # zarr writes a file under such a name first, and then renames it
        for leftover in () if isinstance(self.path, RemotePath) else self.path.rglob("*.partial"):
            leftover.unlink()


_ENTRY_VALUES: Final[Mapping[str, Callable[[ChipEntry], Any]]] = {
    "scene_id": lambda entry: entry.scene_id,
    "crs_wkt": lambda entry: entry.georeference.crs_wkt,
    "transform": lambda entry: entry.georeference.transform,
    "entry_digest": lambda entry: np.frombuffer(entry.digest(), np.uint8),
}
