"""What a layout finds in a folder: files by modality, masks, splits, scenes, and whether a chip can be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layouts import SPLITS, read_split
from augment_store.errors import AugmentStoreError
from augment_store.utils.text import counted, sized

READ_CHIPS: Final = 5
"""Chips that are read, evenly spread over the sorted ids."""


@dataclass(frozen=True)
class Found:
    """One thing that was looked for.

    Attributes:
        subject: What was looked for.
        text: What is there.
        problem: Whether a run would fail because of it.
    """

    subject: str
    text: str
    problem: bool = False


def check_chips(chips: ChipSet) -> Iterator[Found]:
    """Looks at a chip set through its layout."""
    yield Found("chips", f"{len(chips.ids)} in {chips.folder}, such as {chips.ids[0]}")
    yield from _check_images(chips)
    yield from _check_masks(chips)
    for split in SPLITS:
        yield _check_split(chips, split)
    yield _check_scenes(chips)
    yield from _check_content(chips)


def _check_images(chips: ChipSet) -> Iterator[Found]:
    for name, image in chips.layout.images.items():
        ids = chips.ids_of(name)
        missing = sorted(set(chips.ids) - ids)
        if not ids:
            yield Found(name, f"none; looked for {' or '.join(image.files)}")
        elif missing:
            text = (
                f"{counted(len(ids), 'file')}; none for {counted(len(missing), 'chip')}, such as {missing[0]}"
            )
            yield Found(name, text, problem=name in chips.modalities)
        else:
            yield Found(name, counted(len(ids), "file"))


def _check_masks(chips: ChipSet) -> Iterator[Found]:
    if not chips.layout.mask:
        yield Found("masks", "the layout names none")
        return
    paths = (chips.mask_path(chip_id) for chip_id in chips.ids)
    there = sum(path is not None and path.is_file() for path in paths)
    yield Found("masks", f"{there:,} of {counted(len(chips.ids), 'chip')}; {' or '.join(chips.layout.mask)}")


def _check_split(chips: ChipSet, split: str) -> Found:
    path = chips.split_path(split)
    if path is None or not path.is_file():
        return Found(split, f"no file {path}" if path else "the layout names no file")
    try:
        ids = read_split(path, chips.layout)
    except AugmentStoreError as error:
        return Found(split, str(error), problem=True)
    unknown = sorted(set(ids) - set(chips.ids))
    if unknown:
        return Found(
            split,
            f"{path}: no file for {counted(len(unknown), 'chip')}, such as {unknown[0]!r}",
            problem=True,
        )
    return Found(split, f"{counted(len(ids), 'chip')} by {path}")


def _check_scenes(chips: ChipSet) -> Found:
    try:
        scenes = chips.scenes()
    except AugmentStoreError as error:
        return Found("scenes", str(error), problem=True)
    return Found("scenes", f"{len(set(scenes.values()))}; chip {chips.ids[0]} is from {scenes[chips.ids[0]]}")


def _check_content(chips: ChipSet) -> Iterator[Found]:
    """Reads a few chips, each with the modalities that it has."""
    picks = np.linspace(0, len(chips.ids) - 1, min(READ_CHIPS, len(chips.ids))).round().astype(int)
    good = []
    for chip_id in (chips.ids[pick] for pick in picks):
        try:
            chip = chips.read(chip_id, [name for name in chips.modalities if chips.has(chip_id, name)])
        except AugmentStoreError as error:
            yield Found("reading", str(error), problem=True)
        else:
            types = ", ".join(f"{name} {raster.dtype}" for name, raster in chip.rasters.items())
            good.append(f"{counted(chip.timesteps, 'timestep')} of {sized(chip.shape)}, {types}")
    yield from (Found("reading", text) for text in dict.fromkeys(good))
    yield _check_place(chips, [chips.ids[pick] for pick in picks])


def _check_place(chips: ChipSet, ids: Iterable[str]) -> Found:
    try:
        places = {chips.georeference(chip_id).crs_wkt.partition("[")[2].partition(",")[0] for chip_id in ids}
    except AugmentStoreError as error:
        return Found("place", str(error), problem=True)
    known = sorted(name.strip('"') for name in places if name)
    return Found("place", ", ".join(known) or "no georeference; maps cannot be overlaid on others")
