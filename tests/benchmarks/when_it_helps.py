"""How often a report says falsely when it helps: `python -m tests.benchmarks.when_it_helps`.

Gains and covariates vary by scene and by chip, each on its own, or the gain follows one covariate. Counted are reports
that name any slope, and those that make a rule. Out of bounds is a cell without an effect in which more than 5 % of the
reports (and three standard errors) name a slope, or more than 2.5 % make a rule.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

import numpy as np

from eval.compare.covariates import by_scene
from eval.compare.inference import ClassEstimate
from eval.compare.moderation import CHIP, SCENE, Gains, Rule, find_rule, find_slopes

SEEDS, COVARIATES = 3, 8
NAMED, RULES = 0.05, 0.025

Slopes = Mapping[tuple[str, str], ClassEstimate]


def draw_report(
    rng: np.random.Generator, effect: float, *, mean: float = 0.01, scenes: int = 8, chips: int = 4
) -> tuple[Slopes, Rule | None]:
    """Return slopes and rule of one simulated report.

    Args:
        rng: Source of everything that is drawn.
        effect: Gain per standard deviation of the first covariate.
        mean: Mean gain.
        scenes: Number of scenes.
        chips: Number of chips of each.
    """
    number = np.repeat(np.arange(scenes), chips)

    def vary(spread: float) -> np.ndarray:
        return spread * (rng.normal(0, 1, scenes)[number] + rng.normal(0, 1, number.size))

    covariates = {f"c{index}": vary(0.7) for index in range(COVARIATES)}
    values = mean + vary(0.02) + effect * covariates["c0"] + rng.normal(0, 0.01, (SEEDS, number.size))
    names = [str(scene) for scene in number]
    every = np.ones(number.size, bool)
    gains = {
        CHIP: Gains(values, number),
        SCENE: Gains(by_scene(values, names, every), np.arange(scenes)),
    }
    means = {name: by_scene(entry[None], names, every) for name, entry in covariates.items()}
    slopes = find_slopes(gains, {CHIP: {n: e[None] for n, e in covariates.items()}, SCENE: means})
    return slopes, find_rule(gains[CHIP], covariates, slopes)


def main(arguments: list[str]) -> int:
    """Print a row for each cell; 1 where one is out of bounds."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.when_it_helps", description=__doc__)
    parser.add_argument("--reports", type=int, default=1000, help="reports of a cell (default: 1000)")
    count = parser.parse_args(arguments).reports
    outside = 0
    for scenes, chips in ((6, 4), (8, 4), (12, 5), (24, 3)):
        for effect, mean in ((0.0, 0.0), (0.0, 0.01), (0.06, 0.01)):
            rng = np.random.default_rng([scenes, chips, round(1000 * effect), round(1000 * mean)])
            made = [draw_report(rng, effect, mean=mean, scenes=scenes, chips=chips) for _ in range(count)]
            named = np.mean([any(entry.differs for entry in slopes.values()) for slopes, _ in made])
            rules = np.mean([rule is not None for _, rule in made])
            limit = NAMED + 3 * np.sqrt(NAMED * (1 - NAMED) / count)
            wrong = effect == 0 and (named > limit or rules > RULES)
            outside += wrong
            sys.stdout.write(
                f"{scenes:3d} scenes of {chips} chips, effect {100 * effect:.0f}, mean {100 * mean:.0f} points: "
                f"a slope in {named:6.1%}, a rule in {rules:6.1%}{'  OUT OF BOUNDS' if wrong else ''}\n"
            )
            sys.stdout.flush()
    return int(outside > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
