"""What a fine-tune has to know of a chip set: size, timesteps, inputs, labels, statistics, scenes, splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.labels import read_labels
from augment_store.chips.layouts import SPLITS
from augment_store.chips.scenes import SCENE_PATTERN, scenes_by_pattern
from augment_store.chips.tile_grid import assign_splits
from augment_store.chips.units import Units
from augment_store.modalities.definitions import INPUT_MODALITIES
from augment_store.modalities.values import native
from augment_store.utils.sampling import spread_evenly

READ_CHIPS: Final = 16
"""Chips whose values are read, evenly spread over the sorted ids."""

READ_MASKS: Final = 200
"""Masks that are read for their labels."""

SHARES: Final = (60, 15, 25)
"""Parts of the chips that train, val and test get."""


@dataclass(frozen=True)
class BandMoments:
    """Mean and standard deviation of one band where there are values, in pretraining units."""

    modality: str
    band: str
    mean: float
    std: float


@dataclass(frozen=True)
class ChipSurvey:
    """What a few chips are like.

    Attributes:
        read: Chips that were read.
        size: Height and width in pixels.
        timesteps: Timesteps of a chip.
        moments: Statistics of each band that has values.
        codes: Pixels of each label or code in the masks, as they are stored; −1 is ignored.
        masks: Masks that were read.
    """

    read: int
    size: tuple[int, int]
    timesteps: int
    moments: tuple[BandMoments, ...]
    codes: Mapping[int, int]
    masks: int


def measure_chips(chips: ChipSet, modalities: Sequence[str]) -> ChipSurvey:
    """Read a few chips and masks.

    Raises:
        AugmentStoreError: If one of them cannot be read.
    """
    picked = [chips.read(chip_id, modalities) for chip_id in spread_evenly(chips.ids, READ_CHIPS)]
    units = Units.of(chips.layout)
    moments: list[BandMoments] = []
    for name in modalities:
        modality = INPUT_MODALITIES[name]
        unit, offset = units.name(name), units.offset(name)
        # [T, C, H, W] of each chip → [C, values]
        values = [native(chip.rasters[name], modality, unit=unit, offset=offset) for chip in picked]
        columns = np.concatenate([v.swapaxes(0, 1).reshape(v.shape[1], -1) for v in values], axis=1)
        for band, column in zip(modality.bands, columns, strict=True):
            seen = column[np.isfinite(column)].astype(np.float64)
            if seen.size:
                moments.append(BandMoments(name, band, float(seen.mean()), float(seen.std())))
    codes, masks = _count_codes(chips)
    return ChipSurvey(len(picked), picked[0].shape, picked[0].timesteps, tuple(moments), codes, masks)


def _count_codes(chips: ChipSet) -> tuple[Counter[int], int]:
    """Return the pixels of each code in the masks, and how many masks were read."""
    paths = [
        path for chip_id in chips.ids if (path := chips.mask_path(chip_id)) is not None and path.is_file()
    ]
    counts: Counter[int] = Counter()
    read = spread_evenly(paths, READ_MASKS)
    for path in read:
        labels, numbers = np.unique(read_labels(path, chips.layout.mask_band).labels, return_counts=True)
        counts.update(dict(zip(labels.tolist(), numbers.tolist(), strict=True)))
    return counts, len(read)


def guess_scene_rule(ids: Sequence[str]) -> str | None:
    """Return what to strip from chip ids to get scenes, None for the default rule.

    A rule is taken if several chips share a scene and there are enough scenes for three splits; where none does,
    each chip is a scene of its own.
    """
    for rule in (SCENE_PATTERN, r"[_-]\d+$", r"[_-][A-Za-z]?\d+[_-][A-Za-z]?\d+$"):
        if len(SPLITS) <= len(set(scenes_by_pattern(ids, rule).values())) < len(ids):
            return None if rule == SCENE_PATTERN else rule
    return None


def draw_splits(ids: Collection[str], scenes: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    """Deal whole scenes out to train, val and test; empty if there are fewer scenes than splits."""
    by_scene: dict[str, list[str]] = {}
    for chip_id in sorted(ids):
        by_scene.setdefault(scenes[chip_id], []).append(chip_id)
    if len(by_scene) < len(SPLITS):
        return {}
    drawn = assign_splits(by_scene, SHARES, seed=0)
    for members in drawn.values():
        if not members:  # of few scenes the shares leave a split none
            most = max(drawn.values(), key=lambda own: len({scenes[chip_id] for chip_id in own}))
            moved = scenes[most[-1]]
            members += by_scene[moved]
            most[:] = [chip_id for chip_id in most if scenes[chip_id] != moved]
    return drawn
