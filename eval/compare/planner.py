"""The cheapest next experiment: how many scenes and seeds a claim of a given gain would need.

The power is that of a *claim*, not of an interval: the difference must reach the threshold, its interval must exclude
zero, and so must that against each control. It is simulated with the degrees of freedom that `compare` uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, stdtrit  # importing scipy.stats takes a second

from augment_store.utils.text import pluralize
from eval.compare.inference import LEVEL, POWER, SCENES, SHARE_POWER, VarianceComponent
from eval.compare.verdict import IMPROVEMENT_FROM, MIN_SEEDS

# a simulated power of 0.8 has a standard error of √(0.8 · 0.2 / 4000), 0.6 points
DRAWS: Final = 4000
SEEDS: Final = (3, 4, 5, 6, 9, 15, 30)
TIMES: Final = (1, 2, 4, 8)
"""Numbers of seeds, and multiples of the present scenes, that are looked at."""


@dataclass(frozen=True)
class Spread:
    """How much differences in mIoU vary, as shares.

    Attributes:
        scenes: SD of what a scene adds.
        seeds: SD of the paired difference over seeds.
    """

    scenes: float
    seeds: float


@dataclass(frozen=True)
class Design:
    """An experiment.

    Attributes:
        scenes: Number of test scenes.
        seeds: Number of runs of each arm.
        controls: Number of controls that must be beaten.
    """

    scenes: int
    seeds: int
    controls: int

    @property
    def runs(self) -> int:
        """Number of trainings."""
        return self.seeds * (2 + self.controls)


def claim_power(goal: float, design: Design, spread: Spread) -> float:
    """Simulate how often a true gain is claimed.

    Args:
        goal: True gain over the baseline and over each control, as a share.
        design: The experiment.
        spread: How much differences vary.

    Returns:
        Share of experiments that claim it; 0 for fewer than three seeds or two scenes, which claim nothing.
    """
    if design.scenes < 2 or design.seeds < MIN_SEEDS:
        return 0.0
    rng = np.random.default_rng(
        0
    )  # the same draws for every design, so that designs are compared without noise
    # one entry for each part of the variance: scenes, then seeds
    units = np.array([design.scenes, design.seeds])
    sd = np.array([spread.scenes, spread.seeds])
    others = 1 + design.controls
    # differences from baseline and controls share the candidate, hence a correlation of one half
    # [draw, other arm, part]; the baseline is the first of the other arms
    shared, own = rng.standard_normal((DRAWS, 1, 2)), rng.standard_normal((DRAWS, others, 2))
    # √½, as the sum of two standard normals has the variance 2; / √n for the SD of a mean of n units
    noise = np.sqrt(0.5) * (shared + own) * sd / np.sqrt(units)
    found = goal + noise.sum(axis=-1)
    # what `compare` would estimate: χ² with n − 1 degrees of freedom, over n − 1, around the true variance
    variances = sd**2 / units * rng.chisquare(units - 1, (DRAWS, others, 2)) / (units - 1)
    above = found > _reach(variances, units)
    # every difference must be above zero, and the first, from the baseline, must reach the threshold too
    return float((above.all(axis=1) & (found[:, 0] >= IMPROVEMENT_FROM)).mean())


def _reach(variances: NDArray[np.float64], units: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return half the width of the interval for variances ``[…, part]``, as `inference.estimate` does."""
    total = variances.sum(axis=-1)
    # without variance the shares are 0 and the reach is 0, with any freedom above 0
    shares = variances / np.where(total > 0, total, 1.0)[..., None]
    inverse = (shares**SHARE_POWER / (units - 1)).sum(axis=-1)
    freedom = 1 / np.where(total > 0, inverse, 1.0)
    reach: NDArray[np.float64] = stdtrit(freedom, (1 + LEVEL) / 2) * np.sqrt(total)
    return reach


def claim_powers(
    goal: float, scenes: Sequence[int], seeds: Sequence[int], controls: int, spread: Spread
) -> NDArray[np.float64]:
    """Return the power ``[scenes, seeds]`` of designs, which never falls with more of either.

    More scenes can make the interval a little wider where few seeds are the rest of its variance. Nobody has to use
    all of them, so a larger design is worth at least as much as each smaller one.
    """
    powers = np.array([[claim_power(goal, Design(n, k, controls), spread) for k in seeds] for n in scenes])
    # along both axes, so that each design has the best power of all that are no larger
    raised: NDArray[np.float64] = np.maximum.accumulate(np.maximum.accumulate(powers, axis=0), axis=1)
    return raised


