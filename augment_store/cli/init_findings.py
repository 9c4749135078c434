"""What `tim-store init` finds in a folder, and what a layout file has to say about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.chip_survey import ChipSurvey, draw_splits, guess_scene_rule, measure_chips
from augment_store.chips.label_guess import guess_labels
from augment_store.chips.layout_guess import guess_layout, split_lists
from augment_store.chips.layouts import (
    LAYOUT_FILES,
    SHIPPED,
    SPLITS,
    Layout,
    data_folder,
    find_layout,
    root_above,
    shipped_layout,
)
from augment_store.cli.init_text import DEMO_INPUTS
from augment_store.errors import ChipSetError
from augment_store.modalities.legend_table import LegendTable
from augment_store.utils.text import join_first, pluralize
from augment_store.utils.validation import load_yaml, parse


@dataclass
class Findings:
    """A layout as it is being found.

    Attributes:
        root: The folder.
        plain: Keys of the layout's file.
        notes: What was guessed.
        guessed: Whether no layout that ships says all of it.
    """

    root: Path
    plain: dict[str, Any]
    notes: list[str]
    guessed: bool

    def add(self, note: str, **keys: Any) -> None:
        """Add keys to the layout, and say why."""
        self.plain |= keys
        self.notes.append(note)
        self.guessed = self.guessed or bool(keys)

    @property
    def chips(self) -> ChipSet:
        """Open the chip set by the layout as it stands."""
        return ChipSet(self.root, parse(Layout, self.plain))


@dataclass(frozen=True)
class FoundSet:
    """What a fine-tune needs to know.

    Attributes:
        findings: The layout.
        inputs: Modalities to read.
        survey: What the chips are like.
        classes: Names of the classes by label; empty without masks.
        legend: Name of the shipped legend table of the masks' classes; empty if there is none.
        splits: Chips of each split.
        drawn: Whether the splits were drawn here, so that their lists have to be written.
        shared_scenes: Whether the chip set's own splits share scenes.
    """

    findings: Findings
    inputs: tuple[str, ...]
    survey: ChipSurvey
    classes: tuple[str, ...]
    legend: str
    splits: Mapping[str, Sequence[str]]
    drawn: bool
    shared_scenes: bool


def find_set_layout(root: Path, name: str) -> Findings:
    """Find the layout of a folder, or guess it.

    Raises:
        ChipSetError: If there is no folder, or its files say too little.
    """
    ships = any(data_folder(root, layout) is not None for layout in map(shipped_layout, SHIPPED))
    # what is no folder, or one inside a chip set, is for `find_layout` to refuse
    if not ships and root.is_dir() and root_above(root) is None:
        guess = guess_layout(root, name)
        return Findings(root, dict(guess.plain), list(guess.notes), guessed=True)
    shipped = find_layout(root)
    plain = load_yaml((LAYOUT_FILES / f"{shipped.name}.yaml").read_text(encoding="utf-8"))
    found = Findings(root, plain, [f"the layout {shipped.name}, which ships, finds the files"], guessed=False)
    if not masked_ids(found.chips):
        masks = guess_layout(root, name).plain.get("mask")
        # of use only if it finds masks of these chips
        if masks and masked_ids(ChipSet(root, parse(Layout, {**plain, "mask": masks}))):
            found.add(f"masks are {masks}", mask=masks)
    return found


def masked_ids(chips: ChipSet) -> list[str]:
    """Return the chips that have a mask."""
    paths = ((chip_id, chips.mask_path(chip_id)) for chip_id in chips.ids)
    return [chip_id for chip_id, path in paths if path is not None and path.is_file()]


def look_at_set(found: Findings, name: str) -> FoundSet:
    """Read a few chips and their masks, and complete the layout: labels, scenes, splits.

    Raises:
        AugmentStoreError: If a chip or mask cannot be read, or no modality is there for every chip.
    """
    chips = found.chips
    inputs = _whole_modalities(found, chips)
    survey = measure_chips(chips, inputs)
    classes, legend = _find_classes(found, chips, survey)
    rule = None if chips.layout.scenes else guess_scene_rule(chips.ids)
    if rule:
        found.add(f"scenes: {chips.ids[0]} without what {rule} matches", scenes=rule)
    splits, drawn = _find_splits(found)
    chips = found.chips
    scenes = chips.scenes()
    count = len(set(scenes.values()))
    found.notes.append(f"{pluralize(count, 'scene')}; chip {chips.ids[0]} is from {scenes[chips.ids[0]]}")
    if 1 < count == len(chips.ids):
        found.notes.append(
            "as many scenes as chips: if several are of one acquisition, correct scenes in the layout"
        )
    if found.guessed:
        found.plain["name"] = name
    members = [{scenes[i] for i in ids if i in scenes} for ids in splits.values()]
    shared = any(one & other for one, other in combinations(members, 2))
    return FoundSet(found, inputs, survey, classes, legend, splits, drawn, shared)


def _whole_modalities(found: Findings, chips: ChipSet) -> tuple[str, ...]:
    """Return the modalities that every chip has, those that the demo's TerraMind knows if it knows an image."""
    by_name = {name: len(chips.ids_of(name)) for name in chips.modalities}
    whole = tuple(name for name, count in by_name.items() if count == len(chips.ids))
    if not whole:
        listed = ", ".join(f"{name} {count}" for name, count in by_name.items() if count)
        raise ChipSetError(
            f"{found.root}: no modality is there for all {pluralize(len(chips.ids), 'chip')} ({listed}); chips have "
            "one name in every folder: rename the files, or move those without a partner away"
        )
    partial = [
        f"{name} ({count} of {len(chips.ids)})"
        for name, count in by_name.items()
        if 0 < count < len(chips.ids)
    ]
    if partial:
        found.notes.append(f"not there for every chip and left out: {', '.join(partial)}")
    known = tuple(name for name in whole if name in DEMO_INPUTS)
    if {"S2L2A", "S1RTC"} & set(known) and len(known) < len(whole):
        others = ", ".join(name for name in whole if name not in known)
        found.notes.append(
            f"the demo's TerraMind does not know {others}; the published one does: add it to both YAMLs"
        )
        return known
    if len(known) < len(whole):
        others = ", ".join(name for name in whole if name not in known)
        found.notes.append(
            f"the demo's TerraMind does not know {others}: the commands take a tiny one of random weights, whose maps "
            "mean nothing, to see every stage run"
        )
    return whole


