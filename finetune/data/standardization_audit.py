"""Audit of standardized values: whether means and stds are those of the data, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import albumentations as A  # noqa: N812 - the name everyone knows it by
import numpy as np
from lightning_utilities.core.rank_zero import rank_zero_only
from numpy.typing import NDArray

from augment_store.modalities.definitions import DEM, INPUT_MODALITIES, S1_MODALITIES, S2_MODALITIES
from augment_store.utils.sampling import spread_evenly
from finetune.data.dataset import ChipDataset
from finetune.data.normalization import PRESETS, Statistics
from finetune.data.transforms import Transforms, every_step, steps_of
from finetune.errors import ConfigError
from finetune.log_filters import notify

AUDITED_CHIPS: Final = 16
"""Chips of a split that are looked at, evenly spread."""

VANISHING_STD: Final = 0.01
"""Standardized optical bands that all vary less than this look constant to a network."""

ABSURD_MEAN: Final = 50.0
"""Distance from 0, in standard deviations, of a band that is in another unit than the statistics."""

OPTICAL_BANDS: Final = 3
"""Bands from which on an image of unknown name is taken for an optical one."""

# milder bounds, beyond which a note is written and nothing stops
ODD_STD: Final = 0.05
ODD_MEAN: Final = 3.0


@dataclass(frozen=True)
class Levels:
    """Levels of one modality's bands over some chips.

    Attributes:
        modality: Its name.
        means: Mean of each band that has data, after standardization.
        stds: Standard deviation of each, after standardization.
        low: Smallest value before standardization.
        high: Largest value before standardization.
    """

    modality: str
    means: NDArray[np.float64]
    stds: NDArray[np.float64]
    low: float
    high: float


def standardized_levels(
    modality: str, images: Sequence[NDArray[np.float32]], statistics: Statistics
) -> Levels:
    """Measure the levels of a modality's bands as our datamodule standardizes them.

    Args:
        modality: Its name.
        images: ``[C, ...]`` of each chip, raw, NaN where there is no data.
        statistics: Statistics of the bands in use.
    """
    tables = (np.array(table[modality], np.float32) for table in (statistics.means, statistics.stds))
    # [C] → [C, 1, …], against [C, …] of each image
    mean, std = (values.reshape(-1, *(1 for _ in images[0].shape[1:])) for values in tables)
    return measure_levels(modality, images, [(image - mean) / std for image in images])


def measure_levels(
    modality: str, images: Sequence[NDArray[np.floating]], standardized: Sequence[NDArray[np.floating]]
) -> Levels:
    """Measure the levels of a modality's bands.

    Args:
        modality: Its name.
        images: ``[C, ...]`` of each chip, raw, NaN where there is no data.
        standardized: Likewise, as the network gets them.
    """
    # band by band, since all of many chips would fill the memory: [pixels of all chips]
    bands = (
        np.concatenate([image[band].ravel() for image in standardized]).astype(np.float64)
        for band in range(len(standardized[0]))
    )
    # bands without any data have no level
    found = [(np.nanmean(band), np.nanstd(band)) for band in bands if np.isfinite(band).any()]
    means, stds = np.array(found, np.float64).reshape(-1, 2).T
    known = [image for image in images if np.isfinite(image).any()]
    low = min((float(np.nanmin(image)) for image in known), default=np.nan)
    high = max((float(np.nanmax(image)) for image in known), default=np.nan)
    return Levels(modality, means, stds, low, high)


def find_concern(levels: Levels, standardized_by: str, remedy: str) -> str | None:
    """Return what is odd about standardized values, with the remedy; None if nothing is.

    Args:
        levels: Levels of a modality.
        standardized_by: What standardized them, for the message.
        remedy: What to do where the values are not in the unit of the statistics.

    Raises:
        ConfigError: If the values cannot be in the unit of the statistics.
    """
    means, stds = levels.means, levels.stds
    if not len(means) or not stds.any():  # without data, or constant on disk, which no statistics can change
        return None
    vanishing = _is_optical(levels) and bool((stds < VANISHING_STD).all())
    absurd = bool((np.abs(means) > ABSURD_MEAN).all())
    what = (
        f"{levels.modality}: after standardization by {standardized_by} its bands have means "
        f"of {means.min():.2g} to {means.max():.2g} and deviations of {stds.min():.2g} to {stds.max():.2g}, expected "
        f"about 0 and 1; before, its values are {levels.low:.4g} to {levels.high:.4g}"
    )
    if vanishing or absurd:
        raise ConfigError(f"{what}. {remedy}")
    # flat ground is usual, so that only of images a small deviation is odd
    faint = levels.modality != DEM.name and float(np.median(stds)) < ODD_STD
    odd = faint or float(np.median(np.abs(means))) > ODD_MEAN
    return f"{what}. {remedy}, unless this is meant" if odd else None


def say_concern(levels: Levels, standardized_by: str, remedy: str) -> None:
    """Note what is odd about standardized values, and stop at absurd ones; see `find_concern`."""
    concern = find_concern(levels, standardized_by, remedy)
    if concern is not None:
        # every process audits, so that all of them stop on absurd values; one speaks
        rank_zero_only(notify)(concern)


def _is_optical(levels: Levels) -> bool:
    # another datamodule has names of its own, and no map of heights or radar has so many bands
    return levels.modality in S2_MODALITIES or (
        levels.modality not in INPUT_MODALITIES and len(levels.stds) >= OPTICAL_BANDS
    )


def audit_split(split: str, dataset: ChipDataset, transforms: Transforms, statistics: Statistics) -> None:
    """Look at the values that the network will get from some chips of a split, behind its transforms.

    Args:
        split: Its name.
        dataset: Its chips.
        transforms: Its Albumentations transforms, or None.
        statistics: Means and standard deviations of the bands in use.

    Raises:
        ConfigError: If they are absurd, or standardized twice.
    """
    # TerraTorch's own only change the order, and what they do to bands is checked by shape
    changing = [
        step
        for step in every_step(steps_of(transforms))
        if isinstance(step, A.ImageOnlyTransform) and not type(step).__module__.startswith("terratorch.")
    ]
    named = [type(step).__name__ for step in changing]
    given = f"means and stds {statistics.preset or 'of the YAML'}"
    # means of 0 and stds of 1 leave it to the transform
    neutral = all(
        {*statistics.means[name], *statistics.stds[name]} == {0.0, 1.0} for name in statistics.means
    )
    if any(map(_centers, changing)) and not neutral:
        raise ConfigError(
            f"{split}_transform Normalize standardizes what {given} standardize again; leave it out"
        )
    chips = [
        dataset.read_behind_transforms(position)
        for position in spread_evenly(range(len(dataset)), AUDITED_CHIPS)
    ]
    empty = [name for name in statistics.means if not any(np.isfinite(chip[name]).any() for chip in chips)]
    if empty:
        told = f"{split} split: no chip that was looked at ({len(chips)}) has a value of {' or '.join(empty)}"
        if len(empty) == len(statistics.means):
            raise ConfigError(f"{told}, so the network would see nothing; check files and no_data_value")
        if split == "train":
            rank_zero_only(notify)(told)
    before = f"{split}_transform {' '.join(named)} and " if named else ""
    for name in statistics.means:
        found = standardized_levels(name, [chip[name] for chip in chips], statistics)
        remedy = f"Leave {' and '.join(named)} out, or look at the unit: {remedy_of(name)}"
        # what training and validation share is said once
        audit = say_concern if split == "train" or named else find_concern
        audit(found, f"{before}{given}", remedy if named else remedy_of(name))


def _centers(step: A.ImageOnlyTransform) -> bool:
    # one with a mean of 0 only scales, and whether means and stds are of its unit the values tell
    return isinstance(step, A.Normalize) and (step.normalization != "standard" or bool(np.any(step.mean)))


def remedy_of(modality: str) -> str:
    """Return what to do where our datamodule's statistics are not in a modality's unit on disk."""
    unit = ""
    if modality in S2_MODALITIES:
        unit = " (the presets are for reflectance × 10,000)"
    elif modality in S1_MODALITIES:
        unit = " (the presets are for dB)"
    return f"Give means and stds as numbers in the unit on disk{unit}, or the preset that fits: {', '.join(PRESETS)}"
