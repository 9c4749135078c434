"""When does it help? What a gain goes with, chip by chip and scene by scene, and whether a rule of it would hold.

A slope is that of the gain in mIoU on a covariate, in shares per standard deviation of it. Chips of a scene are one
unit, so its interval comes from leaving out one scene at a time, and from the spread between seeds, by the same
Student's t as the difference itself. Slopes are looked at together: Holm over all of them. A rule is said only if the
best of them passes, and if it holds in scenes on which it was not made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.compare.inference import (
    SCENES,
    ClassEstimate,
    Estimate,
    VarianceComponent,
    adjust_by_holm,
    estimate,
    shared_training,
)

MIN_SCENES: Final = 6
"""Scenes without which no slope is told: of fewer, one decides."""

LEAST_SPREAD: Final = 1e-9
"""Below this a covariate does not vary: that is what rounding leaves."""

CHIP: Final = "chip"
SCENE: Final = "scene"

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Gains:
    """Gains of the same units under every seed.

    Attributes:
        values: Gain in mIoU ``[seed, unit]`` as shares.
        scenes: Scene of each unit, as a number from 0 on.
        folds: Number of folds of a cross-validation, 0 for one test split.
    """

    values: Values
    scenes: NDArray[np.int64]
    folds: int = 0


@dataclass(frozen=True)
class Rule:
    """Where to use the map, by one covariate.

    Attributes:
        covariate: Its name.
        above: Whether it is used where the covariate is at least the threshold, or at most.
        threshold: That value.
        share: Share of the chips where it is used.
        advantage: What the rule gains, in scenes left out when it was made, over the better of always and never.
    """

    covariate: str
    above: bool
    threshold: float
    share: float
    advantage: Estimate


def find_slopes(
    gains: Mapping[str, Gains], covariates: Mapping[str, Mapping[str, Values]]
) -> dict[tuple[str, str], ClassEstimate]:
    """Estimate every slope, with its p-value after Holm over all of them.

    Args:
        gains: By level, `CHIP` or `SCENE`.
        covariates: ``[seed, unit]`` or ``[1, unit]``, by level and name; one that does not vary is left out.
    """
    found = {
        (level, name): slope_of(gains[level], values)
        for level, named in covariates.items()
        for name, values in named.items()
        if values.mean(axis=0).std() > LEAST_SPREAD
    }
    adjusted = adjust_by_holm({f"{level} {name}": entry for (level, name), entry in found.items()})
    return dict(zip(found, adjusted.values(), strict=True))


def slope_of(gains: Gains, covariate: Values) -> Estimate:
    """Estimate the slope of the gain on one covariate ``[seed, unit]``, per standard deviation of it."""
    spread = covariate.mean(axis=0).std()
    x, y = np.broadcast_to(covariate, gains.values.shape) / spread, gains.values
    units = np.stack([np.ones_like(x), x, y, x * x, x * y])
    # sums [moment, seed, scene], from which those without a scene follow by subtraction
    scenes = int(gains.scenes.max()) + 1
    sums = np.stack([units[..., gains.scenes == scene].sum(axis=-1) for scene in range(scenes)], axis=-1)
    total = sums.sum(axis=-1)
    each = _slopes(total)
    without = _slopes(total[..., None] - sums).mean(axis=0)
    # the delete-one jackknife, as for a difference; one unit fewer, as a slope takes the place of a mean beside it
    of_scenes = without.var() * (scenes - 1) * shared_training(gains.folds)
    parts = [VarianceComponent(SCENES, scenes - 1, float(of_scenes))]
    if len(each) > 1:
        parts.append(VarianceComponent("seeds", len(each), float(each.var(ddof=1) / len(each))))
    return estimate(float(each.mean()), tuple(parts))


def _slopes(sums: Values) -> Values:
    """Return each seed's part of the slope of least squares within seeds, whose mean over seeds is that slope.

    A slope of each seed on its own would be wild for a seed under which the covariate hardly varies.

    Args:
        sums: Those of 1, x, y, x² and xy, ``[moment, seed, …]``.
    """
    count, x, y, xx, xy = sums
    # over all seeds; 0 where x does not vary
    varied = np.broadcast_to((xx - x * x / count).mean(axis=0), x.shape)
    slopes = np.divide(xy - x * y / count, varied, out=np.zeros_like(xy), where=varied > LEAST_SPREAD)
    return np.asarray(slopes)


def find_rule(
    gains: Gains, covariates: Mapping[str, Values], slopes: Mapping[tuple[str, str], ClassEstimate]
) -> Rule | None:
    """Make a rule of the covariate that the gain goes with most, if it holds in scenes left out.

    Args:
        gains: Of the chips.
        covariates: ``[chip]`` by name, those that are known before labels.
        slopes: All slopes, by level and name.
    """
    passed = {
        name: slopes[CHIP, name]
        for name in covariates
        if (CHIP, name) in slopes and slopes[CHIP, name].differs
    }
    if not passed:
        return None
    name = min(passed, key=lambda each: passed[each].p_value)
    # with the sign, so that the map is used where the value is large
    sign = 1 if passed[name].difference > 0 else -1
    signed, gain = sign * covariates[name], gains.values.mean(axis=0)
    advantage = _held_out_advantage(signed, gain, gains.scenes)
    if not advantage.is_above_zero:
        return None
    threshold = _best_threshold(signed, gain)
    return Rule(name, sign > 0, float(sign * threshold), float((signed >= threshold).mean()), advantage)


def _held_out_advantage(signed: Values, gain: Values, scenes: NDArray[np.int64]) -> Estimate:
    """Estimate what rules made without a scene gain there, over the better of always and never without it."""
    advantages = []
    for scene in range(int(scenes.max()) + 1):
        left, rest = scenes == scene, scenes != scene
        used = signed[left] >= _best_threshold(signed[rest], gain[rest])
        always = gain[rest].mean() > 0
        advantages.append(float((gain[left] * (used.astype(float) - always)).mean()))
    count = len(advantages)
    return estimate(
        float(np.mean(advantages)),
        (VarianceComponent(SCENES, count, float(np.var(advantages, ddof=1) / count)),),
    )


def _best_threshold(signed: Values, gain: Values) -> float:
    """Return the value from which on using the map gains most in all, infinity if it never gains."""
    order = np.argsort(-signed, kind="stable")
    values, sums = signed[order], np.cumsum(gain[order])
    # only where the next value differs: chips of one value are used together
    ends = np.append(values[1:] < values[:-1], True)
    best = int(np.argmax(np.where(ends, sums, -np.inf)))
    return float(values[best]) if sums[best] > 0 else np.inf
