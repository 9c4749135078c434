"""Whether a store can be trusted: schema, completeness, readable chunks, legend range, input digests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment_store.chips import ChipSet
from augment_store.errors import AugmentStoreError, StoreError
from augment_store.modalities import LULC_LEGEND
from augment_store.schema import (
    NDVI_SCALE,
    ArraySchema,
    State,
    chip_arrays,
    map_arrays,
)
from augment_store.store import AugmentStore


class ChangedChipsError(StoreError):
    """Chips on disk are not those that a store's complete chips were generated from."""


def verify(store: AugmentStore, chip_set: ChipSet | None = None) -> Iterator[str]:
    """Yields a line per problem, the gravest kind first; nothing where the store is sound.

    Args:
        store: An open store.
        chip_set: Chips it should have been generated from; their input digests are compared too.
    """
    problems = list(_schema_problems(store))
    yield from problems
    if problems:
        return  # what follows reads arrays that must be as the schema says
    yield from _state_problems(store)
    for shard, positions in enumerate(store.shards()):
        yield from _shard_problems(store, shard, positions)
    if chip_set is not None:
        yield from _chip_set_problems(store, chip_set)


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


def _schema_problems(store: AugmentStore) -> Iterator[str]:
    attributes = store.attributes
    if attributes.get("fingerprint") != store.fingerprint:
        yield f"fingerprint {attributes.get('fingerprint')} is not the spec's {store.fingerprint}"
    total = len(store.chip_ids)
    for schema in (*chip_arrays(store.extent), *map_arrays(store.spec, store.extent)):
        try:
            array = store.array(schema.name)
        except StoreError as error:
            yield str(error)
            continue
        expected: dict[str, Any] = {"shape": (total, *schema.shape), "dimension_names": schema.dims}
        found = {"shape": array.shape, "dimension_names": array.metadata.dimension_names}  # type: ignore[union-attr]
        for what in expected:
            if found[what] != expected[what]:
                yield f"array {schema.name}: {what.replace('_', ' ')} {found[what]}, expected {expected[what]}"
        if schema.dtype != "str" and str(array.dtype) != schema.dtype:
            yield f"array {schema.name}: data type {array.dtype}, expected {schema.dtype}"
    if len(set(store.chip_ids)) < total:
        yield "chip ids stand twice in chip_id"


def _state_problems(store: AugmentStore) -> Iterator[str]:
    try:
        states, errors = store.values("state"), store.values("error")
    except StoreError as error:
        yield str(error)
        return
    for chip_id, state, reason in zip(store.chip_ids, states, errors, strict=True):
        if state == State.PENDING:
            yield f"chip {chip_id}: pending; run the generate command again"
        elif state == State.FAILED:
            yield f"chip {chip_id}: failed: {reason}"
        elif state != State.COMPLETE:
            yield f"chip {chip_id}: state {state} is none of {[int(s) for s in State]}"


def _shard_problems(store: AugmentStore, shard: int, positions: range) -> Iterator[str]:
    region = slice(positions.start, positions.stop)
    complete = np.flatnonzero(store.values("state", region) == State.COMPLETE)
    for schema in map_arrays(store.spec, store.extent):
        if complete.size and not store.has_shard(schema.name, shard):
            yield f"array {schema.name}: the shard of chips {positions.start} to {positions.stop - 1} is missing"
            continue
        for place in complete:
            chip_id = store.chip_ids[positions.start + int(place)]
            try:
                problem = _value_problem(schema, store.read(schema.name, chip_id))
            except StoreError as error:
                problem = str(error)
            if problem:
                yield f"chip {chip_id}: {problem}"
    yield from _source_problems(store, region, complete)


def _value_problem(schema: ArraySchema, values: NDArray[Any]) -> str:
    """What is wrong with one chip's values of an array, empty where nothing is."""
    if (values == schema.fill).all():
        return f"{schema.name} was never written"
    if schema.name == "lulc" and values.max() >= len(LULC_LEGEND):
        return f"lulc holds class {values.max()}, outside the legend 0 to {len(LULC_LEGEND) - 1}"
    if schema.name == "tokens" and (values == schema.fill).any():
        return "tokens are not all filled in"
    if schema.name == "ndvi" and max(-int(values.min()), int(values.max())) > 1 / NDVI_SCALE:
        return "ndvi holds values outside −1 to 1"
    return ""


def _source_problems(store: AugmentStore, region: slice, complete: NDArray[np.intp]) -> Iterator[str]:
    """A timestep may only stand for those with the same input digest."""
    digests, sources = store.values("input_digest", region), store.values("timestep_source", region)
    for place in complete:
        chip_id = store.chip_ids[region.start + int(place)]
        source = sources[place]
        if source.min() < 0 or source.max() >= store.extent.timesteps:
            yield f"chip {chip_id}: timestep_source {source.tolist()} is outside the {store.extent.timesteps} timesteps"
        elif not np.array_equal(digests[place], digests[place][source]):
            yield f"chip {chip_id}: timestep_source {source.tolist()} joins timesteps of different input"


def _chip_set_problems(store: AugmentStore, chip_set: ChipSet) -> Iterator[str]:
    for chip_id in sorted(set(chip_set.ids) - set(store.chip_ids)):
        yield f"chip {chip_id}: in {chip_set.folder} but not in the store"
    for chip_id in changed_chips(store, chip_set):
        yield f"chip {chip_id}: input on disk is missing, unreadable or differs from what was generated from"
