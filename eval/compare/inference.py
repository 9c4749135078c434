"""What the test split can tell about a difference: paired by chip, resampled by scene, seeds as a second level.

Chips of one scene share weather, season and terrain, so scenes are what was drawn from the world and what is drawn
again here. Runs of an arm with different seeds are drawn too, independently of the scenes. All differences are
*candidate − baseline* of a measure of the counts summed over scenes, mean over seeds, as shares (0.01 is one point).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from eval.score.metrics import class_iou, mean_iou

Values = NDArray[np.float64]

LEVEL: Final = 0.95
POWER: Final = 0.8
FEWEST_FOR_BOOTSTRAP: Final = 10
"""Scenes from which on the bootstrap is used; below it has too few distinct resamples, and Student's t is used.

So it is where the spread over few seeds leaves a measure fewer degrees of freedom than so many scenes have.
"""

MOST_EXACT: Final = 12
"""Scenes up to which all 2^n sign flips are gone through."""

DECIMALS: Final = 9
"""Of differences and ends of intervals, before anything is read from them: far below one pixel of any test split."""

FLIPS: Final = 9999
RESAMPLES: Final = 9999
BATCH: Final = 1000

BCA: Final = "BCa bootstrap of scenes"
PERCENTILE: Final = "percentile bootstrap of scenes"
STUDENT: Final = "jackknife over scenes with Student's t"
NO_INTERVAL: Final = "none: a single scene"


@dataclass(frozen=True)
class Estimate:
    """A difference and how sure it is.

    Attributes:
        difference: Candidate − baseline, as a share.
        low: Lower end of the 95 % interval, None where a single scene allows none.
        high: Upper end.
        method: How the interval was made.
        standard_error: By the jackknife over scenes and the spread over seeds, None for a single scene.
        resolvable: Smallest true difference that a two-sided test at 5 % would find with 80 % power, None likewise.
        p_value: Two-sided. With several runs of an arm of difference / standard error, by Student's t; with one run
            of each of the sign-flip test, which exchanges arms within scenes and holds the seeds fixed.
    """

    difference: float
    low: float | None
    high: float | None
    method: str
    standard_error: float | None
    resolvable: float | None
    p_value: float

    @property
    def covers_zero(self) -> bool:
        """Whether no difference is compatible with the data; so it is without an interval."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


@dataclass(frozen=True)
class PairedArms:
    """Counts of two arms on the same scenes.

    Attributes:
        baseline: ``[seed, scene, class, class + 1]``.
        candidate: ``[seed, scene, class, class + 1]``, its seeds as many or not.
    """

    baseline: NDArray[Any]
    candidate: NDArray[Any]

    @property
    def scenes(self) -> int:
        """Number of scenes."""
        return int(self.baseline.shape[1])

    def differences(self, weights: NDArray[Any]) -> Values:
        """Differences ``[…, measure]`` with scenes weighted ``[…, scene]``, mean over seeds.

        Measure 0 is mIoU, the others are the classes' IoU.
        """
        candidate, baseline = (
            measures(arm, weights).mean(axis=-2) for arm in (self.candidate, self.baseline)
        )
        return np.asarray(candidate - baseline)


def measures(arm: NDArray[Any], weights: NDArray[Any]) -> Values:
    """MIoU and every class' IoU of weighted scenes.

    A class that is not in the reference of the scenes drawn has IoU 0 in every arm, so a difference of 0.

    Args:
        arm: Counts ``[seed, scene, class, class + 1]``.
        weights: ``[…, scene]``.

    Returns:
        ``[…, seed, 1 + class]``.
    """
    seeds, scenes, classes, width = arm.shape
    flat = arm.transpose(1, 0, 2, 3).reshape(scenes, -1).astype(float)
    totals = (np.asarray(weights, float) @ flat).reshape(*weights.shape[:-1], seeds, classes, width)
    iou = np.where(totals.sum(axis=-1) > 0, class_iou(totals), 0.0)
    return np.concatenate([mean_iou(totals)[..., None], iou], axis=-1)


