"""Are chips on disk those that a store was generated from? Every stage asks here, and gets one kind of error."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip import Chip
from augment_store.chips.chip_set import ChipSet
from augment_store.errors import ChipSetError
from augment_store.store.history import last_command
from augment_store.store.schema import ChipShape
from augment_store.store.writer import AugmentStore
from augment_store.utils.text import join_first, pluralize

NAMED_CHIPS: Final = 10
"""Most chips that a message names before it stops with an ellipsis."""


class Mismatch(enum.Enum):
    """Reason why a store has no maps for a chip as it is on disk."""

    PENDING = "not complete in the store"
    UNREADABLE = "missing on disk or unreadable"
    DAMAGED = "damaged in the store"
    EXTENT = "timesteps or size differ"
    INPUT = "content differs from what the store was generated from"


def generator_inputs(store: AugmentStore) -> tuple[str, ...]:
    """Return the modalities that the generator saw, which its input digests cover."""
    return tuple(entry.name for entry in store.spec.inputs)


def find_mismatch(store: AugmentStore, chip: Chip) -> Mismatch | None:
    """Compare a chip on disk with what a complete chip of a store was generated from; None where they agree.

    Args:
        store: The store.
        chip: Its raw `generator_inputs`.

    Raises:
        StoreError: If the chip's digests cannot be read.
    """
    return compare_digests(store, chip.chip_id, ChipShape.from_chip(chip), chip.digests())


def compare_digests(
    store: AugmentStore, chip_id: str, shape: ChipShape, digests: NDArray[np.uint8]
) -> Mismatch | None:
    """Compare as `find_mismatch` by the digests of a chip that was read before.

    Args:
        store: The store.
        chip_id: A chip that is complete there.
        shape: Its sizes on disk.
        digests: Digests of its `generator_inputs`, ``[T, 16]``.

    Raises:
        StoreError: If the chip's digests cannot be read.
    """
    if shape != store.extent:
        return Mismatch.EXTENT
    return None if np.array_equal(store.read(chip_id, "input_digest"), digests) else Mismatch.INPUT


def check_same(store: AugmentStore, chips: ChipSet, found: Mapping[str, Mismatch]) -> None:
    """Make sure that chips belong to a store.

    Args:
        store: The store.
        chips: The chip set.
        found: Chips that do not, by id.

    Raises:
        ChipSetError: Naming the chips, what differs and the remedy.
    """
    if not found:
        return
    listed = "; ".join(
        f"{_affected_chips(found, what)}: {what.value}{_sizes(store, chips, found, what)}"
        for what in Mismatch
        if what in found.values()
    )
    raise ChipSetError(f"{store.path}: {listed}. {_mismatch_remedy(store, chips, found)}")


def _affected_chips(found: Mapping[str, Mismatch], what: Mismatch) -> str:
    ids = [chip_id for chip_id, other in found.items() if other is what]
    return f"{pluralize(len(ids), 'chip')} ({join_first(ids, NAMED_CHIPS)})"


def _sizes(store: AugmentStore, chips: ChipSet, found: Mapping[str, Mismatch], what: Mismatch) -> str:
    """Return both extents, if they differ."""
    if what is not Mismatch.EXTENT:
        return ""
    first = next(chip_id for chip_id, other in found.items() if other is what)
    chip = chips.read(first, generator_inputs(store))
    return f", {ChipShape.from_chip(chip)} on disk, {store.extent} in the store"


def _mismatch_remedy(store: AugmentStore, chips: ChipSet, found: Mapping[str, Mismatch]) -> str:
    """Return the remedy; the command that made the store would be refused if the chips differ."""
    command = last_command(store.history) or ""
    # only where all chips have this reason: for a mixture, the advice would be half wrong
    if set(found.values()) == {Mismatch.PENDING}:
        return f"Generate them with: {command or 'the tim-generate command that made the store'}"
    if set(found.values()) == {Mismatch.DAMAGED}:
        return f"tim-store verify {store.path} --repair sets them back; then run: {command or 'generate'}"
    made_by = f" (this one was made by: {command})" if command else ""
    return (
        f"Restore the files under {chips.folder}, name the chip set the store was generated from, or generate these "
        f"chips into another --store{made_by}"
    )


def open_matching_chips(root: Path, layout: str | None, store: AugmentStore) -> ChipSet:
    """Open the chip set a store was generated from.

    Raises:
        ChipSetError: If the folder holds no chips, or none of the store's.
    """
    chips = ChipSet.open(root, layout)
    # one common id is enough: either side may hold more chips than the other
    if store.chip_ids.positions().keys().isdisjoint(chips.ids):
        raise ChipSetError(
            f"{root}: holds none of the store's chips (it has {chips.ids[0]!r} …, the store "
            f"{store.chip_ids[0]!r} …); give the chip set the store was generated from as --chips"
        )
    return chips


def check_inputs(store: AugmentStore, chips: ChipSet, chip_ids: Sequence[str]) -> None:
    """Make sure that chips have the content the store was generated from.

    Chips whose inputs are not all on disk are skipped.

    Raises:
        ChipSetError: If every chip that can be compared has another digest.
    """
    inputs = generator_inputs(store)
    # a digest is over all inputs, so with one missing there is nothing to compare
    present = [i for i in chip_ids if all(chips.has(i, name) for name in inputs)]
    found = {i: find_mismatch(store, chips.read(i, inputs)) for i in present}
    differing = {chip_id: what for chip_id, what in found.items() if what is not None}
    # some changed files are for `verify` to find; if all differ, it is another chip set
    if len(differing) == len(present):
        check_same(store, chips, differing)
