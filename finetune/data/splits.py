"""Which chips are in which split, and that splits do not overlap."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layouts import SPLITS
from augment_store.errors import ChipSetError
from augment_store.utils.text import join_first, pluralize


@dataclass(frozen=True)
class SceneRule:
    """Rule for the scene of a chip, and whether a scene may be in two splits.

    Attributes:
        rule: Rule as `--scenes` takes it, or None for the chip set's own.
        allow_overlap: Whether a scene may be in two splits.
        store: Scenes of the chips of an augment store; empty without one.
    """

    rule: str | None = None
    allow_overlap: bool = False
    store: Mapping[str, str] = field(default_factory=dict)

    def scenes(self, chips: ChipSet, ids: Collection[str]) -> dict[str, str]:
        """Return the scene of each chip: the store's, or by the rule for chips that the store does not have.

        Raises:
            ChipSetError: If a chip gets none, or the store contradicts a given rule.
        """
        # with a rule, chips that the store knows too, to see whether both agree
        wanted = [chip_id for chip_id in ids if self.rule is not None or chip_id not in self.store]
        found = chips.scenes(self.rule, wanted)
        scenes = found | {chip_id: self.store[chip_id] for chip_id in ids if chip_id in self.store}
        moved = sorted(chip_id for chip_id in wanted if scenes[chip_id] != found[chip_id])
        if moved:
            raise ChipSetError(
                f"chip {moved[0]} is of scene {found[moved[0]]!r} by --scenes {self.rule}, of {scenes[moved[0]]!r} by "
                "the store; leave --scenes out to use the store's, or generate again with it"
            )
        return scenes


@dataclass(frozen=True)
class Splits:
    """Chips of each split.

    Attributes:
        ids: Chip ids by split, in the file's order.
        scenes: Scene of each chip.
        overlap: Scenes that are in two splits, if that was allowed.
    """

    ids: Mapping[str, tuple[str, ...]]
    scenes: Mapping[str, str]
    overlap: tuple[str, ...] = ()

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each split's sorted chip ids, in hexadecimal."""
        return {split: digest_of_ids(ids) for split, ids in self.ids.items()}


def digest_of_ids(ids: Iterable[str]) -> str:
    """Return the SHA-256 of sorted chip ids, in hexadecimal, by which a split is known in every record."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def read_splits(chips: ChipSet, files: Mapping[str, Path | None], rule: SceneRule) -> Splits:
    """Read the split files that exist and check that they do not overlap.

    Args:
        chips: The chip set; its own split files are used where none is named.
        files: Split file by split, None for the chip set's own.
        rule: How scenes are found.

    Raises:
        ChipSetError: If a named file is missing, a split is empty, a chip is in two splits, or a scene is and that is
            not allowed.
    """
    paths = {
        split: files.get(split) or chips.split_path(split) or chips.root / f"{split}.txt" for split in SPLITS
    }
    ids = {
        # a file that was named must be there, which reading tells; the chip set's own may be missing
        split: chips.read_split(path)
        for split, path in paths.items()
        if files.get(split) or path.exists()
    }
    scenes = rule.scenes(chips, {chip_id for members in ids.values() for chip_id in members})
    overlap: set[str] = set()
    for one, other in combinations(ids, 2):
        _check_chips(paths, one, other, set(ids[one]) & set(ids[other]))
        overlap |= {scenes[chip_id] for chip_id in ids[one]} & {scenes[chip_id] for chip_id in ids[other]}
    if overlap and not rule.allow_overlap:
        # a single scene means a rule that strips too much rather than an overlap
        if len(set(scenes.values())) == 1:
            raise ChipSetError(_one_scene(scenes))
        raise ChipSetError(
            f"{pluralize(len(overlap), 'scene')} in two splits ({join_first(sorted(overlap), 5)}), so that a "
            "test would see "
            "what was trained on; split by scene, or record it with --allow-scene-overlap"
        )
    return Splits(ids, scenes, tuple(sorted(overlap)))


def _one_scene(scenes: Mapping[str, str]) -> str:
    """Say what to do where the default rule takes the numbers of places, as in chip_102_104, for rows and columns."""
    first, scene = min(scenes), next(iter(scenes.values()))
    own = (
        f" such as '^{re.escape(scene)}_' for these,"
        if all(i.startswith(f"{scene}_") for i in scenes)
        else ""
    )
    return (
        f"the rule for scenes makes one scene, {scene!r}, of all {pluralize(len(scenes), 'chip')}, such as {first}; "
        "say which scene each chip is cut from with --scenes (a CSV file of chip and scene, or a regular expression "
        f"for what to strip from an id,{own} which makes each chip a scene), or go on with --allow-scene-overlap"
    )


def _check_chips(paths: Mapping[str, Path], one: str, other: str, shared: set[str]) -> None:
    if shared:
        raise ChipSetError(
            f"{pluralize(len(shared), 'chip')} in both {paths[one]} and {paths[other]} "
            f"({join_first(sorted(shared), 5)}); "
            "remove them from one"
        )


def require_split(splits: Splits, split: str, chips: ChipSet) -> tuple[str, ...]:
    """Return the chips of a split that a run needs.

    Raises:
        ChipSetError: If there is no such split file; the message says what a chip set holds besides images.
    """
    if split not in splits.ids:
        place, masks = chips.split_path(split), " or ".join(chips.layout.mask)
        file = place.relative_to(chips.root) if place else f"{split}.txt"
        raise ChipSetError(
            f"{chips.root}: no {split} split: expected {file} with a chip id a line, and "
            f"{f'masks as {masks}' if masks else f'masks, which layout {chips.layout.name!r} does not name'}; or "
            f"--data.init_args.{split}_split FILE"
        )
    return splits.ids[split]