def compare(arms: PairedArms, seed: int) -> list[Estimate]:
    """Estimates of the difference in mIoU and in each class' IoU, in this order.

    Args:
        arms: The two arms.
        seed: Of what is drawn at random.
    """
    every = _rounded(arms.differences(np.ones(arms.scenes)))
    if arms.scenes == 1:
        return [
            Estimate(float(value), None, None, NO_INTERVAL, None, None, float(p))
            for value, p in zip(every, sign_flip(arms, seed), strict=True)
        ]
    errors, freedom = standard_errors(arms)
    p_values = _p_values(arms, every, errors, freedom, seed)
    reach = stats.t.ppf((1 + LEVEL) / 2, freedom) * errors
    if arms.scenes < FEWEST_FOR_BOOTSTRAP:
        low, high, methods = every - reach, every + reach, [STUDENT] * every.size
    else:
        low, high, methods = bootstrap(arms, freedom, seed)
        few = freedom < FEWEST_FOR_BOOTSTRAP - 1
        low, high = np.where(few, every - reach, low), np.where(few, every + reach, high)
        methods = [STUDENT if so else method for so, method in zip(few, methods, strict=True)]
    low, high = _rounded(low), _rounded(high)
    resolvable = (stats.t.ppf((1 + LEVEL) / 2, freedom) + stats.t.ppf(POWER, freedom)) * errors
    columns = zip(every, low, high, methods, errors, resolvable, p_values, strict=True)
    return [
        Estimate(float(d), float(lo), float(hi), method, float(se), float(least), float(p))
        for d, lo, hi, method, se, least, p in columns
    ]


def _rounded(shares: Values) -> Values:
    """Shares without floating point's crumbs, so that 0.62 − 0.60 is not above 0.02 nor −1e-17 below zero."""
    return np.asarray(np.round(shares, DECIMALS) + 0.0)  # + 0.0: no negative zero


def _p_values(arms: PairedArms, every: Values, errors: Values, freedom: Values, seed: int) -> Values:
    """Two-sided p-value of each measure's difference.

    Exchanging arms within scenes says nothing of seeds: the luck of one training is in every scene alike and would
    pass for the arm's merit. Where runs tell how much seeds vary, Student's t has it in its standard error.
    """
    if max(len(arms.baseline), len(arms.candidate)) == 1:
        return sign_flip(arms, seed)
    ratio = np.divide(np.abs(every), errors, out=np.where(every == 0, 0.0, np.inf), where=errors > 0)
    return np.asarray(2 * stats.t.sf(ratio, freedom))


def standard_errors(arms: PairedArms) -> tuple[Values, Values]:
    """Standard error of each measure's difference, and its degrees of freedom.

    The jackknife over scenes (Efron and Tibshirani 1993, eq. 11.5) plus the variance of the mean over seeds of each
    arm that has several; degrees of freedom after Welch (1947) and Satterthwaite (1946). The smallest resolvable
    difference is made of them after Bloom (1995).
    """
    scenes = arms.scenes
    left_out = arms.differences(np.ones((scenes, scenes)) - np.eye(scenes))
    parts = [(left_out.var(axis=0) * (scenes - 1), scenes - 1)]
    for arm in (arms.baseline, arms.candidate):
        if len(arm) > 1:
            by_seed = measures(arm, np.ones(scenes))
            parts.append((by_seed.var(axis=0, ddof=1) / len(arm), len(arm) - 1))
    variance = sum((part for part, _ in parts), np.zeros(left_out.shape[-1]))
    spread = sum((part**2 / freedom for part, freedom in parts), np.zeros_like(variance))
    freedom = np.full_like(variance, scenes - 1.0)
    np.divide(variance**2, spread, out=freedom, where=spread > 0)
    return np.sqrt(variance), freedom


def bootstrap(arms: PairedArms, freedom: Values, seed: int) -> tuple[Values, Values, list[str]]:
    """Ends of each measure's interval, and how it was made.

    Scenes and the seeds of each arm are drawn independently; `scipy.stats.bootstrap` makes BCa intervals (Efron
    1987). The level is widened so that a normal quantile becomes Student's times √(n / (n − 1)), without which
    bootstrap intervals of n = 20 are too narrow (Hesterberg 2015, "expanded" intervals); `freedom` is that of each
    measure, since few seeds leave less of it than the scenes have. Where BCa is not defined,
    since a measure hardly varies between scenes, its percentile interval stands.
    """
    drawn = [len(arm) > 1 for arm in (arms.baseline, arms.candidate)]
    seeds = [np.arange(len(arm)) for arm in (arms.baseline, arms.candidate) if len(arm) > 1]

    def statistic(scenes: NDArray[np.int64], *chosen: NDArray[np.int64], axis: int) -> Values:
        given = iter(chosen)
        baseline, candidate = (
            _mean_over(measures(arm, _weights(scenes, arms.scenes)), next(given) if several else None)
            for arm, several in zip((arms.baseline, arms.candidate), drawn, strict=True)
        )
        return np.moveaxis(candidate - baseline, -1, 0)

    ends, found = [], None
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        for measure, level in enumerate(_widened_levels(arms.scenes, freedom)):
            found = stats.bootstrap(
                (np.arange(arms.scenes), *seeds),
                statistic,
                n_resamples=0 if found else RESAMPLES,  # drawn once, read at each measure's level
                batch=BATCH,
                vectorized=True,
                axis=-1,
                confidence_level=level,
                method="BCa",
                bootstrap_result=found,
                rng=np.random.default_rng(seed),
            )
            ends.append(_ends(found, measure, level))
    low, high, methods = zip(*ends, strict=True)
    return np.array(low), np.array(high), list(methods)


