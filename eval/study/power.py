"""What a study's design can resolve, before anything is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from augment_store.chips.chip_set import ChipSet
from augment_store.io.remote import RemotePath, as_path
from augment_store.utils.text import pluralize
from eval.compare.inference import (
    LEVEL,
    POWER,
    VarianceComponent,
    nadeau_bengio_factor,
    resolvable_difference,
)
from eval.compare.planner import Design, Spread, claim_power
from eval.compare.verdict import IMPROVEMENT_FROM, MIN_SEEDS, ONE_RUN
from eval.score.folds import MIN_FOLDS
from eval.study.config import Study
from eval.study.folds import deal_folds, scene_names

SEED_SPREAD: Final = 0.0064
"""SD over seeds of the difference in mIoU between two arms run with the same seed, as measured in the demo."""

SCENE_SPREAD: Final = 0.02
"""SD over scenes of what a scene adds to the difference in mIoU: an assumption; it has not been measured."""

USUAL_SCENES: Final = (4, 12, 20)
"""Numbers of test scenes shown if there is no chip set to count them in."""


GOAL: Final = 2 * IMPROVEMENT_FROM
"""Gain whose power is shown: a true gain at the threshold itself is claimed half the time."""

ASSUMED: Final = Spread(SCENE_SPREAD, SEED_SPREAD)


def resolvable(scenes: int, seeds: int, spread: Spread) -> float | None:
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
    folds = deal_folds(study)
    test = [i for fold in folds for i in fold.ids["test"]] if folds else chips.splits.get("test")
    return None if test is None else len(set(chips.scenes(study.scenes, test).values()))


def describe_power(study: Study, spread: Spread) -> Iterator[str]:
    """Describe the power of a study's design, line by line."""
    found, seeds = count_test_scenes(study), len(study.seeds)
    # the scenes' part of the variance grows in a cross-validation, as if they varied more
    more = nadeau_bengio_factor(0 if found is None else len(deal_folds(study))) ** 0.5
    allowed = dataclasses.replace(spread, scenes=spread.scenes * more)
    scenes = "an unknown number of test scenes" if found is None else pluralize(found, "test scene")
    yield f"power: {scenes}, {pluralize(seeds, 'seed')}, {pluralize(len(study.comparisons), 'comparison')} declared"
    yield (
        f"assumed SD of the difference in mIoU: {100 * spread.scenes:.2f} pp between scenes, "
        f"{100 * spread.seeds:.2f} pp between seeds (--scene-spread, --seed-spread)"
    )
    if found is None:
        yield f"no test split at {study.chips} yet: shown for {', '.join(map(str, USUAL_SCENES))} scenes"
    yield from _folds_advice(study, found)
    if seeds < MIN_SEEDS:
        why = ONE_RUN if seeds == 1 else f"a claim needs {MIN_SEEDS} seeds"
        yield f"warning: {why}; give at least {MIN_SEEDS}"
    for name, entry in study.comparisons.items():
        if not entry.controls:
            yield f"warning: comparison {name} has no control, so it can claim nothing"
        elif found is not None:
            design = Design(found, seeds, len(entry.controls))
            yield (
                f"{name}: a true gain of {100 * GOAL:.2f} pp is claimed with {claim_power(GOAL, design, allowed):.0%} "
                f"power against {pluralize(design.controls, 'control')}"
            )
    columns = USUAL_SCENES if found is None else (found, 2 * found, 4 * found)
    # 3 is what a claim needs, then twice and four times that; a set, as the design's own may be among them
    rows = sorted({seeds, 3, 6, 12})
    yield f"smallest difference resolved (pp; {LEVEL:.0%} interval, {POWER:.0%} power), by seeds and scenes:"
    yield "seeds  " + "".join(f"{pluralize(column, 'scene'):>12}" for column in columns)
    for row in rows:
        cells = (resolvable(column, row, allowed) for column in columns)
        yield f"{row:>5}  " + "".join(f"{_as_points(cell):>12}" for cell in cells)


def _folds_advice(study: Study, found: int | None) -> Iterator[str]:
    """Advise a cross-validation where few of many scenes are tested."""
    # nor at a URL, whose chips cannot be dealt to folds
    remote = isinstance(as_path(study.chips), RemotePath)
    if found is None or found >= USUAL_SCENES[0] or study.folds is not None or remote:
        return
    scenes = len(scene_names(study))
    if scenes >= MIN_FOLDS:
        without = ", without zero_shot," if study.zero_shot else ""
        yield (
            f"few test scenes: the line folds: scenes in the YAML{without} makes each of the {scenes} scenes a test "
            f"scene, for {scenes} times the trainings"
        )


def _as_points(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"
