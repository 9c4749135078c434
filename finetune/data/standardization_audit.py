"""Audit of standardized values: whether means and stds are those of the data, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augment_store.modalities.definitions import DEM, S1_MODALITIES, S2_MODALITIES
from finetune.data.normalization import PRESETS, Statistics
from finetune.errors import ConfigError

AUDITED_CHIPS: Final = 16
"""Training chips that are looked at, evenly spread."""

VANISHING_STD: Final = 0.01
"""Standardized optical bands that all vary less than this look constant to a network."""

ABSURD_MEAN: Final = 50.0
"""Distance from 0, in standard deviations, of a band that is in another unit than the statistics."""

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
        low: Smallest value on disk.
        high: Largest value on disk.
    """

    modality: str
    means: NDArray[np.float64]
    stds: NDArray[np.float64]
    low: float
    high: float


def standardized_levels(
    modality: str, images: Sequence[NDArray[np.float32]], statistics: Statistics
) -> Levels:
    """Measure the levels of a modality's bands.

    Args:
        modality: Its name.
        images: ``[C, ...]`` of each chip, raw, NaN where there is no data.
        statistics: Statistics of the bands in use.
    """
    # chips of one size, so that each band is one row
    rows = np.concatenate([image.reshape(len(image), -1) for image in images], axis=1).astype(np.float64)
    # bands without any data have no level
    seen = np.isfinite(rows).any(axis=1)
    if not seen.any():
        return Levels(modality, np.empty(0), np.empty(0), np.nan, np.nan)
    # [bands, 1], against rows of [bands, pixels]
    mean, std = (np.array(table[modality])[seen, None] for table in (statistics.means, statistics.stds))
    standard = (rows[seen] - mean) / std
    low, high = float(np.nanmin(rows[seen])), float(np.nanmax(rows[seen]))
    return Levels(modality, np.nanmean(standard, axis=1), np.nanstd(standard, axis=1), low, high)


def find_concern(levels: Levels, preset: str | None) -> str | None:
    """Return what is odd about standardized values, with the remedy; None if nothing is.

    Args:
        levels: Levels of a modality.
        preset: Name of the statistics in use, or None for a user's own numbers.

    Raises:
        ConfigError: If the values cannot be in the unit of the statistics.
    """
    means, stds = levels.means, levels.stds
    if not len(means) or not stds.any():  # without data, or constant on disk, which no statistics can change
        return None
    vanishing = levels.modality in S2_MODALITIES and bool((stds < VANISHING_STD).all())
    absurd = bool((np.abs(means) > ABSURD_MEAN).all())
    what = (
        f"{levels.modality}: after standardization by means and stds {preset or 'of the YAML'} its bands have means "
        f"of {means.min():.2g} to {means.max():.2g} and deviations of {stds.min():.2g} to {stds.max():.2g}, expected "
        f"about 0 and 1; on disk its values are {levels.low:.4g} to {levels.high:.4g}"
    )
    if vanishing or absurd:
        raise ConfigError(f"{what}. {_remedy(levels.modality)}")
    # flat ground is usual, so that only of images a small deviation is odd
    faint = levels.modality != DEM.name and float(np.median(stds)) < ODD_STD
    odd = faint or float(np.median(np.abs(means))) > ODD_MEAN
    return f"{what}. {_remedy(levels.modality)}, unless this is meant" if odd else None


def _remedy(modality: str) -> str:
    unit = ""
    if modality in S2_MODALITIES:
        unit = " (the presets are for reflectance × 10,000)"
    elif modality in S1_MODALITIES:
        unit = " (the presets are for dB)"
    return f"Give means and stds as numbers in the unit on disk{unit}, or the preset that fits: {', '.join(PRESETS)}"
