"""What a layout finds in a folder: files by modality, masks, splits, scenes, and whether a chip can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import difference
from augment_store.chips.header_check import header_problems
from augment_store.chips.layouts import SPLITS
from augment_store.chips.shared_ground import find_shared, is_comparable
from augment_store.errors import AugmentStoreError
from augment_store.modalities.definitions import IGNORED_LABEL, PATCH_SIZE
from augment_store.modalities.legend_table import LegendTable, legend_of_codes
from augment_store.utils.sampling import spread_evenly
from augment_store.utils.text import format_size, join_first, pluralize

READ_CHIPS: Final = 5
"""Chips that are read, evenly spread over the sorted ids."""


_NO_DATA: Final = 255
"""Label that masks of whole bytes often have where they have none."""


@dataclass(frozen=True)
class CheckResult:
    """One thing that was looked for.

    Attributes:
        subject: What was looked for.
        text: What is there.
        problem: Whether a run would fail because of it.
    """

    subject: str
    text: str
    problem: bool = False


def check_chips(chips: ChipSet) -> Iterator[CheckResult]:
    """Look at a chip set through its layout."""
    yield CheckResult("chips", f"{len(chips.ids)} in {chips.folder}, such as {chips.ids[0]}")
    yield from _check_images(chips)
    yield from _check_masks(chips)
    for split in SPLITS:
        yield _check_split(chips, split)
    yield _check_scenes(chips)
    shape = yield from _check_content(chips)
    yield from (CheckResult("headers", text, problem=True) for text in header_problems(chips))
    if shape is not None:
        yield from _check_overlap(chips, shape)


def _check_images(chips: ChipSet) -> Iterator[CheckResult]:
    for name, image in chips.layout.images.items():
        ids = chips.ids_of(name)
        missing = sorted(set(chips.ids) - ids)
        if not ids:
            yield CheckResult(name, f"none; looked for {' or '.join(image.files)}")
        elif missing:
            text = f"{pluralize(len(ids), 'file')}; none for {pluralize(len(missing), 'chip')}, such as {missing[0]}"
            yield CheckResult(name, text, problem=name in chips.modalities)
        else:
            yield CheckResult(name, pluralize(len(ids), "file"))


def _check_masks(chips: ChipSet) -> Iterator[CheckResult]:
    if not chips.layout.mask:
        yield CheckResult("masks", "the layout names none")
        return
    paths = ((chip_id, chips.mask_path(chip_id)) for chip_id in chips.ids)
    there = {chip_id for chip_id, path in paths if path is not None and path.is_file()}
    yield CheckResult(
        "masks", f"{len(there):,} of {pluralize(len(chips.ids), 'chip')}; {' or '.join(chips.layout.mask)}"
    )
    alien = sorted(chips.mask_ids - set(chips.ids))
    if alien and len(there) < len(chips.ids):
        text = f"{pluralize(len(alien), 'mask')} of no chip, such as that of {alien[0]!r}; chips are such as"
        yield CheckResult("masks", f"{text} {chips.ids[0]!r}, and both have one id", problem=True)
    try:
        listed = {chip_id: split for split, ids in chips.splits.items() for chip_id in ids}
    except AugmentStoreError:  # which the check of that split says
        return
    without = sorted(listed.keys() & set(chips.ids) - there)
    if there and without:
        text = f"none for {pluralize(len(without), 'chip')} of the splits ({join_first(without)}), at which a fine-tune"
        yield CheckResult("masks", f"{text} stops", problem=True)


def _check_split(chips: ChipSet, split: str) -> CheckResult:
    path = chips.split_path(split)
    if path is None or not path.exists():
        # without any split there are maps to make and nothing to train
        text = f"no file {path}" if path else "the layout names no file"
        partial = any(other is not None and other.exists() for other in map(chips.split_path, SPLITS))
        # a layout may name fewer splits on purpose
        stops = path is not None and partial and bool(chips.mask_ids)
        return CheckResult(split, f"{text}, at which a fine-tune stops" if stops else text, problem=stops)
    try:
        ids = chips.read_split(path)
    except AugmentStoreError as error:
        return CheckResult(split, str(error), problem=True)
    unknown = sorted(set(ids) - set(chips.ids))
    if unknown:
        return CheckResult(
            split,
            f"{path}: no file for {pluralize(len(unknown), 'chip')}, such as {unknown[0]!r}",
            problem=True,
        )
    return CheckResult(split, f"{pluralize(len(ids), 'chip')} by {path}")


def _check_scenes(chips: ChipSet) -> CheckResult:
    try:
        scenes = chips.scenes()
    except AugmentStoreError as error:
        return CheckResult("scenes", str(error), problem=True)
    count = len(set(scenes.values()))
    text = f"{count}; chip {chips.ids[0]} is from {scenes[chips.ids[0]]}"
    if 1 < count == len(chips.ids):
        text += "; as many as chips: if several are of one acquisition, the rule scenes is wrong"
    return CheckResult("scenes", text)


def _check_overlap(chips: ChipSet, shape: tuple[int, int]) -> Iterator[CheckResult]:
    """Look for what is in two splits, at which a fine-tune stops: chips, scenes, ground, files."""
    try:
        splits, scenes = chips.splits, chips.scenes()
    except AugmentStoreError:  # which the checks of splits and scenes have said
        return
    try:
        pairs = find_shared(chips, splits, shape) if len(splits) > 1 and is_comparable(chips) else []
    except AugmentStoreError as error:
        yield CheckResult("overlap", str(error), problem=True)
        return
    twice = _in_two(splits)
    by_scene = {
        name: [scenes[chip_id] for chip_id in ids if chip_id in scenes] for name, ids in splits.items()
    }
    named = [f"{one} and {other}" for one, other in pairs if one != other]
    for names, noun, what in (
        (twice, "chip", ""),
        (_in_two(by_scene), "scene", ""),
        (named, "pair", " of chips with the same ground or files"),
    ):
        if names:
            text = f"{pluralize(len(names), noun)}{what} in two splits ({join_first(names)}): a test would see what"
            yield CheckResult("overlap", f"{text} was trained on", problem=True)


def _in_two(splits: Mapping[str, Iterable[str]]) -> list[str]:
    return sorted({name for one, other in combinations(splits.values(), 2) for name in set(one) & set(other)})


def _check_content(chips: ChipSet) -> Generator[CheckResult, None, tuple[int, int] | None]:
    """Read a few chips, each with the modalities that it has; return the size of one, None if none can be read."""
    shape = None
    good: list[str] = []
    # a dict as an ordered set: each remark once, as first met
    declared: dict[str, None] = {}
    ids = spread_evenly(chips.ids, READ_CHIPS)
    for chip_id in ids:
        try:
            chip = chips.read(chip_id, [name for name in chips.modalities if chips.has(chip_id, name)])
        except AugmentStoreError as error:
            yield CheckResult("reading", str(error), problem=True)
        else:
            for name, notes in chip.notes.items():
                declared.update(dict.fromkeys(f"{name}: {note}" for note in notes))
            shape = chip.shape
            types = ", ".join(f"{name} {raster.dtype}" for name, raster in chip.rasters.items())
            good.append(f"{pluralize(chip.timesteps, 'timestep')} of {format_size(chip.shape)}, {types}")
    yield from (CheckResult("reading", text) for text in dict.fromkeys(good))
    yield from (CheckResult("declared", text) for text in declared)
    yield from _check_mask_content(chips, ids)
    yield _check_place(chips, ids)
    yield from (CheckResult("grid", text, problem=True) for text in grid_problems(chips, ids, shape))
    return shape


def _check_mask_content(chips: ChipSet, ids: Iterable[str]) -> Iterator[CheckResult]:
    """Read the masks of a few chips: the labels in them with their shares, and what their files declare."""
    counts: Counter[int] = Counter()
    notes: dict[str, None] = {}
    for chip_id in ids:
        path = chips.mask_path(chip_id)
        if path is None or not path.is_file():
            continue
        try:
            found = chips.read_mask(chip_id)
        except AugmentStoreError as error:
            yield CheckResult("mask", str(error), problem=True)
            continue
        notes.update(dict.fromkeys(found.notes))
        labels, numbers = np.unique(found.labels, return_counts=True)
        counts.update(dict(zip(labels.tolist(), numbers.tolist(), strict=True)))
    yield from (CheckResult("declared", f"MASK: {note}") for note in notes)
    if counts:
        yield from _describe_labels(chips, counts)


def _describe_labels(chips: ChipSet, counts: Counter[int]) -> Iterator[CheckResult]:
    """Say which labels masks have and how often, and which key is for those that are no classes."""
    legend = chips.layout.legend
    names = {entry.value: entry.name for entry in LegendTable.load(Path(legend)).classes} if legend else {}
    names[IGNORED_LABEL] = "ignored"
    total = counts.total()
    named = {label: f"{label} {names[label]}" if label in names else str(label) for label in sorted(counts)}
    shares = (f"{name} {counts[label] / total:.1%}" for label, name in named.items())
    yield CheckResult("labels", ", ".join(shares))
    found = counts.keys() - {IGNORED_LABEL}
    # labels in a row may be anybody's
    own = legend or chips.layout.labels or len(found) > max(found, default=0) - min(found, default=0)
    table = None if own else legend_of_codes(found)
    if table is not None:
        text = f"these are codes of {table.name}; in a layout file, legend: {table.name} makes labels of them"
        yield CheckResult("labels", f"{text}, or labels: {{{min(found)}: 0, …}} does")
    elif _NO_DATA in found:
        text = (
            f"{_NO_DATA} often marks pixels without a label; in a layout file, ignored_labels: [{_NO_DATA}]"
        )
        yield CheckResult("labels", f"{text} leaves them out")


def grid_problems(chips: ChipSet, ids: Iterable[str], shape: tuple[int, int] | None = None) -> Iterator[str]:
    """Compare where all files of a chip lie, its mask among them; yield a line for the first that differ.

    Files that do not say where they lie, and those that cannot be read, are left to other checks. Grids are compared
    over chips of `shape`, or where that is unknown over the smallest that there can be.
    """
    for chip_id in ids:
        try:
            places = list(chips.georeferences(chip_id))
        except AugmentStoreError:
            continue
        # nothing to compare where fewer than two files say where they lie
        for path, place in places[1:]:
            first_path, first = places[0]
            zipped = ".zip" in (path.suffix.lower(), first_path.suffix.lower())
            apart = difference(first, place, shape or (PATCH_SIZE, PATCH_SIZE), corners=zipped)
            if apart:
                yield (
                    f"chip {chip_id}: {path} is not on the grid of {first_path} ({apart}); a chip's files are joined "
                    "pixel by pixel, so warp or flip one of them"
                )
                return


def _check_place(chips: ChipSet, ids: Iterable[str]) -> CheckResult:
    try:
        # the system's name: WKT up to the first comma, as in PROJCS["WGS 84 / UTM zone 18N",
        places = {chips.georeference(chip_id).crs_wkt.partition("[")[2].partition(",")[0] for chip_id in ids}
    except AugmentStoreError as error:
        return CheckResult("place", str(error), problem=True)
    known = sorted(name.strip('"') for name in places if name)
    return CheckResult("place", ", ".join(known) or "no georeference; maps cannot be overlaid on others")
