"""Can a store be trusted? Schema, completeness, readable chunks, range of values, copies, input digests."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip_set import ChipSet
from augment_store.errors import AugmentStoreError, RemotePathError, StoreError
from augment_store.integrity.input_match import Mismatch, check_same, find_mismatch, generator_inputs
from augment_store.io.files import read_text
from augment_store.modalities.map_arrays import MapArray
from augment_store.store.arrays import metadata_problem
from augment_store.store.chip_index import entry_objects, id_objects, rows
from augment_store.store.chip_selection import draw_positions
from augment_store.store.schema import ArraySchema, Role, State, in_order
from augment_store.store.writer import AugmentStore
from augment_store.utils.validation import load_json

COMPARED_AT_ONCE: Final = 1024
"""Chips handed to the comparing threads at a time."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a store.

    Attributes:
        message: What, and where.
        positions: Chips to generate again to repair it, or to announce again where `array` belongs to their entries;
            empty where neither helps.
        array: Column whose values of these chips cannot be read.
    """

    message: str
    positions: tuple[int, ...] = ()
    array: str = ""

    def __str__(self) -> str:
        return self.message


def _ignore(_count: int) -> None:
    """Report no progress."""


def verify_store(
    store: AugmentStore,
    chip_set: ChipSet | None = None,
    *,
    random: int | None = None,
    seed: int = 0,
    on_checked: Callable[[int], object] = _ignore,
) -> Iterator[Problem]:
    """Yield what is wrong with a store, the most serious kind first; nothing if it is sound.

    Args:
        store: An open store.
        chip_set: Chips it should have been generated from; their input digests are compared too.
        random: Number of random chips whose maps and inputs are read; None for all. Everything else is
            checked for all chips.
        seed: Seed for random draws.
        on_checked: Called with the number of chips whose maps, or later whose inputs, have been looked at since.
    """
    problems = list(_schema_problems(store))
    yield from problems
    if problems:
        return  # what follows reads arrays that must be as the schema says
    yield from _consolidated_problems(store)
    total = store.total
    # ascending either way, as the binary search below needs it
    drawn = range(total) if random is None else draw_positions(np.arange(total), random, seed).tolist()
    ids = store.schema("chip_id")
    checked = ((objects, _unreadable(store, ids, objects, needed=True)) for objects in id_objects(store))
    # by the positions of chips whose ids cannot be read
    nameless = {objects: problem for objects, problem in checked if problem is not None}
    yield from nameless.values()
    damaged = bool(nameless)
    for positions in entry_objects(store):
        # the digest of an entry is over its id too, so without ids none can be checked
        found = list(_entry_problems(store, positions, named=not _any_overlap(positions, nameless)))
        yield from found
        # `array` is set if a column cannot be read; a wrong digest alone stops nothing
        damaged |= any(problem.array for problem in found)
    yield from () if nameless else _id_problems(store)
    for shard, positions in enumerate(store.shards()):
        found = list(_column_problems(store, shard, positions))
        yield from found
        damaged |= bool(found)
        looked = drawn[bisect_left(drawn, positions.start) : bisect_left(drawn, positions.stop)]
        # a shard with damaged columns is reported as a whole, not once more for each chip
        if not found and not _any_overlap(positions, nameless):
            yield from _shard_problems(store, shard, positions, looked)
        on_checked(len(looked))
    # the comparison reads ids, states and digests, which must all be there
    if chip_set is not None and not damaged:
        yield from _chip_set_problems(store, chip_set, drawn, on_checked)


def check_unchanged(store: AugmentStore, chip_set: ChipSet) -> None:
    """Make sure that the complete chips of a store are still what they were generated from.

    Raises:
        ChipSetError: Naming those that are not.
    """
    check_same(store, chip_set, changed_chips(store, chip_set))


def changed_chips(
    store: AugmentStore,
    chip_set: ChipSet,
    positions: Iterable[int] | None = None,
    on_checked: Callable[[int], object] = _ignore,
) -> dict[str, Mismatch]:
    """Find chips that are complete in the store but differ on disk from what it was generated from, and how.

    Args:
        store: The store.
        chip_set: The chips.
        positions: Chips of the store to look at; None for all.
        on_checked: Called with the number of chips compared since.
    """
    looked = range(len(store.chip_ids)) if positions is None else positions
    complete = store.values("state", slice(0, len(store.chip_ids))) == State.COMPLETE
    present = set(chip_set.ids)
    # by id, whatever the store's order, so that problems are easy to look up
    chips = sorted(store.chip_ids[p] for p in looked if complete[p] and store.chip_ids[p] in present)
    inputs = generator_inputs(store)

    def compare(chip_id: str) -> Mismatch | None:
        try:
            chip = chip_set.read(chip_id, inputs)
        except RemotePathError:
            raise  # a server that does not answer says nothing about a chip
        except AugmentStoreError:
            return Mismatch.UNREADABLE
        try:
            return find_mismatch(store, chip)
        except StoreError:
            return Mismatch.DAMAGED

    changed: dict[str, Mismatch] = {}
    # threads are enough: reading waits for files, and hashing releases Python's lock
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(chips), COMPARED_AT_ONCE):  # a million chips are not all queued at once
            lot = chips[start : start + COMPARED_AT_ONCE]
            for chip_id, what in zip(lot, pool.map(compare, lot), strict=True):
                on_checked(1)
                if what is not None:
                    changed[chip_id] = what
    return changed


def _schema_problems(store: AugmentStore) -> Iterator[Problem]:
    found = store.attributes.get("fingerprint")
    if found != store.fingerprint:
        yield Problem(f"fingerprint {found} is not the spec's {store.fingerprint}")
    for schema in store.schemas():
        try:
            array = store.array(schema.name)
        except StoreError as error:
            yield Problem(str(error))
            continue
        shape = (store.total, *schema.shape)
        if array.shape != shape:
            yield Problem(f"array {schema.name}: shape {array.shape}, expected {shape}")
        wrong = metadata_problem(array, schema, store.shard_chips)
        if wrong:
            yield Problem(f"array {schema.name}: {wrong}")
    if not store.chip_ids:
        yield Problem("no chip was ever announced; run the generate command")


def _consolidated_problems(store: AugmentStore) -> Iterator[Problem]:
    """Check that the group's copy of all metadata, which xarray reads first, says what the arrays' own says."""
    try:
        group = load_json(read_text(store.path / "zarr.json"))
        consolidated = dict(group["consolidated_metadata"])
        copies = consolidated.pop("metadata")
        names = {schema.name for schema in store.schemas()}
        own = {name: load_json(read_text(store.path / name / "zarr.json")) for name in names}
        # both ways: arrays that only the copy knows, and those that it lacks
        differing = sorted(name for name in {*copies, *own} if copies.get(name) != own.get(name))
        differing += ["its kind"] if consolidated != {"kind": "inline", "must_understand": False} else []
    # damaged JSON may be of any form, which using it finds out
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        differing = [f"({type(error).__name__})"]
    if differing:
        yield Problem(
            f"consolidated metadata is missing or differs from the arrays' own: {', '.join(differing)}; "
            "verify --repair rewrites it"
        )


def _entry_problems(store: AugmentStore, positions: range, *, named: bool) -> Iterator[Problem]:
    """Check that entries are readable, exist for every chip, and are what the chip was announced with."""
    damaged = not named  # without ids, there is nothing to compare with
    for schema in store.schemas():
        if schema.role is Role.ENTRY:
            found = _unreadable(store, schema, positions, needed=True)
            damaged |= found is not None
            yield from () if found is None else (found,)
    for _, entry, intact in () if damaged else rows(store, positions):
        if not intact:
            yield Problem(
                f"chip {entry.chip_id}: scene, coordinate reference system or transform is not what it was announced "
                "with; run the generate command again, which announces it again"
            )


def _id_problems(store: AugmentStore) -> Iterator[Problem]:
    """Check that ids appear once."""
    named = sum(1 for chip_id in store.chip_ids if chip_id)
    if len(store.chip_ids.positions()) < named:
        yield Problem("a chip id appears twice in chip_id")


def _column_problems(store: AugmentStore, shard: int, positions: range) -> Iterator[Problem]:
    """Check that columns of a shard's owner are readable, and exist where the shard's chips need them."""
    # a shard in which every chip failed has states and reasons, and no results
    needing = {Role.RESULT: {State.COMPLETE}, Role.STATUS: {State.COMPLETE, State.FAILED}}
    states = _states(store, positions)
    for schema in store.schemas():
        if schema.role in needing:
            found = _unreadable(store, schema, positions, needed=not states.isdisjoint(needing[schema.role]))
            yield from () if found is None else (found,)


def _unreadable(
    store: AugmentStore, schema: ArraySchema, positions: range, *, needed: bool
) -> Problem | None:
    """Find whether an object of a column is damaged, or missing although it is needed."""
    try:
        store.values(schema.name, _slice(positions))
    except StoreError as error:
        return Problem(str(error), tuple(positions), schema.name)
    where = f"of chips {positions.start} to {positions.stop - 1}"
    # Zarr reads a missing object as fill values without an error, so its file is looked for
    if needed and not store.has_object(schema.name, positions.start):
        return Problem(f"array {schema.name}: the chunk {where} is missing", tuple(positions), schema.name)
    return None


def _states(store: AugmentStore, positions: range) -> set[int]:
    """Return the states that a shard's chips have; none where `state` is damaged, which `_unreadable` reports."""
    try:
        return set(store.values("state", _slice(positions)).tolist())
    except StoreError:
        return set()