def spread_of(parts: Sequence[VarianceComponent], share: float = 0.5) -> Spread | None:
    """Return the spread that a comparison found, or the given quantile of what it is compatible with.

    Args:
        parts: Sources of variance of a difference whose runs are paired by seed.
        share: 0.5 for the spread as found; 0.1 and 0.9 for the ends of an 80 % range.

    Returns:
        The spread; None if scenes or seeds had fewer than two units.
    """
    found = {part.name: part for part in parts}
    if SCENES not in found or "seeds" not in found:
        return None

    def sd(part: VarianceComponent) -> float:
        degrees = part.units - 1
        # quantile of the true variance: degrees · s² / χ², whose low quantiles go with a large variance
        scale = 1.0 if share == 0.5 else degrees / float(chdtri(degrees, share))
        # a part is the variance of a mean of units; that of a single unit is as many times larger
        return float(np.sqrt(part.variance * part.units * scale))

    return Spread(sd(found[SCENES]), sd(found["seeds"]))


def next_experiment(
    parts: Sequence[VarianceComponent], goal: float, controls: int, hours_per_run: float | None
) -> Iterator[str]:
    """Describe the cheapest experiment that would claim a goal with 80 % power.

    Args:
        parts: Sources of variance of the difference, as a report has them.
        goal: The gain to claim, as a share.
        controls: Number of controls.
        hours_per_run: Duration of a training; None if unknown.
    """
    spread = spread_of(parts)
    if spread is None:
        yield "The next experiment: three paired seeds of each arm, two scenes or more; before that nothing is known."
        return
    scenes_now = next(part.units for part in parts if part.name == SCENES)
    scenes = sorted({round(scenes_now * times) for times in TIMES})
    powers = claim_powers(goal, scenes, SEEDS, controls, spread)
    yield (
        f"To claim a true gain of {100 * goal:.2f} pp with {POWER:.0%} power against {pluralize(controls, 'control')}, "
        f"by the spread found here ({100 * spread.scenes:.2f} pp between scenes, {100 * spread.seeds:.2f} pp seeds):"
    )
    reached = [
        # the first number of seeds that is enough; argmax is 0 for none too, hence the condition
        (n, int(np.argmax(row >= POWER)))
        for n, row in zip(scenes, powers, strict=True)
        if (row >= POWER).any()
    ]
    if not reached:
        best = powers.max()
        yield (
            f"- no design of up to {pluralize(scenes[-1], 'scene')} and {pluralize(SEEDS[-1], 'seed')} does "
            f"({best:.0%} at most); look for a larger gain, or for chips that vary less."
        )
        return
    for n, index in _cheapest(reached):
        yield _line(
            goal, Design(n, SEEDS[index], controls), parts, powers[scenes.index(n), index], hours_per_run
        )
    now = Design(scenes_now, MIN_SEEDS, controls)
    # the corners of the table: most scenes with fewest seeds, and present scenes with most seeds
    more_scenes, more_seeds = powers[-1, 0], powers[0, -1]
    yield (
        f"- of {pluralize(now.scenes, 'scene')} and {pluralize(now.seeds, 'seed')}, "
        f"{'scenes' if more_scenes > more_seeds else 'seeds'} are what to add: {pluralize(scenes[-1], 'scene')} give "
        f"{more_scenes:.0%}, {pluralize(SEEDS[-1], 'seed')} {more_seeds:.0%}."
    )


def _cheapest(reached: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Keep designs for which more scenes save seeds; the others cost more and need no fewer trainings."""
    fewest = len(SEEDS)
    for scenes, index in reached:
        # scenes rise from row to row, so a later one pays off only with fewer seeds
        if index < fewest:
            fewest = index
            yield scenes, index


def _line(
    goal: float, design: Design, parts: Sequence[VarianceComponent], power: float, hours: float | None
) -> str:
    ends = sorted(
        claim_power(goal, design, found)
        # sorted, as the larger spread has the smaller power
        for share in (0.1, 0.9)
        if (found := spread_of(parts, share)) is not None
    )
    cost = "" if hours is None else f", about {design.runs * hours:.1f} h of training"
    return (
        f"- {pluralize(design.scenes, 'scene')} × {pluralize(design.seeds, 'seed')}: "
        f"{pluralize(design.runs, 'run')}{cost}; "
        f"power {power:.0%} ({ends[0]:.0%} to {ends[-1]:.0%} by the spread's own range)"
    )
