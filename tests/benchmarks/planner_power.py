"""How often designs that the planner gives 80 % are claimed: `python -m tests.benchmarks.planner_power`.

The planner knows the spread of a world alone. Its power of a design is held against the share of simulated studies of
that design whose differences, from the baseline and from each control, pass the gate's statistics by the very code of
`compare`. The world's spread comes from many draws of it, so that only the planner's formula is tried, and not a spread
estimated from one study. Out of bounds is a cell of which less than 77 % or more than 83 % are claimed.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

import numpy as np

from eval.compare.inference import POWER, compare
from eval.compare.planner import Design, Spread, claim_power
from eval.score.metrics import MIOU
from tests.benchmarks.interval_coverage import World, claims, headline

LEAST_CLAIMED, MOST_CLAIMED = 0.77, 0.83
CONTROLS = (0, 1, 2, 5)
DESIGNS = ((12, 3), (20, 6), (48, 3))
"""Scenes and seeds."""

START = World(gain=0.15, seeds=0.1, correlation=0.5, chips=16)


def spread_of_world(world: World, scenes: int = 600, seeds: int = 600) -> Spread:
    """What a scene and a seed add to the difference, as SD, by one study that is far larger than any design."""
    # 600 of each: the error of an SD that is estimated from n is SD / √2n, 3 % here
    baseline, candidate = world.draw(scenes, seeds, np.random.default_rng(1), controls=0)
    (found,) = compare(headline(baseline, candidate, by_seed=True))[MIOU.key]
    # the variance of a mean of units is that of one by their number
    of_one = {part.name: float(np.sqrt(part.variance * part.units)) for part in found.parts}
    return Spread(of_one["scenes"], of_one["seeds"])


def claimed(world: World, design: Design, studies: int) -> float:
    """Share of simulated studies that claim the world's gain; each control is drawn like the baseline."""
    rng, count = np.random.default_rng(2), 0
    for _ in range(studies):
        baseline, candidate, *controls = world.draw(design.scenes, design.seeds, rng, design.controls)
        found, *rivals = (
            compare(headline(arm, candidate, by_seed=True))[MIOU.key][0] for arm in (baseline, *controls)
        )
        count += all(claims(found, rival, design.seeds) for rival in (rivals or [found]))
    return count / studies


def with_power(world: World, design: Design, power: float) -> tuple[World, float]:
    """The world with about the gain that the planner says is claimed with this power, and what it says exactly."""
    spread, low, high = spread_of_world(world), 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if claim_power(middle, design, spread) >= power else (middle, high)
    # mIoU is nearly linear in log odds; what little it is not is in the power planned for the world so made
    made = dataclasses.replace(world, gain=world.gain * high / world.truth())
    return made, claim_power(made.truth(), design, spread_of_world(made))


def main() -> int:
    """Prints a line a cell; returns 1 where one is out of bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    args = parser.parse_args()
    bad = 0
    for scenes, seeds in DESIGNS:
        for controls in CONTROLS:
            design = Design(scenes, seeds, controls)
            world, planned = with_power(START, design, POWER)
            share = claimed(world, design, args.studies)
            outside = not LEAST_CLAIMED <= share <= MOST_CLAIMED
            bad += outside
            text = f"{scenes} scenes, {seeds} seeds, {controls} controls, gain {100 * world.truth():.2f} pp: "
            text += f"planned {planned:.1%}, claimed {share:.1%}{'  OUT OF BOUNDS' if outside else ''}"
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
