"""What the test split can tell about a difference: chips are paired; scenes and seeds are what was sampled.

Chips of one scene share weather, season and terrain, so scenes are the units that were sampled. Runs of an arm with
different seeds are a sample too. Runs of one seed start from the same weights and see the same chips in the same order,
so if both arms have the same seeds, the luck they share cancels in the difference of each seed.

All differences are *candidate − baseline* of a metric of the counts summed over scenes, mean over seeds, as shares
(0.01 is one point); a metric by class gives one measure per class, any other gives one. Interval and p-value come
from the same Student's t, so they agree.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from scipy.special import stdtr, stdtrit

from eval.score.metrics import FINITE, INTERVALS, Metric, Share

Values = NDArray[np.float64]

SignedShare = Annotated[float, Field(ge=-1, le=1)]
NonNegative = Annotated[float, Field(ge=0)]

# a test at 5 % with a power of 80 %, as is usual (Cohen 1988)
LEVEL: Final = 0.95
POWER: Final = 0.8

DECIMALS: Final = 9
"""Differences and ends of intervals are rounded to this many before they are used: far below one pixel of any test
split."""

SHARE_POWER: Final = 1.4
"""Between 2, Satterthwaite's (1946), and 1, near Cochran's (1964) weighting of t by variance.

Few seeds and many scenes need one in between: in the designs of `tests/benchmarks/interval_coverage.py` a power of 2
covers as little as 92 %, a power of 1 as much as 99 %. Chosen on other simulated studies than the benchmark's.
"""

SCENES: Final = "scenes"


@dataclass(frozen=True, config=FINITE)
class VarianceComponent:
    """One source of a difference's variance.

    Attributes:
        name: ``scenes``, ``seeds`` where runs are paired by seed, else ``baseline seeds`` and ``candidate seeds``.
        units: Number sampled.
        variance: What sampling them adds to the variance of the difference.
    """

    name: str
    units: PositiveInt
    variance: NonNegative

    def of(self, units: int) -> VarianceComponent:
        """Return the same source with another number of units: variance falls as 1 / units."""
        return VarianceComponent(self.name, units, self.variance * self.units / units)


@dataclass(frozen=True, config=FINITE)
class Estimate:
    """A difference and how certain it is.

    Attributes:
        difference: Candidate − baseline, as a share.
        low: Lower end of the 95 % interval, None for a single scene.
        high: Upper end.
        standard_error: Root of the sum of the parts' variances, None for a single scene.
        degrees_of_freedom: Those of Student's t, None for a single scene.
        resolvable: Smallest true difference that a two-sided test at 5 % would find with 80 % power, None for a single
            scene.
        p_value: Two-sided, below 0.05 exactly when the interval excludes zero; 1 for a single scene.
        parts: Where the variance comes from; empty for a single scene.
    """

    difference: SignedShare
    low: float | None
    high: float | None
    standard_error: NonNegative | None
    degrees_of_freedom: NonNegative | None
    resolvable: NonNegative | None
    p_value: Share
    parts: tuple[VarianceComponent, ...] = ()

    @model_validator(mode="after")
    def _check_ends(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends or none")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self

    @property
    def covers_zero(self) -> bool:
        """Return whether the data are compatible with no difference; true if there is no interval."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high

    def low_among(self, comparisons: int) -> float | None:
        """Return the interval's lower end by Bonferroni's level for so many comparisons; None for a single scene."""
        if comparisons <= 1 or self.low is None or not self.standard_error or not self.degrees_of_freedom:
            return self.low
        quantile = stdtrit(self.degrees_of_freedom, 1 - (1 - LEVEL) / 2 / comparisons)
        return float(self.difference - quantile * self.standard_error)

    @property
    def is_above_zero(self) -> bool:
        """Return whether the difference is positive beyond doubt, by interval and p-value."""
        return self.low is not None and self.low > 0 and self.p_value < 1 - LEVEL

    def resolvable_with(self, **units: int) -> float | None:
        """Return what `resolvable` would be with other numbers of ``scenes`` or ``seeds`` (those of either arm)."""
        # the last word: baseline seeds and candidate seeds are both of the kind seeds
        kinds = [part.name.split()[-1] for part in self.parts]
        parts = [part.of(units.get(kind, part.units)) for kind, part in zip(kinds, self.parts, strict=True)]
        return resolvable_difference(parts) if parts else None


@dataclass(frozen=True, config=FINITE)
class ClassEstimate(Estimate):
    """One of several estimates that are looked at together, such as the difference in each class.

    Attributes:
        p_holm: p-value after Holm, over all of them.
    """

    _: dataclasses.KW_ONLY
    p_holm: Share

    @property
    def differs(self) -> bool:
        """Return whether it differs from zero by both its p-value after Holm and its interval."""
        return self.p_holm < 1 - LEVEL and not self.covers_zero