def _find_classes(found: Findings, chips: ChipSet, survey: ChipSurvey) -> tuple[tuple[str, ...], str]:
    """Return the names of the classes, and the shipped legend table that has them."""
    layout = chips.layout
    if not survey.codes:
        return (), ""
    if not layout.legend and not layout.labels:
        guess = guess_labels(survey.codes)
        for note, keys in guess.notes:
            found.add(note, **keys)
        layout = found.chips.layout
        if not layout.legend:
            return guess.classes, ""
    elif not layout.legend:
        return tuple(f"class_{label}" for label in range(1 + max(layout.labels.values()))), ""
    table = LegendTable.load(Path(layout.legend))
    return tuple(entry.name for entry in table.classes), layout.legend


def _find_splits(found: Findings) -> tuple[Mapping[str, Sequence[str]], bool]:
    """Return the chips of each split: the chip set's own, or drawn by scene where it has none; and whether drawn."""
    chips = found.chips
    if not chips.splits and not chips.layout.by_folder:
        lists = split_lists(found.root, chips.ids)
        if lists:
            found.add(f"splits are {', '.join(lists.values())}", splits=lists)
            chips = found.chips
    if chips.splits or chips.layout.by_folder:
        return chips.splits, False
    drawn = draw_splits(masked_ids(chips), chips.scenes())
    if drawn:
        paths = {name: f"split/{name}.txt" for name in SPLITS}
        note = f"splits drawn by scene: {', '.join(f'{name} {len(ids)}' for name, ids in drawn.items())}"
        # where the layout looks for them already, it needs no new keys
        known = all(paths[name] in chips.layout.splits.get(name, ()) for name in SPLITS)
        found.add(note, **({} if known else {"splits": paths}))
    elif masked_ids(chips):
        few = join_first(sorted(set(chips.scenes().values())))
        found.notes.append(f"no splits: three need at least three scenes, and there are {few}")
    return drawn, bool(drawn)
