"""Whether a store can be trusted: schema, completeness, readable chunks, range of values, copies, input digests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment_store.arrays import metadata_problem
from augment_store.chips.chip_set import ChipSet
from augment_store.entries import changed_entries
from augment_store.errors import AugmentStoreError, StoreError
from augment_store.maps.arrays import MapArray
from augment_store.schema import State, chip_arrays
from augment_store.store import AugmentStore


class ChangedChipsError(StoreError):
    """Chips on disk are not those that a store's complete chips were generated from."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a store.

    Attributes:
        message: What, and where.
        positions: Chips to generate again to mend it; empty where that does not help.
        array: Column whose entries of these chips cannot be read, and are announced again too.
    """

    message: str
    positions: tuple[int, ...] = ()
    array: str = ""

    def __str__(self) -> str:
        return self.message


def verify(store: AugmentStore, chip_set: ChipSet | None = None) -> Iterator[Problem]:
    """Yields what is wrong with a store, the gravest kind first; nothing where it is sound.

    Args:
        store: An open store.
        chip_set: Chips it should have been generated from; their input digests are compared too.
    """
    problems = list(_schema_problems(store))
    yield from problems
    if problems:
        return  # what follows reads arrays that must be as the schema says
    yield from _consolidated_problems(store)
    damaged = False
    for shard, positions in enumerate(store.shards()):
        columns = list(_column_problems(store, shard, positions))
        yield from columns
        if columns:
            damaged = True
        else:
            yield from _shard_problems(store, shard, positions)
    if chip_set is not None and not damaged:
        yield from _chip_set_problems(store, chip_set)


def repair(store: AugmentStore, problems: Iterable[Problem]) -> int:
    """Sets the chips of problems back to pending, so that the generate command makes them again.

    Args:
        store: A store opened with ``r+``.
        problems: What `verify` found.

    Returns:
        Number of chips set back.
    """
    found = list(problems)
    positions = sorted({position for problem in found for position in problem.positions})
    columns = [problem for problem in found if problem.array]
    for problem in columns:
        if problem.array == "state":  # unreadable, and the fill value says pending
            store.clear_column(problem.array, problem.positions)
    store.reset(
        positions
    )  # before anything is cleared: killed in between, nothing cleared is said to be complete
    for problem in columns:
        store.clear_column(problem.array, problem.positions)
    for leftover in store.path.rglob("*.partial"):  # of writes that a crash cut short
        leftover.unlink()
    store.consolidate()
    return len(positions)


def check_unchanged(store: AugmentStore, chip_set: ChipSet) -> None:
    """Makes sure that the complete chips of a store are still what they were generated from.

    Raises:
        ChangedChipsError: Naming those that are not.
    """
    changed = changed_chips(store, chip_set)
    if changed:
        listed = ", ".join(changed[:5]) + (" …" if len(changed) > 5 else "")
        raise ChangedChipsError(
            f"{len(changed)} chips changed since they were generated: {listed}. "
            f"Restore the files under {chip_set.folder}, or generate into a new --store"
        )


def changed_chips(store: AugmentStore, chip_set: ChipSet) -> list[str]:
    """Chips of a chip set that are complete in the store but differ on disk from what was generated from."""
    chips = sorted(set(store.chips_in(State.COMPLETE)) & set(chip_set.ids))
    expected = store.values("input_digest")
    modalities = [entry.name for entry in store.spec.inputs]

    def is_changed(chip_id: str) -> bool:
        try:
            digests = chip_set.read(chip_id, modalities).digests()
        except AugmentStoreError:
            return True
        return not np.array_equal(digests, expected[store.index(chip_id)])

    with ThreadPoolExecutor() as pool:
        return list(itertools.compress(chips, pool.map(is_changed, chips)))


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
        shape = (len(store.chip_ids), *schema.shape)
        if array.shape != shape:
            yield Problem(f"array {schema.name}: shape {array.shape}, expected {shape}")
        wrong = metadata_problem(array, schema, store.shard_chips, sharded=schema.name in store.map_names)
        if wrong:
            yield Problem(f"array {schema.name}: {wrong}")
    known = [chip_id for chip_id in store.chip_ids if chip_id]
    if len(set(known)) < len(known):
        yield Problem("a chip id appears twice in chip_id")
    if not known:
        yield Problem("no chip was ever announced; run the generate command")


def _consolidated_problems(store: AugmentStore) -> Iterator[Problem]:
    """The group's copy of all metadata, which xarray reads first, must say what the arrays' own says."""
    try:
        group = json.loads((store.path / "zarr.json").read_text(encoding="utf-8"))
        consolidated = dict(group["consolidated_metadata"])
        copies = consolidated.pop("metadata")
        names = {schema.name for schema in store.schemas()}
        own = {
            name: json.loads((store.path / name / "zarr.json").read_text(encoding="utf-8")) for name in names
        }
        differing = sorted(name for name in {*copies, *own} if copies.get(name) != own.get(name))
        differing += ["its kind"] if consolidated != {"kind": "inline", "must_understand": False} else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        differing = [f"({type(error).__name__})"]
    if differing:
        yield Problem(
            f"consolidated metadata is missing or differs from the arrays' own: {', '.join(differing)}; "
            "verify --repair writes it anew"
        )


def _column_problems(store: AugmentStore, shard: int, positions: range) -> Iterator[Problem]:
    """Arrays with few values per chip: readable, and there for every chip of the shard."""
    where = f"of chips {positions.start} to {positions.stop - 1}"
    for schema in chip_arrays(store.spec, store.extent):
        try:
            store.values(schema.name, _slice(positions))
        except StoreError as error:
            yield Problem(str(error), tuple(positions), schema.name)
            continue
        announced = schema.name in {"chip_id", "scene_id", "crs_wkt", "transform", "entry_digest"}
        if not store.has_shard(schema.name, shard) and (announced or _is_written(store, positions)):
            yield Problem(f"array {schema.name}: the chunk {where} is missing", tuple(positions), schema.name)


def _is_written(store: AugmentStore, positions: range) -> bool:
    """Whether any chip of a shard is said to be complete or failed."""
    try:
        return bool((store.values("state", _slice(positions)) != State.PENDING).any())
    except StoreError:
        return False


def _shard_problems(store: AugmentStore, shard: int, positions: range) -> Iterator[Problem]:
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
            yield Problem(f"{name}: state {state} is none of {[int(s) for s in State]}", (position,))
    for array in store.spec.arrays:
        yield from _map_problems(store, array, shard, complete)
    yield from _source_problems(store, positions, complete)
    yield from _entry_problems(store, positions)


def _entry_problems(store: AugmentStore, positions: range) -> Iterator[Problem]:
    """Scene and georeference of a chip must be those it was announced with."""
    for position in changed_entries(store, positions):
        chip_id = store.chip_ids[position]
        yield Problem(
            f"chip {chip_id}: scene, coordinate reference system or transform is not what it was announced with",
            (position,),
        )


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
            values = store.read(array.name, chip_id)
            wrong = array.problem(values) or _copy_problem(array, values, _sources(store, position))
        except StoreError as error:
            wrong = str(error)
        if wrong:
            yield Problem(f"chip {chip_id}: {wrong}", (position,))


def _sources(store: AugmentStore, position: int) -> NDArray[np.int16]:
    sources: NDArray[np.int16] = store.values("timestep_source", slice(position, position + 1))[0]
    return sources


def _copy_problem(array: MapArray, values: NDArray[Any], sources: NDArray[np.int16]) -> str:
    """Which timestep is not the copy that `sources` says it is, empty where all are."""
    in_time = np.moveaxis(values, array.time_axis, 0)
    for timestep, source in enumerate(sources.tolist()):
        known = 0 <= source < len(in_time)  # of one that is not, `_source_problems` tells
        if known and not np.array_equal(in_time[timestep], in_time[source]):
            return f"{array.name} of timestep {timestep} is not a copy of timestep {source}, as timestep_source says"
    return ""


def _source_problems(store: AugmentStore, positions: range, complete: Sequence[int]) -> Iterator[Problem]:
    """A timestep may only stand for those with the same input digest."""
    columns = (store.values(name, _slice(positions)) for name in ("timestep_source", "input_digest"))
    rows = dict(zip(positions, zip(*columns, strict=True), strict=True))
    for position in complete:
        for name in ("timestep_source", "input_digest"):
            try:
                store.read(name, store.chip_ids[position])
            except StoreError as error:
                yield Problem(f"chip {store.chip_ids[position]}: {error}", (position,))
        source, digests = rows[position]
        shown = f"chip {store.chip_ids[position]}: timestep_source {source.tolist()}"
        if source.min() < 0 or source.max() >= store.extent.timesteps:
            yield Problem(f"{shown} is outside the {store.extent.timesteps} timesteps", (position,))
        elif not np.array_equal(digests, digests[source]):
            yield Problem(f"{shown} joins timesteps of different input", (position,))


def _chip_set_problems(store: AugmentStore, chip_set: ChipSet) -> Iterator[Problem]:
    for chip_id in sorted(set(chip_set.ids) - set(store.chip_ids)):
        yield Problem(f"chip {chip_id}: in {chip_set.folder} but not in the store")
    for chip_id in changed_chips(store, chip_set):
        yield Problem(
            f"chip {chip_id}: input on disk is missing, unreadable or differs from what was generated from"
        )


def _slice(positions: range) -> slice:
    return slice(positions.start, positions.stop)