@dataclasses.dataclass(frozen=True)
class PairedArms:
    """Counts of two arms on the same scenes.

    Attributes:
        baseline: ``[seed, scene, class, class + 1]``.
        candidate: ``[seed, scene, class, class + 1]``; the number of seeds may differ.
        by_seed: Whether the runs of both arms have the same seeds, in the same order.
        metrics: Metrics to compare them by.
        folds: Number of folds in which the scenes were tested, each by a training on others; 0 for one test split.
    """

    baseline: NDArray[Any]
    candidate: NDArray[Any]
    by_seed: bool = False
    metrics: tuple[Metric, ...] = INTERVALS
    folds: int = 0

    @property
    def scenes(self) -> int:
        """Return the number of scenes."""
        return int(self.baseline.shape[1])

    def differences(self) -> Values:
        """Return the differences ``[measure]`` over all scenes, mean over seeds; see `measures`."""
        # [seed, scene, class, class + 1] to [seed, class, class + 1], then [seed, measure] to [measure]
        candidate, baseline = (
            measures(self.metrics, arm.sum(axis=1)).mean(axis=-2) for arm in (self.candidate, self.baseline)
        )
        return np.asarray(candidate - baseline)

    def differences_without_each(self) -> Values:
        """Return the differences ``[scene, measure]`` with one scene left out at a time, mean over seeds.

        Linear in the number of scenes: a scene is taken from the totals, rather than the others added up anew.
        """
        means = []
        for arm in (self.candidate, self.baseline):
            totals = arm.sum(axis=1)
            # a run's totals less each of its scenes, [scene, class, class + 1]; one run at a time for memory
            means.append(
                np.mean(
                    [measures(self.metrics, own - run) for own, run in zip(totals, arm, strict=True)], axis=0
                )
            )
        candidate, baseline = means
        return np.asarray(candidate - baseline)

    def seed_variation(self) -> Iterator[tuple[str, Values]]:
        """Yield what varies by seed, with its name: differences ``[seed, measure]``, or each arm if unpaired."""
        baseline, candidate = (
            measures(self.metrics, arm.sum(axis=1)) for arm in (self.baseline, self.candidate)
        )
        # the luck that two runs of one seed share cancels in their difference, and must not count as spread
        if self.by_seed:
            yield "seeds", candidate - baseline
        else:
            yield "baseline seeds", baseline
            yield "candidate seeds", candidate


def measures(metrics: Sequence[Metric], totals: NDArray[Any]) -> Values:
    """Measure summed counts, with the metrics side by side in the order given.

    A class that is not in the reference has the value 0 in every arm, so a difference of 0.

    Args:
        metrics: What to measure; a metric by class has a column per class, any other has one.
        totals: Counts ``[…, class, class + 1]`` summed over scenes.

    Returns:
        ``[…, measure]``.
    """
    referenced = totals.sum(axis=-1) > 0
    columns = []
    for metric in metrics:
        shares = metric.function(totals)
        # […] gets an axis of one measure, to stand beside the classes of a metric by class
        columns.append(np.where(referenced, shares, 0.0) if metric.by_class else shares[..., None])
    # a mean over classes is NaN where none is in the reference: 0 in every arm, as for an absent class
    values: Values = np.nan_to_num(np.concatenate(columns, axis=-1))
    return values


def compare(arms: PairedArms) -> dict[str, tuple[Estimate, ...]]:
    """Return the estimates of the differences by the metric's key: one per class for a metric by class, else one."""
    every = _without_residue(arms.differences())
    # a single scene has no spread, so there is no interval, and with p = 1 nothing follows
    if arms.scenes == 1:
        found = [Estimate(float(value), None, None, None, None, None, 1.0) for value in every]
    else:
        sources = variances(arms)
        found = [
            estimate(
                float(difference),
                tuple(
                    VarianceComponent(name, units, float(variance[measure]))
                    for name, units, variance in sources
                ),
            )
            for measure, difference in enumerate(every)
        ]
    # `found` has the measures of all metrics in one row: cut it as `measures` joined it
    remaining, classes = iter(found), arms.baseline.shape[2]
    return {
        metric.key: tuple(itertools.islice(remaining, classes if metric.by_class else 1))
        for metric in arms.metrics
    }