def _shard_problems(
    store: AugmentStore, shard: int, positions: range, looked: Sequence[int]
) -> Iterator[Problem]:
    states, errors = (store.values(name, _slice(positions)) for name in ("state", "error"))
    complete = []
    for position, state, reason in zip(positions, states, errors, strict=True):
        name = f"chip {store.chip_ids[position] or f'at position {position}, without an id'}"
        if state == State.COMPLETE:
            complete.append(position)
        elif state == State.PENDING:
            yield Problem(f"{name}: pending; run the generate command again")
        elif state == State.FAILED:
            yield Problem(f"{name}: failed: {reason}")
        else:
            yield Problem(
                f"{name}: state {state} is invalid; expected one of {[int(s) for s in State]}", (position,)
            )
    # states are checked for every chip, maps for those drawn
    complete = sorted({*complete} & {*looked})
    for array in store.spec.arrays:
        yield from _map_problems(store, array, shard, complete)
    yield from _source_problems(store, positions, complete)
    yield from _series_problems(store, positions, complete)


def _map_problems(
    store: AugmentStore, array: MapArray, shard: int, complete: Sequence[int]
) -> Iterator[Problem]:
    if complete and not store.has_shard(array.name, shard):
        chips = f"{complete[0]} to {complete[-1]}"
        yield Problem(f"array {array.name}: the shard of chips {chips} is missing", tuple(complete))
        return
    for position in complete:
        chip_id = store.chip_ids[position]
        try:
            values = store.read(chip_id, array.name)
            wrong = array.problem(values) or _copy_problem(array, values, _timestep_sources(store, position))
        except StoreError as error:
            wrong = str(error)
        if wrong:
            yield Problem(f"chip {chip_id}: {wrong}", (position,))


