"""How often 95 % intervals hold the truth and luck is claimed: `python -m tests.benchmarks.interval_coverage`.

Three arms are simulated, baseline, candidate and a control as good as the baseline: scenes differ in their class mix
and in how hard they are, an arm gains more in some scenes than in others, and runs of one seed share some of their
luck. The truth is the difference over 20,000 scenes, or 4,000 runs where runs differ, of the same world. A cell is
out of bounds where a claim is possible (three seeds or more) and the interval covers less than 93 % or more than 98 %,
or where an improvement that is none is claimed in more than 2.5 % of studies. The width is given against that of
unpaired runs with Satterthwaite's degrees of freedom, as they were compared before.

A share found in 2,000 studies is uncertain by half a point, so a cell that seems out of bounds is measured again on
ten times as many other studies, and judged by those alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from eval.compare.inference import Estimate, PairedArms, compare, variances
from eval.compare.verdict import IMPROVEMENT_FROM, MIN_SEEDS
from eval.score.metrics import MIOU

CLASSES = 5
PIXELS = 100_000
SKILL = np.array([2.2, 0.9, 1.2, 0.4, -0.2])
"""Log odds of being right, by class."""

LEAST_COVERED, MOST_COVERED = 0.93, 0.98
FALSE_CLAIMS = 0.025


@dataclass(frozen=True)
class World:
    """How scenes and arms vary, in log odds of being right.

    Attributes:
        gain: What the candidate gains on average.
        seeds: Spread between runs of one arm.
        correlation: Of that luck between the arms' runs of one seed.
        chips: Chips a scene is made of, each with a class mix of its own.
        heavy: Whether scenes differ with heavy tails (Student's t of three degrees of freedom).
        rare: Whether the last class is a hundredth as frequent.
        scene: Spread of difficulty between scenes, shared by the arms.
        interaction: Spread of the gain between scenes.
    """

    gain: float = 0.0
    seeds: float = 0.0
    correlation: float = 0.0
    chips: int = 1
    heavy: bool = False
    rare: bool = False
    scene: float = 0.6
    interaction: float = 0.25

    def draw(self, scenes: int, seeds: int, rng: np.random.Generator, controls: int = 1) -> list[np.ndarray]:
        """Draws scenes, and counts of baseline, candidate and controls on them, their runs of the same seeds."""
        frequency = np.full(CLASSES, 0.8)
        if self.rare:
            frequency[-1] /= 100
        mix = rng.dirichlet(frequency, (scenes, self.chips)).mean(axis=1)
        difficulty = self.scene * self._noise((scenes, 1), rng) + 0.3 * self._noise((scenes, CLASSES), rng)
        shared = rng.normal(0, self.seeds, (seeds, 1, CLASSES))
        arms = []
        for gain in (0.0, self.gain, *[0.0] * controls):
            here = gain + self.interaction / np.sqrt(2) * self._noise((scenes, CLASSES), rng)
            own = rng.normal(0, self.seeds, (seeds, 1, CLASSES))
            luck = np.sqrt(self.correlation) * shared + np.sqrt(1 - self.correlation) * own
            arms.append(counts_of(PIXELS * mix, SKILL + difficulty + here + luck))
        return arms

    def _noise(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Noise of spread 1."""
        return rng.standard_t(3, shape) / np.sqrt(3) if self.heavy else rng.normal(0, 1, shape)

    @functools.cache  # noqa: B019 - of a handful of worlds, for as long as the benchmark runs
    def truth(self) -> float:
        """Difference in mIoU over very many scenes and seeds; none where the arms are drawn alike."""
        if not self.gain:
            return 0.0
        draws, scenes, seeds = (40, 1_000, 100) if self.seeds else (1, 20_000, 1)
        every = []
        for draw in range(draws):
            baseline, candidate, _ = self.draw(scenes, seeds, np.random.default_rng([0, draw]))
            every.append(headline(baseline, candidate).differences()[0])
        return float(np.mean(every))


def headline(baseline: np.ndarray, candidate: np.ndarray, *, by_seed: bool = False) -> PairedArms:
    """Arms to be compared by the metric that claims are made of, and by no other, which saves time."""
    return PairedArms(baseline, candidate, by_seed, (MIOU,))


def counts_of(pixels: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Confusion counts ``[seed, scene, class, class + 1]``; misses spread evenly over the other classes."""
    right = 1 / (1 + np.exp(-odds))
    counts = np.repeat(((1 - right) / (CLASSES - 1) * pixels)[..., None], CLASSES + 1, axis=-1)
    counts[..., range(CLASSES), range(CLASSES)] = right * pixels
    counts[..., CLASSES] = 0
    return counts.round().astype(np.int64)


@dataclass(frozen=True)
class Cell:
    """Figures of one design in one world, as shares.

    Attributes:
        coverage: Of the interval.
        false_claims: How often an improvement is claimed by the statistics alone; 0 where the truth is one.
        width: Mean width of the interval, in shares of mIoU.
        against_before: That width divided by the mean width of the former method.
    """

    coverage: float
    false_claims: float
    width: float
    against_before: float

    def passes(self, seeds: int) -> bool:
        """Whether the figures are within bounds; coverage matters where a claim is possible."""
        covers = seeds < MIN_SEEDS or LEAST_COVERED <= self.coverage <= MOST_COVERED
        return covers and self.false_claims <= FALSE_CLAIMS


def claims(to_baseline: Estimate, to_control: Estimate, seeds: int) -> bool:
    """The gate's statistical part; the rest of it only takes claims away."""
    certain = to_baseline.is_above_zero and to_control.is_above_zero
    return seeds >= MIN_SEEDS and to_baseline.difference >= IMPROVEMENT_FROM and certain


def measure(world: World, scenes: int, seeds: int, studies: int, draw: int = 4) -> Cell:
    """Figures of so many simulated studies, drawn from the seed `draw`."""
    truth, rng = world.truth(), np.random.default_rng(draw)
    rows = []
    for _ in range(studies):
        baseline, candidate, control = world.draw(scenes, seeds, rng)
        pairs = (headline(arm, candidate, by_seed=True) for arm in (baseline, control))
        (found,), (rival,) = (compare(pair)[MIOU.key] for pair in pairs)
        false = truth < IMPROVEMENT_FROM and claims(found, rival, seeds)
        rows.append(
            (
                found.low <= truth <= found.high,
                false,
                found.high - found.low,
                former_width(baseline, candidate),
            )
        )
    coverage, false, ours, theirs = np.mean(rows, axis=0).tolist()
    return Cell(coverage, false, ours, ours / theirs)


def former_width(baseline: np.ndarray, candidate: np.ndarray) -> float:
    """Width of the interval with runs unpaired and degrees of freedom after Satterthwaite (1946)."""
    sources = [(units - 1, found[0]) for _, units, found in variances(headline(baseline, candidate))]
    total = sum(variance for _, variance in sources)
    freedom = total**2 / sum(variance**2 / degrees for degrees, variance in sources)
    return float(2 * stdtrit(freedom, 0.975) * np.sqrt(total))


def designs() -> Iterator[tuple[str, World, int, int]]:
    """Name of the world, the world, scenes and seeds of every cell."""
    kinds = {
        "no effect": World(),
        "heavy tails": World(heavy=True),
        "rare class": World(rare=True),
        "gain": World(gain=0.15),
    }
    for kind, world in kinds.items():
        for scenes, chips in ((4, 1), (4, 16), (12, 1), (20, 1)):
            for seeds in (1, 3, 5):
                for spread, name in ((0.0, "nil"), (0.1, "mid"), (0.4, "large")):
                    for correlation in (0.0, 0.5, 0.95) if spread else (0.0,):
                        made = dataclasses.replace(world, seeds=spread, correlation=correlation, chips=chips)
                        yield (
                            f"{kind}, seeds {name}, correlation {correlation:g}, {chips} chips a scene",
                            made,
                            scenes,
                            seeds,
                        )


def line(design: tuple[str, World, int, int], studies: int) -> tuple[str, bool]:
    """A line on one design, and whether it is within bounds."""
    name, world, scenes, seeds = design
    cell = measure(world, scenes, seeds, studies)
    again = "" if cell.passes(seeds) else f", measured again on {10 * studies} studies"
    if again:
        cell = measure(world, scenes, seeds, 10 * studies, draw=5)
    passes = cell.passes(seeds)
    text = f"{scenes} scenes, {seeds} seeds, {name}: covers {100 * cell.coverage:.1f} %, false claims "
    text += f"{100 * cell.false_claims:.1f} %, width {100 * cell.width:.2f} pp = {cell.against_before:.2f} × before"
    return f"{text}{again}{'' if passes else '  OUT OF BOUNDS'}\n", passes


def main() -> int:
    """Prints a line a cell; returns 1 where one is out of bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--only", default="", help="cells whose name holds this")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    args = parser.parse_args()
    wanted = [design for design in designs() if args.only in design[0]]
    return print_cells(functools.partial(line, studies=args.studies), wanted, args.workers)


def print_cells(
    measure_cell: Callable[[Any], tuple[str, bool]], wanted: Sequence[Any], workers: int | None
) -> int:
    """Prints the line of each cell as it is measured, side by side; returns 1 where one is out of bounds."""
    bad = 0
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for text, passes in pool.imap(measure_cell, wanted):
            bad += not passes
            sys.stdout.write(text)
            sys.stdout.flush()
    sys.stdout.write(f"{bad} of {len(wanted)} cells out of bounds\n")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