def variances(arms: PairedArms) -> list[tuple[str, int, Values]]:
    """Return the sources of variance: name, number of units, and each measure's variance of the difference.

    Scenes by the delete-one jackknife (Efron and Tibshirani 1993, eq. 11.5) of the mean over seeds; seeds by the
    spread between runs. Their interaction is in both, so it is counted twice: subtracting it is right only
    with many of either, and costs coverage with three seeds.
    """
    scenes = arms.scenes
    left_out = arms.differences_without_each()
    # the jackknife is (n − 1) / n times the sum of squares; `var` has divided by n, so n − 1 is left
    sources = [(SCENES, scenes, left_out.var(axis=0) * (scenes - 1) * nadeau_bengio_factor(arms.folds))]
    for name, runs in arms.seed_variation():
        # a single run shows no spread: the interval is of scenes alone, and the verdict claims nothing
        if len(runs) > 1:
            # n − 1, as the mean comes from the same few runs; then / n, for the variance of that mean
            sources.append((name, len(runs), runs.var(axis=0, ddof=1) / len(runs)))
    return sources


def nadeau_bengio_factor(folds: int) -> float:
    """Return by what the variance over scenes grows if the scenes of each fold are trained on in the others.

    Nadeau and Bengio (2003, eq. 9): a scene decides what it is tested by as well, so the variance of a mean of k folds
    is (1 / k + tested / trained) times that of one, where the jackknife sees 1 / k. Validation counts as training.

    Args:
        folds: Number of folds, 0 for one test split.
    """
    # tested / trained is 1 / (k − 1)
    return 1 + folds / (folds - 1) if folds else 1.0


def estimate(difference: float, parts: tuple[VarianceComponent, ...]) -> Estimate:
    """Give a difference Student's interval and p-value, from the parts of its variance."""
    error, freedom = standard_error(parts)
    # two-sided: half of the 5 % lies beyond each end
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    # without any variance p is 0 for a difference and 1 for none; a division by 0 would raise
    ratio = abs(difference) / error if error > 0 else (np.inf if difference else 0.0)
    # rounded like the difference, or an end of −1e-17 would count as below zero
    low, high = (float(_without_residue(np.array(end))) for end in (difference - reach, difference + reach))
    p_value = float(2 * stdtr(freedom, -ratio))
    return Estimate(difference, low, high, error, freedom, resolvable_difference(parts), p_value, parts)


def standard_error(parts: Sequence[VarianceComponent]) -> tuple[float, float]:
    """Return the standard error and its degrees of freedom.

    These are the harmonic mean of the parts' own, weighted by their shares of the variance to the power `SHARE_POWER`.
    With a single part it is that part's value.
    """
    variance = sum(part.variance for part in parts)
    if variance <= 0:
        # no shares to weight by: the first part's own freedom keeps Student's t defined
        return 0.0, parts[0].units - 1.0
    inverse = sum((part.variance / variance) ** SHARE_POWER / (part.units - 1) for part in parts)
    return float(np.sqrt(variance)), float(1 / inverse)


def resolvable_difference(parts: Sequence[VarianceComponent]) -> float:
    """Return the smallest true share that a two-sided test at 5 % finds with 80 % power (Bloom 1995)."""
    error, freedom = standard_error(parts)
    # how far from zero an estimate must be, then how much farther the truth, for 80 % of them to be so far
    return float(stdtrit(freedom, (1 + LEVEL) / 2) + stdtrit(freedom, POWER)) * error


def _without_residue(shares: Values) -> Values:
    """Round away floating-point residue, so that 0.62 − 0.60 is not above 0.02 nor −1e-17 below zero."""
    return np.asarray(np.round(shares, DECIMALS) + 0.0)  # + 0.0: no negative zero


def adjust_by_holm(estimates: Mapping[str, Estimate]) -> dict[str, ClassEstimate]:
    """Return the same estimates with the p-value after Holm over all of them.

    It holds however they depend on each other, as classes of one map do, and loses less than Bonferroni.
    """
    raised = holm(np.array([entry.p_value for entry in estimates.values()]))
    return {
        # `vars`, as `asdict` would turn the parts into dicts
        name: ClassEstimate(**vars(entry), p_holm=float(p))
        for (name, entry), p in zip(estimates.items(), raised, strict=True)
    }


def holm(p_values: Values) -> Values:
    """Adjust p-values for several comparisons (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    # the smallest p times their number, the next times one less, and so on; the maximum keeps the order
    raised = np.maximum.accumulate(p_values[order] * np.arange(p_values.size, 0, -1))
    adjusted = np.empty_like(p_values)
    # from sorted order back to the order given
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted


def sum_by_scene(values: NDArray[np.float64], scenes: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Sum ``[…, unit]`` over the units of each scene, ``[…, scene]``; 0 for a scene without units.

    Args:
        values: Values of the units.
        scenes: Scene of each unit, as a number from 0 on.
        count: Number of scenes.
    """
    rows = values.reshape(-1, values.shape[-1])
    # one pass a row: a mask for each scene would take the square of their number
    sums = np.stack([np.asarray(np.bincount(scenes, row, count), np.float64) for row in rows])
    return sums.reshape(*values.shape[:-1], count)