def _timestep_sources(store: AugmentStore, position: int) -> NDArray[np.int16]:
    sources: NDArray[np.int16] = store.values("timestep_source", slice(position, position + 1))[0]
    return sources


def _copy_problem(array: MapArray, values: NDArray[Any], sources: NDArray[np.int16]) -> str:
    """Name the timestep that is not the copy that `sources` says it is, empty if all are."""
    # [sample, time, …] → [time, sample, …]; without samples the time is first already
    in_time = np.moveaxis(values, array.time_axis, 0)
    for timestep, source in enumerate(sources.tolist()):
        known = 0 <= source < len(in_time)  # `_source_problems` reports the others
        if known and not np.array_equal(in_time[timestep], in_time[source]):
            return f"{array.name} of timestep {timestep} is not a copy of timestep {source}, as timestep_source says"
    return ""


def _source_problems(store: AugmentStore, positions: range, complete: Sequence[int]) -> Iterator[Problem]:
    """Check that a timestep only stands for those with the same input digest."""
    columns = (store.values(name, _slice(positions)) for name in ("timestep_source", "input_digest"))
    # by position: a chip's timestep_source and input_digest
    rows = dict(zip(positions, zip(*columns, strict=True), strict=True))
    for position in complete:
        # `read` compares with the digest, which `values` above does not
        for name in ("timestep_source", "input_digest", "series_index"):
            try:
                store.read(store.chip_ids[position], name)
            except StoreError as error:
                yield Problem(f"chip {store.chip_ids[position]}: {error}", (position,))
        source, digests = rows[position]
        shown = f"chip {store.chip_ids[position]}: timestep_source {source.tolist()}"
        if source.min() < 0 or source.max() >= store.extent.timesteps:
            yield Problem(f"{shown} is outside the {store.extent.timesteps} timesteps", (position,))
        # [time, …]: each timestep's digests against those of the timestep it is a copy of
        elif not np.array_equal(digests, digests[source]):
            yield Problem(f"{shown} joins timesteps of different input", (position,))


def _series_problems(store: AugmentStore, positions: range, complete: Sequence[int]) -> Iterator[Problem]:
    """Check that a series is taken in its order; a file of one timestep stands for each."""
    rows = dict(zip(positions, store.values("series_index", _slice(positions)), strict=True))
    for position in complete:
        # rows[position] is [input, time]
        for taken, row in zip(store.spec.inputs, rows[position], strict=True):
            if not in_order(row):
                yield Problem(
                    f"chip {store.chip_ids[position]}: series_index {row.tolist()} of {taken.name} is not in rising "
                    "order from 0 or more",
                    (position,),
                )


def _chip_set_problems(
    store: AugmentStore, chip_set: ChipSet, looked: Sequence[int], on_checked: Callable[[int], object]
) -> Iterator[Problem]:
    for chip_id in sorted(set(chip_set.ids).difference(store.chip_ids.positions())):
        yield Problem(f"chip {chip_id}: in {chip_set.folder} but not in the store")
    for chip_id, what in changed_chips(store, chip_set, looked, on_checked).items():
        yield Problem(f"chip {chip_id}: {what.value}")


def _any_overlap(first: range, others: Iterable[range]) -> bool:
    return any(first.start < other.stop and other.start < first.stop for other in others)


def _slice(positions: range) -> slice:
    return slice(positions.start, positions.stop)
