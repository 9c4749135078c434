"""How often 95 % intervals hold the truth, and verdicts are wrong: `python -m tests.benchmarks.interval_coverage`.

Pairs of arms are simulated with scene effects: scenes differ in their class mix and in how hard they are, and an arm
gains more in some scenes than in others. The truth is the difference over 20,000 scenes of the same world.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eval.compare.inference import PairedArms, compare

CLASSES = 5
PIXELS = 100_000
SKILL = np.array([2.2, 0.9, 1.2, 0.4, -0.2])
"""Log odds of being right, by class."""


@dataclass(frozen=True)
class World:
    """How scenes and arms vary, in log odds of being right.

    Attributes:
        gain: What the candidate gains on average.
        scene: Spread of difficulty between scenes, shared by the arms.
        interaction: Spread of the gain between scenes.
        seed_spread: Spread between runs of one arm.
    """

    gain: float
    scene: float = 0.6
    interaction: float = 0.25
    seed_spread: float = 0.0

    def draw(self, scenes: int, seeds: int, rng: np.random.Generator) -> PairedArms:
        """Draws scenes, and two arms on them."""
        pixels = PIXELS * rng.dirichlet(np.full(CLASSES, 0.8), scenes)
        difficulty = rng.normal(0, self.scene, (scenes, 1)) + rng.normal(0, 0.3, (scenes, CLASSES))
        arms = []
        for gain in (0.0, self.gain):
            here = gain + rng.normal(0, self.interaction / np.sqrt(2), (scenes, CLASSES))
            luck = rng.normal(0, self.seed_spread, (seeds, 1, CLASSES))
            arms.append(_counts(pixels, SKILL + difficulty + here + luck))
        return PairedArms(*arms)

    def truth(self) -> float:
        """Difference in mIoU over very many scenes; none where the arms are drawn alike."""
        if not self.gain:
            return 0.0
        arms = self.draw(20_000, 1, np.random.default_rng(0))
        if self.seed_spread:
            arms = self.draw(2_000, 200, np.random.default_rng(0))
        return float(arms.differences(np.ones(arms.scenes))[0])


def _counts(pixels: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Confusion counts ``[seed, scene, class, class + 1]``; misses spread evenly over the other classes."""
    right = 1 / (1 + np.exp(-odds))
    counts = np.repeat(((1 - right) / (CLASSES - 1) * pixels)[..., None], CLASSES + 1, axis=-1)
    counts[..., range(CLASSES), range(CLASSES)] = right * pixels
    counts[..., CLASSES] = 0
    return counts.round().astype(np.int64)


def figures(world: World, scenes: int, seeds: int, repeats: int) -> Iterator[tuple[str, float]]:
    """Coverage, and how often "strong" is said, with and without minding the interval."""
    truth, rng = world.truth(), np.random.default_rng(1)
    found = [compare(world.draw(scenes, seeds, rng), seed=repeat)[0] for repeat in range(repeats)]
    yield "truth", truth
    yield "coverage", float(np.mean([entry.low <= truth <= entry.high for entry in found]))
    yield "mean width", float(np.mean([entry.high - entry.low for entry in found]))
    yield "strong by the point alone", float(np.mean([entry.difference > 0.02 for entry in found]))
    yield (
        "strong, interval above zero",
        float(np.mean([entry.difference > 0.02 and entry.low > 0 for entry in found])),
    )
    yield "p < 0.05", float(np.mean([entry.p_value < 0.05 for entry in found]))


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--scenes", type=int, nargs="+", default=[20, 4])
    parser.add_argument("--only", default="", help="worlds whose name holds this")
    repeats = parser.parse_args().repeats
    for scenes in parser.parse_args().scenes:
        for name, world, seeds in (
            ("no effect", World(0.0), 1),
            ("no effect, arms differ much by scene", World(0.0, interaction=0.7), 1),
            ("gain", World(0.15), 1),
            ("gain, 3 seeds", World(0.15, seed_spread=0.08), 3),
            ("no effect, 3 seeds that differ much", World(0.0, seed_spread=0.4), 3),
            ("no effect, 2 seeds that differ much", World(0.0, seed_spread=0.4), 2),
        ):
            if parser.parse_args().only not in name:
                continue
            started = time.perf_counter()
            shown = ", ".join(
                f"{key} {100 * value:.1f} %" for key, value in figures(world, scenes, seeds, repeats)
            )
            sys.stdout.write(f"{scenes} scenes, {name}: {shown} ({time.perf_counter() - started:.0f} s)\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
