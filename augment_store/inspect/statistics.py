"""Numbers about one chip's generated maps, and what makes a chip look wrong."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.inspect.references import Reference
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.modalities.map_arrays import SHARE_SCALE
from augment_store.modalities.rendering import NO_CODE

ONE_CLASS_SHARE: Final = 0.99
"""A chip looks wrong if one class has this share of its pixels."""

LOW_CONFIDENCE: Final = 0.5
LOW_AGREEMENT: Final = 0.5

MEASURES: Final = {
    "confidence": "mean confidence",
    "token": "mean token probability",
    "entropy": "entropy of shares (bit)",
    "samples": "agreement between samples",
    "timesteps": "agreement between timesteps",
    "reference": "agreement with reference",
}
"""Measures with one number per chip, and their labels."""


@dataclass(frozen=True)
class ChipStatistics:
    """Numbers about one chip; NaN where a measure does not apply.

    Attributes:
        chip_id: Id of the chip.
        split: Name of its split, empty where not known.
        shares: ``[class]`` share of each class over samples, timesteps and pixels; sums to 1.
        measures: One number per key of `MEASURES`. Confidence, token probability and agreements are shares of 1;
            agreement is the mean over pairs (of samples, of timesteps with input of their own) of pixels that agree.
        mean_value: Mean of a continuous map (of its shown band) in its own unit.
        flags: What looks wrong, in words.
    """

    chip_id: str
    split: str
    shares: NDArray[np.float64]
    measures: dict[str, float]
    mean_value: float
    flags: tuple[str, ...]

    @property
    def doubt(self) -> tuple[int, float]:
        """Key to sort chips by: more flags first, then the larger mean lack of confidence and agreement."""
        names = ("confidence", "samples", "timesteps", "reference")
        # a measure that does not apply is NaN, and casts no doubt
        known = [1 - self.measures[name] for name in names if np.isfinite(self.measures[name])]
        return len(self.flags), float(np.mean(known)) if known else 0.0


@dataclass(frozen=True)
class ChipMaps:
    """What a store holds about one chip.

    Attributes:
        values: ``[sample, time, y, x]``, or ``[sample, time, band, y, x]``, as stored.
        token_probability: ``[sample, time, ty, tx]`` in 0..1; the mean over codebooks where there are several.
        confidence: ``[sample, time, y, x]`` in units of 1/255; None where the store has none.
        sources: ``[time]`` the timestep that each is a copy of.
    """

    values: NDArray[Any]
    token_probability: NDArray[np.float32]
    confidence: NDArray[np.uint8] | None
    sources: NDArray[np.int16]


def chip_measures(maps: ChipMaps, kind: GeneratedMap, reference: Reference | None) -> dict[str, float]:
    """Return every measure of `MEASURES` for one chip; NaN where it does not apply."""
    # copies of a timestep agree with it by construction
    distinct = np.unique(maps.sources)
    return {
        "confidence": np.nan if maps.confidence is None else float(maps.confidence.mean() * SHARE_SCALE),
        "token": float(maps.token_probability.mean()),
        "entropy": entropy(class_shares(maps.values, kind)),
        "samples": agreement(maps.values, kind),
        # [sample, time, …] → [time, sample, …], since pairs are of the first axis
        "timesteps": agreement(maps.values[:, distinct].swapaxes(0, 1), kind),
        "reference": np.nan if reference is None else reference.agreement(maps.values),
    }


def class_shares(values: NDArray[Any], kind: GeneratedMap) -> NDArray[np.float64]:
    """Return the share of each class ``[class]`` among the pixels that have a value; zeros where none has."""
    # the last count is of pixels without a value, which no share is of
    counts = np.bincount(kind.codes(values).ravel(), minlength=NO_CODE + 1)[: len(kind.legend)]
    # a chip without any value has zeros instead of a division by zero
    shares: NDArray[np.float64] = counts / max(int(counts.sum()), 1)
    return shares


def entropy(shares: NDArray[np.float64]) -> float:
    """Return the Shannon entropy of shares in bits: 0 for one class, log2(n) for n equal ones."""
    # 0 · log2(0) counts as 0, but NumPy has −inf and NaN there
    present = shares[shares > 0]
    return float(-(present * np.log2(present)).sum()) + 0.0  # turns -0.0 into 0.0


def agreement(values: NDArray[Any], kind: GeneratedMap) -> float:
    """Return the mean over pairs along the first axis of the share of pixels that agree; NaN for less than two."""
    pairs = [kind.same(one, other).mean() for one, other in itertools.combinations(values, 2)]
    return float(np.mean(pairs)) if pairs else np.nan


def find_flags(
    shares: NDArray[np.float64], measures: dict[str, float], kind: GeneratedMap
) -> tuple[str, ...]:
    """Return what looks wrong about a chip, in words."""
    flags = []
    # a continuous map of one value may be right: flat land has one height
    if kind.drawn_by_legend and shares.max() >= ONE_CLASS_SHARE:
        flags.append(f"only {kind.legend[int(shares.argmax())].name}")
    if shares.sum() == 0:
        flags.append("no value at all")
    # a measure that does not apply is NaN, and no comparison with NaN holds
    if measures["confidence"] < LOW_CONFIDENCE:
        flags.append("low confidence")
    if measures["samples"] < LOW_AGREEMENT:
        flags.append("samples disagree")
    if measures["timesteps"] < LOW_AGREEMENT:
        flags.append("timesteps disagree")
    if measures["reference"] < LOW_AGREEMENT:
        flags.append("differs from reference")
    return tuple(flags)
