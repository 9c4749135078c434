"""What a study's design can find, before a GPU hour is spent, and what its comparisons say together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from eval.compare.inference import Part, resolvable_difference
from eval.compare.inference import holm as adjust
from eval.compare.verdict import FEWEST_SEEDS

SCENE_SPREAD: Final = 0.03
"""Assumed standard deviation over scenes of the difference in mIoU between arms: a guess until a study has run."""

SEED_SPREAD: Final = 0.0064
"""Assumed standard deviation over seeds of the paired difference, as measured of six seeds of the demo's main arm."""


def resolvable(scenes: int, seeds: int) -> float:
    """Smallest true difference in mIoU, as a share, that so many scenes and paired seeds find with 80 % power."""
    parts = [Part("scenes", scenes, SCENE_SPREAD**2 / scenes)]
    if seeds > 1:
        parts.append(Part("seeds", seeds, SEED_SPREAD**2 / seeds))
    return resolvable_difference(parts)


def power_lines(scenes: int, seeds: int) -> Iterator[str]:
    """What a design of so many test scenes and seeds resolves, and what more of either would."""
    if scenes < 2:
        yield f"# {scenes} test scene: no interval, so nothing can be claimed"
        return
    yield (
        f"# assumed: the difference varies by {100 * SCENE_SPREAD:.1f} pp between scenes and by "
        f"{100 * SEED_SPREAD:.2f} pp between paired seeds"
    )
    designs = {
        "this design": (scenes, seeds),
        "twice the scenes": (2 * scenes, seeds),
        "twice the seeds": (scenes, 2 * seeds),
    }
    for name, (n, s) in designs.items():
        yield f"# {name}: {n} scenes, {s} seeds find {100 * resolvable(n, s):.2f} pp with 80 % power"
    if seeds < FEWEST_SEEDS:
        yield f"# with fewer than {FEWEST_SEEDS} seeds no improvement can be claimed"


def family_lines(p_values: Mapping[str, float]) -> Iterator[str]:
    """The comparisons of a study judged together: p-values after Holm, over as many as were declared."""
    if len(p_values) < 2:
        return
    yield f"# {len(p_values)} comparisons declared; after Holm any false finding among them stays below 5 %:"
    for name, before, after in zip(
        p_values, p_values.values(), adjust(np.array([*p_values.values()])), strict=True
    ):
        yield f"#   {name}: p = {before:.3f}, after Holm {after:.3f}"
