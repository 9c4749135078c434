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
    nadeau_bengio_factor,
    sum_by_scene,
)

RULES: Final = 50
"""Rules that are made, each without another group of scenes, to judge how well such rules do."""

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
        advantage: What rules made without a scene gain there over the better of always and never without it.
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
    sums = sum_by_scene(units, gains.scenes, scenes)
    total = sums.sum(axis=-1)
    each = _slopes(total)
    without = _slopes(total[..., None] - sums).mean(axis=0)
    # the delete-one jackknife, as for a difference; one unit fewer, as a slope takes the place of a mean beside it
    of_scenes = without.var() * (scenes - 1) * nadeau_bengio_factor(gains.folds)
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
    advantage = _held_out_advantage(gains, covariates)
    if not advantage.is_above_zero:
        return None
    name = min(passed, key=lambda each: passed[each].p_value)
    # with the sign, so that the map is used where the value is large
    sign = 1 if passed[name].difference > 0 else -1
    signed = sign * covariates[name]
    threshold = _best_threshold(signed, gains.values.mean(axis=0))
    used = signed >= threshold
    return Rule(name, sign > 0, float(sign * _shortened(threshold, signed)), float(used.mean()), advantage)


def _held_out_advantage(gains: Gains, covariates: Mapping[str, Values]) -> Estimate:
    """Estimate what rules gain in a scene, over the better of always and never, both chosen without that scene."""
    apart, scenes = np.empty(gains.scenes.size), int(gains.scenes.max()) + 1
    # of more scenes several are left out at once, since each rule takes as long as there are scenes
    groups = gains.scenes % min(scenes, RULES)
    for group in np.unique(groups):
        left = groups == group
        _, others = np.unique(gains.scenes[~left], return_inverse=True)
        rest = Gains(gains.values[:, ~left], others, gains.folds)
        signed, threshold = _made_without(rest, {name: (x[~left], x[left]) for name, x in covariates.items()})
        apart[left] = (signed >= threshold).astype(float) - (rest.values.mean() > 0)
    chips = np.bincount(gains.scenes, minlength=scenes)
    by_seed = (sum_by_scene(gains.values * apart, gains.scenes, scenes) / chips).T  # [scene, seed]
    count, seeds = by_seed.shape
    of_scenes = np.var(by_seed.mean(axis=1), ddof=1) / count * nadeau_bengio_factor(gains.folds)
    parts = [VarianceComponent(SCENES, count, float(of_scenes))]
    if seeds > 1:
        parts.append(VarianceComponent("seeds", seeds, float(by_seed.mean(axis=0).var(ddof=1) / seeds)))
    return estimate(float(by_seed.mean()), tuple(parts))


def _made_without(rest: Gains, covariates: Mapping[str, tuple[Values, Values]]) -> tuple[Values, float]:
    """Make a rule of the covariate that the gain goes with most in some scenes, to be used in another.

    Args:
        rest: Gains in the scenes that it is made of.
        covariates: Values of its chips, and of those of the other scene, by name.

    Returns:
        The covariate of the other scene's chips, with the sign that lets large values speak for the map, and the
        threshold.
    """
    slopes = {
        name: slope_of(rest, own[None]) for name, (own, _) in covariates.items() if own.std() > LEAST_SPREAD
    }
    if not slopes:  # whatever varies, varies in the other scene alone
        return next(iter(covariates.values()))[1], -np.inf if rest.values.mean() > 0 else np.inf
    name = min(slopes, key=lambda each: slopes[each].p_value)
    sign = 1 if slopes[name].difference > 0 else -1
    own, other = covariates[name]
    return sign * other, _best_threshold(sign * own, rest.values.mean(axis=0))


def _shortened(threshold: float, values: Values) -> float:
    """Return the number of fewest digits that divides the values as a threshold does."""
    used = values >= threshold
    rounded = (float(f"{threshold:.{digits}g}") for digits in range(2, 17))
    return next((each for each in rounded if np.array_equal(values >= each, used)), threshold)


def _best_threshold(signed: Values, gain: Values) -> float:
    """Return the value from which on using the map gains most in all, infinity if it never gains."""
    order = np.argsort(-signed, kind="stable")
    values, sums = signed[order], np.cumsum(gain[order])
    # only where the next value differs: chips of one value are used together
    ends = np.append(values[1:] < values[:-1], True)
    best = int(np.argmax(np.where(ends, sums, -np.inf)))
    return float(values[best]) if sums[best] > 0 else np.inf
