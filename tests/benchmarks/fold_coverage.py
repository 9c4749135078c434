"""How often intervals of a cross-validation over scenes hold the truth: `python -m tests.benchmarks.fold_coverage`.

Here arms are really trained, by ridge regression on the pixels of all scenes but two, since what a cross-validation
adds is that scenes share trainings: a scene that misleads is tested once and trained on in every other fold. Scenes
differ in class mix and in the shift of their features; the arms have one more feature each, which follows the classes
by the gain and misleads by scene. Runs of one seed see the same pixels: few for much luck, many for little. The truth
is the difference over very many independent draws of the training scenes and of the scenes they are tested on. Out of
bounds is a cell that covers less than 93 %, or in which an improvement that is none is claimed in more than 2.5 %.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from eval.compare.inference import PairedArms, compare
from eval.compare.verdict import IMPROVEMENT_FROM
from eval.score.metrics import MIOU, mean_iou

CLASSES, PIXELS, SEEDS = 5, 200, 3
CENTERS = np.random.default_rng(7).normal(0, 1, (CLASSES, 4))
"""Mean of each class in the features that all arms have."""

LEAST_COVERED, FALSE_CLAIMS = 0.93, 0.025


@dataclass(frozen=True)
class Setting:
    """One cell.

    Attributes:
        scenes: Number of scenes.
        folds: Number of folds.
        gain: How much the candidate's feature follows the classes; that of baseline and control follows nothing.
        sampled: Pixels that a training sees: the fewer, the more luck it has.
        shared: Spread of what a seed adds to all of its trainings alike, in the weights.
    """

    scenes: int
    folds: int
    gain: float
    sampled: int
    shared: float = 0.0

    @property
    def trained_on(self) -> int:
        """Number of scenes that a training sees."""
        return self.scenes * (self.folds - 2) // self.folds


def draw_scenes(count: int, gain: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features of baseline, candidate and control ``[arm, scene, pixel, feature]``, and classes ``[scene, pixel]``."""
    mix = rng.dirichlet(np.full(CLASSES, 0.8), count)
    labels = np.stack([rng.choice(CLASSES, PIXELS, p=row) for row in mix])
    common = CENTERS[labels] + rng.normal(0, 1, (count, 1, 4)) + rng.normal(0, 1.2, (count, PIXELS, 4))
    arms = []
    for strength in (0.0, gain, 0.0):
        misled = np.take_along_axis(rng.normal(0, 0.7, (count, CLASSES)), labels, axis=1)
        own = strength * CENTERS[labels, 0] + misled + rng.normal(0, 1, labels.shape)
        arms.append(np.concatenate([common, own[..., None], np.ones((count, PIXELS, 1))], axis=-1))
    return np.stack(arms), labels


def trained(features: np.ndarray, labels: np.ndarray, sampled: int, seed: int) -> np.ndarray:
    """Weights ``[feature, class]`` of a ridge regression on some of the pixels ``[pixel, feature]``."""
    chosen = np.random.default_rng(seed).integers(0, len(labels), sampled)
    x, y = features[chosen], np.eye(CLASSES)[labels[chosen]]
    return np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ y)


def counted(weights: np.ndarray, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Confusion counts ``[class, class + 1]`` of some pixels."""
    cells = labels * (CLASSES + 1) + (features @ weights).argmax(axis=-1)
    return np.bincount(cells.ravel(), minlength=CLASSES * (CLASSES + 1)).reshape(CLASSES, CLASSES + 1)


def cross_validate(setting: Setting, rng: np.random.Generator) -> np.ndarray:
    """Counts ``[arm, seed, scene, class, class + 1]`` of a study, dealt as `eval.study.folds` deals scenes."""
    features, labels = draw_scenes(setting.scenes, setting.gain, rng)
    fold = np.arange(setting.scenes) % setting.folds
    counts = np.zeros((3, SEEDS, setting.scenes, CLASSES, CLASSES + 1), dtype=np.int64)
    for seed in range(SEEDS):
        luck = rng.normal(0, setting.shared, (3, features.shape[-1], CLASSES))
        for tested in range(setting.folds):
            inside = ~np.isin(fold, (tested, (tested + 1) % setting.folds))
            drawn = int(rng.integers(2**31))
            for arm in range(3):
                x, y = features[arm, inside].reshape(-1, features.shape[-1]), labels[inside].ravel()
                weights = trained(x, y, setting.sampled, drawn) + luck[arm]
                for scene in np.flatnonzero(fold == tested):
                    counts[arm, seed, scene] = counted(weights, features[arm, scene], labels[scene])
    return counts


def truth(setting: Setting, draws: int = 1500) -> float:
    """Difference in mIoU over new scenes, of trainings on as many scenes as a fold's; none if arms are alike."""
    if not setting.gain:
        return 0.0
    rng, totals = np.random.default_rng(99), np.zeros((2, CLASSES, CLASSES + 1))
    inside = setting.trained_on
    for _ in range(draws):
        features, labels = draw_scenes(inside + 4, setting.gain, rng)
        drawn = int(rng.integers(2**31))
        for arm in range(2):
            x = features[arm, :inside].reshape(-1, features.shape[-1])
            weights = trained(x, labels[:inside].ravel(), setting.sampled, drawn)
            weights = weights + rng.normal(0, setting.shared, weights.shape)
            totals[arm] += counted(weights, features[arm, inside:], labels[inside:])
    return float(mean_iou(totals[1]) - mean_iou(totals[0]))


def measure(setting: Setting, studies: int) -> tuple[float, float, float, float]:
    """Coverage, share of claims by the statistics alone, mean width, and coverage if folds were one test split."""
    rng, true, rows = np.random.default_rng(4), truth(setting), []
    for _ in range(studies):
        baseline, candidate, control = cross_validate(setting, rng)
        pairs = (PairedArms(arm, candidate, True, (MIOU,), setting.folds) for arm in (baseline, control))
        (found,), (rival,) = (compare(pair)[MIOU.key] for pair in pairs)
        (plain,) = compare(PairedArms(baseline, candidate, True, (MIOU,)))[MIOU.key]
        claimed = found.is_above_zero and rival.is_above_zero and found.difference >= IMPROVEMENT_FROM
        rows.append(
            (
                found.low <= true <= found.high,
                claimed,
                found.high - found.low,
                plain.low <= true <= plain.high,
            )
        )
    covered, claims, width, plainly = np.mean(rows, axis=0).tolist()
    return covered, claims, width, plainly


def main() -> int:
    """Prints a line a cell; returns 1 where one is out of bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    args = parser.parse_args()
    bad = 0
    for scenes, folds in ((4, 4), (8, 8), (12, 12), (12, 4)):
        for gain in (0.0, 1.0):
            for sampled, shared in ((60, 0.0), (2000, 0.0), (2000, 0.05)):
                covered, claims, width, plainly = measure(
                    Setting(scenes, folds, gain, sampled, shared), args.studies
                )
                outside = covered < LEAST_COVERED or (not gain and claims > FALSE_CLAIMS)
                bad += outside
                text = f"{scenes} scenes, {folds} folds, gain {gain:g}, {sampled} pixels, {shared:g} shared: covers "
                text += f"{covered:.1%}, claims {claims:.1%}, width {100 * width:.1f} pp; as one split {plainly:.1%}"
                sys.stdout.write(f"{text}{'  OUT OF BOUNDS' if outside else ''}\n")
                sys.stdout.flush()
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
