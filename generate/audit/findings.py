"""What the input audit reports: statistics of each band, and what its rules noticed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augment_store.modalities.definitions import Modality


@dataclass(frozen=True)
class BandStatistics:
    """One band over the sampled chips, in pretraining units.

    Attributes:
        modality: Modality name.
        band: Band name.
        minimum: Smallest valid value.
        median: Median.
        maximum: Largest valid value.
        mean: Mean.
        std: Standard deviation.
        shift: (mean − pretraining mean) / pretraining standard deviation.
        missing: Share of pixels that are NaN or no data.
    """

    modality: str
    band: str
    minimum: float
    median: float
    maximum: float
    mean: float
    std: float
    shift: float
    missing: float


@dataclass(frozen=True)
class Finding:
    """One thing the audit noticed.

    Attributes:
        level: ``stop`` or ``note``.
        rule: Short name of the rule, recorded in the store when it is accepted.
        modality: Modality it is about.
        message: What was found, what was expected, and the remedy.
    """

    level: str
    rule: str
    modality: str
    message: str


Pixels = NDArray[np.float32]
"""One modality over the sampled chips: ``[images, C, pixels]`` in pretraining units, NaN where missing."""


def band_statistics(modality: Modality, pixels: Pixels) -> list[BandStatistics]:
    """Return the statistics of each band over all sampled chips."""
    statistics = []
    for index, band in enumerate(modality.bands):
        values = pixels[:, index].ravel()
        # float64, for mean and deviation over millions of pixels
        valid = values[~np.isnan(values)].astype(np.float64)
        if valid.size == 0:
            # minimum, median, maximum, mean, deviation and shift
            numbers = (np.nan,) * 6
        else:
            shift = (valid.mean() - modality.mean[index]) / modality.std[index]
            numbers = (valid.min(), np.median(valid), valid.max(), valid.mean(), valid.std(), shift)
        missing = 1 - valid.size / values.size
        statistics.append(
            BandStatistics(modality.name, band, *(round(float(v), 4) for v in (*numbers, missing)))
        )
    return statistics
