"""Repairing a store: what can be proven is restored, and the other chips are set back to be generated again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from augment_store.errors import StoreError
from augment_store.integrity.verify import Problem, sorted_chunks
from augment_store.store.chip_index import entry_chunks, rows
from augment_store.store.schema import Role
from augment_store.store.writer import AugmentStore


def repair_store(store: AugmentStore, problems: Iterable[Problem]) -> int:
    """Repairs what can be repaired, and sets the other chips with problems back to pending, to be generated again.

    Lost ids are restored from `sorted_id` where the entry's digest proves them. A lost scene or georeference costs no
    generated map: the generate command announces it again.

    Args:
        store: A store opened with ``r+``.
        problems: What `verify` found.

    Returns:
        Number of chips set back.
    """
    found = list(problems)
    columns = [problem for problem in found if problem.array]
    for problem in columns:
        if problem.array == "state":  # unreadable, and the fill value says pending
            store.clear_column(problem.array, problem.positions)
    announced = {schema.name for schema in store.schemas() if schema.role is Role.ENTRY}
    positions = {p for problem in found if problem.array not in announced for p in problem.positions}
    lost = sorted(p for problem in columns if problem.array == "chip_id" for p in problem.positions)
    restored = _provable_ids(store, lost)
    positions.update(set(lost).difference(restored))
    # before anything is cleared: killed in between, nothing cleared is said to be complete
    store.reset(sorted(positions))
    for problem in columns:
        if problem.array == "chip_id":
            store.write_ids(range(min(problem.positions), max(problem.positions) + 1), restored)
        else:
            store.clear_column(problem.array, problem.positions)
    store.remove_partial_writes()
    store.renew_ids()
    store.consolidate()
    return len(positions)


def _provable_ids(store: AugmentStore, positions: Sequence[int]) -> dict[int, str]:
    """Ids of chips by position, from the sorted ones, as far as the digests of the chips' entries prove them."""
    wanted: dict[int, str] = dict.fromkeys(positions, "")
    proven = {}
    try:
        for ids, places in sorted_chunks(store) if positions else ():
            wanted.update({place: i for i, place in zip(ids, places, strict=True) if place in wanted})
        for chunk in entry_chunks(store):
            if chunk.start in wanted:
                found = rows(store, chunk, [wanted[position] for position in chunk])
                proven.update({position: entry.chip_id for position, entry, intact in found if intact})
    except StoreError:
        return {}  # the columns that would prove them are damaged too
    return proven
