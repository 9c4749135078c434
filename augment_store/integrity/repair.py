"""Repairing a store: what can be proven is restored, and the other chips are set back to be generated again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from augment_store.errors import StoreError
from augment_store.integrity.verify import Problem
from augment_store.store.chip_index import entry_objects, rows
from augment_store.store.schema import Role
from augment_store.store.writer import AugmentStore


def repair_store(
    store: AugmentStore, problems: Iterable[Problem], scenes: Mapping[str, str] | None = None
) -> int:
    """Repair what can be repaired, and set the other chips with problems back to pending, to be generated again.

    A lost id is restored if one of `scenes` has the digest of the chip's entry. A lost scene or georeference costs no
    generated map: the generate command announces it again.

    Args:
        store: A store opened with ``r+``.
        problems: What `verify` found.
        scenes: Ids that lost ones may have been, with the scene of each.

    Returns:
        Number of chips set back.
    """
    # gone through more than once, while `verify_store` gives an iterator
    found = list(problems)
    columns = [problem for problem in found if problem.array]
    for problem in columns:
        if problem.array == "state":  # unreadable, and the fill value says pending
            store.clear_column(problem.array, problem.positions)
    # columns that announcing a chip writes anew, so no map is lost for their sake
    announced = {schema.name for schema in store.schemas() if schema.role in {Role.ENTRY, Role.ID}}
    positions = {p for problem in found if problem.array not in announced for p in problem.positions}
    # in the store's order, by which `_provable_ids` tries ids by their rank
    lost = sorted(p for problem in columns if problem.array == "chip_id" for p in problem.positions)
    restored = _provable_ids(store, lost, scenes or {}) if lost else {}
    # nobody can ask for the maps of a chip without an id, so they are made again
    positions.update(set(lost).difference(restored))
    # before anything is cleared: killed in between, nothing cleared is said to be complete
    store.reset(sorted(positions))
    for problem in columns:
        if problem.array == "chip_id":
            # the positions of such a problem are one whole object, so no other id is overwritten
            store.write_ids(range(min(problem.positions), max(problem.positions) + 1), restored)
        else:
            store.clear_column(problem.array, problem.positions)
    store.remove_partial_writes()
    store.renew_ids()
    # last, since it repeats what the arrays' own metadata says by now
    store.consolidate()
    return len(positions)


def _provable_ids(store: AugmentStore, positions: Sequence[int], scenes: Mapping[str, str]) -> dict[int, str]:
    """Return the ids of chips by position, as far as digests of their entries prove them.

    Chips are announced in their order in the chip set, so an id's rank among those that are missing is tried first,
    and then the other ids of the scene.
    """
    kept = {chip_id for chip_id in store.chip_ids if chip_id}
    missing = [chip_id for chip_id in scenes if chip_id not in kept]
    # not strict: chips that were never announced are missing as well
    ranked = dict(zip(positions, missing, strict=False))
    by_scene: dict[str, list[str]] = {}
    for chip_id in missing:
        by_scene.setdefault(scenes[chip_id], []).append(chip_id)
    lost, proven = set(positions), dict[int, str]()
    for chunk in entry_objects(store):
        wanted = lost.intersection(chunk)
        try:
            column = store.values("scene_id", slice(chunk.start, chunk.stop)) if wanted else ()
            # by position: the id of its rank, then those of the scene that the column still names
            candidates = {p: [ranked.get(p, ""), *by_scene.get(column[p - chunk.start], ())] for p in wanted}
            proven |= _prove(store, chunk, candidates)
        except StoreError:
            continue  # the columns that would prove them are damaged too
    return proven


def _prove(store: AugmentStore, chunk: range, candidates: Mapping[int, Sequence[str]]) -> dict[int, str]:
    """Return the first candidate of each position that its entry's digest proves; a round tries one of each."""
    proven: dict[int, str] = {}
    # default: a chunk that lost no id has no candidates at all
    for number in range(max(map(len, candidates.values()), default=0)):
        tried = {p: ids[number] for p, ids in candidates.items() if p not in proven and number < len(ids)}
        # `rows` skips a chip whose id is empty, and with it every position not tried
        found = rows(store, chunk, [tried.get(position, "") for position in chunk])
        proven |= {position: entry.chip_id for position, entry, intact in found if intact}
    return proven