def _ends(found: Any, measure: int, level: float) -> tuple[float, float, str]:
    """Ends of one measure's interval, and how it was made."""
    low, high = (float(end[measure]) for end in found.confidence_interval)
    if np.isfinite(low) and np.isfinite(high):
        return low, high, BCA
    low, high = np.quantile(found.bootstrap_distribution[measure], ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high), PERCENTILE


def _widened_levels(scenes: int, freedom: Values) -> list[float]:
    quantiles = stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(scenes / (scenes - 1))
    levels: list[float] = (2 * stats.norm.cdf(quantiles) - 1).tolist()
    return levels


def _weights(chosen: NDArray[np.int64], scenes: int) -> Values:
    """How often each scene was drawn, ``[…, scene]``, from positions ``[…, draw]``."""
    rows = chosen.reshape(-1, chosen.shape[-1])
    places = rows + scenes * np.arange(len(rows))[:, None]
    counts = np.bincount(places.ravel(), minlength=scenes * len(rows))
    return counts.reshape(*chosen.shape[:-1], scenes).astype(float)


def _mean_over(values: Values, chosen: NDArray[np.int64] | None) -> Values:
    """Mean ``[…, measure]`` of ``[…, seed, measure]`` over the seeds drawn ``[…, draw]``, or over all.

    A mean of n draws varies by (n − 1) / n too little, which matters for two or three seeds: its distance from the
    mean over all is stretched by √(n / (n − 1)) (Davison and Hinkley 1997, section 2.3).
    """
    centre = values.mean(axis=-2)
    if chosen is None:
        return np.asarray(centre)
    seeds = values.shape[-2]
    drawn = np.take_along_axis(
        values, np.broadcast_to(chosen, (*values.shape[:-2], chosen.shape[-1]))[..., None], -2
    )
    return np.asarray(centre + np.sqrt(seeds / (seeds - 1)) * (drawn.mean(axis=-2) - centre))


def sign_flip(arms: PairedArms, seed: int) -> Values:
    """Two-sided p-value of each measure's difference, if which arm is which did not matter in any scene.

    Arms are exchanged within scenes (Fisher 1935): all 2^n ways up to `MOST_EXACT` scenes, else as many drawn at
    random as `FLIPS`, and the way seen counted with them (Phipson and Smyth 2010). With n scenes no p-value is
    below 2 / 2^n. Seeds enter as the mean of their counts.
    """
    baseline, candidate = (arm.mean(axis=0, keepdims=True) for arm in (arms.baseline, arms.candidate))
    both = PairedArms(
        np.concatenate([baseline, candidate], axis=1), np.concatenate([candidate, baseline], axis=1)
    )
    exact = arms.scenes <= MOST_EXACT
    flipped = _every_flip(arms.scenes) if exact else _some_flips(arms.scenes, seed)
    seen = np.abs(both.differences(np.repeat([1.0, 0.0], arms.scenes)))
    null = np.abs(both.differences(np.concatenate([1.0 - flipped, flipped], axis=-1)))
    extreme = (null >= seen - 1e-12).sum(axis=0)
    return np.asarray(extreme / len(flipped) if exact else (extreme + 1) / (len(flipped) + 1))


def _every_flip(scenes: int) -> Values:
    return np.array(list(product((0.0, 1.0), repeat=scenes)))


def _some_flips(scenes: int, seed: int) -> Values:
    return np.random.default_rng(seed).integers(0, 2, (FLIPS, scenes)).astype(float)


def holm(p_values: Values) -> Values:
    """p-values adjusted for having asked several questions (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    raised = np.maximum.accumulate(p_values[order] * np.arange(p_values.size, 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted
