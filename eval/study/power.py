"""What a study's design can resolve, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from augment_store.chips.chip_set import ChipSet
from augment_store.io.remote import as_path
from augment_store.utils.text import pluralize
from eval.compare.inference import LEVEL, POWER, VarianceComponent, resolvable_difference
from eval.compare.verdict import ONE_RUN
from eval.study.config import Study

SEED_SPREAD: Final = 0.0064
"""SD over seeds of the difference in mIoU between two arms run with the same seed, as measured in the demo."""

SCENE_SPREAD: Final = 0.02
"""SD over scenes of what a scene adds to the difference in mIoU: an assumption; it has not been measured."""

USUAL_SCENES: Final = (4, 12, 20)
"""Numbers of test scenes shown if there is no chip set to count them in."""


@dataclass(frozen=True)
class StandardDeviations:
    """How much differences in mIoU vary, as shares.

    Attributes:
        scenes: SD of what a scene adds.
        seeds: SD of the paired difference over seeds.
    """

    scenes: float = SCENE_SPREAD
    seeds: float = SEED_SPREAD


def resolvable(scenes: int, seeds: int, spread: StandardDeviations) -> float | None:
    """Return the smallest true difference in mIoU, as a share, for which a 95 % interval excludes zero with 80 % power.

    Args:
        scenes: Number of test scenes.
        seeds: Number of runs of each arm.
        spread: Assumed spread.

    Returns:
        The difference; None for a single scene or a single seed, which is not evidence.
    """
    if min(scenes, seeds) < 2:
        return None
    # the variance of a mean of n units is SD² / n
    of_scenes = VarianceComponent("scenes", scenes, spread.scenes**2 / scenes)
    return resolvable_difference([of_scenes, VarianceComponent("seeds", seeds, spread.seeds**2 / seeds)])


def count_test_scenes(study: Study) -> int | None:
    """Count the scenes in the test split of a study's chip set; None if that is not there yet.

    Raises:
        ChipSetError: If it is there and holds no chips.
    """
    root = as_path(study.chips)
    if not root.is_dir():
        return None
    chips = ChipSet.open(root, study.layout)
    test = chips.splits.get("test")
    return None if test is None else len(set(chips.scenes(study.scenes, test).values()))


def describe(study: Study, spread: StandardDeviations) -> Iterator[str]:
    """Describe the power of a study's design, line by line."""
    found, seeds = count_test_scenes(study), len(study.seeds)
    scenes = "an unknown number of test scenes" if found is None else pluralize(found, "test scene")
    yield f"power: {scenes}, {pluralize(seeds, 'seed')}, {pluralize(len(study.comparisons), 'comparison')} declared"
    yield (
        f"assumed SD of the difference in mIoU: {100 * spread.scenes:.2f} pp between scenes, "
        f"{100 * spread.seeds:.2f} pp between seeds (--scene-spread, --seed-spread)"
    )
    if found is None:
        yield f"no test split at {study.chips} yet: shown for {', '.join(map(str, USUAL_SCENES))} scenes"
    if seeds == 1:
        yield f"{ONE_RUN}; give at least three seeds"
    columns = USUAL_SCENES if found is None else (found, 2 * found, 4 * found)
    # 3 is what a claim needs, then twice and four times that; a set, as the design's own may be among them
    rows = sorted({seeds, 3, 6, 12})
    yield f"smallest difference resolved (pp; {LEVEL:.0%} interval, {POWER:.0%} power), by seeds and scenes:"
    yield "seeds  " + "".join(f"{pluralize(column, 'scene'):>12}" for column in columns)
    for row in rows:
        cells = (resolvable(column, row, spread) for column in columns)
        yield f"{row:>5}  " + "".join(f"{_points(cell):>12}" for cell in cells)


def _points(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"
