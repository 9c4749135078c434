"""What a difference rests on: the one scene and the one seed without which least of it is left."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from eval.compare.arms import Comparison
from eval.compare.comparison import paired
from eval.compare.inference import PairedArms, compare
from eval.compare.report.model import LeftOut
from eval.compare.verdict import format_interval
from eval.score.metrics import MIOU

MIN_UNITS: Final = 3
"""Scenes or seeds from which on one can be left out and an interval still has two."""


def left_out(comparison: Comparison) -> list[LeftOut]:
    """Compare again without the scene, and without the seed, on which the difference in mIoU rests most."""
    pair = dataclasses.replace(paired(comparison.candidate, comparison.baseline), metrics=(MIOU,))
    whole = float(pair.differences()[0])
    return [*_without_a_scene(pair, whole, comparison.scenes), *_without_a_seed(pair, whole, comparison)]


def _without_a_scene(pair: PairedArms, whole: float, names: Sequence[str]) -> Iterator[LeftOut]:
    if pair.scenes >= MIN_UNITS:
        index = _nearest_to_zero(pair.differences_without_each()[:, 0], whole)
        # [seed, scene, class, class + 1]
        rest = (np.delete(arm, index, axis=1) for arm in (pair.baseline, pair.candidate))
        yield _entry("scene", names[index], pair, *rest)


def _without_a_seed(pair: PairedArms, whole: float, comparison: Comparison) -> Iterator[LeftOut]:
    # of runs that are not paired, leaving out one of either arm would change which are compared
    if pair.by_seed and len(pair.baseline) >= MIN_UNITS:
        [(_, each)] = pair.seed_variation()
        seeds = len(each)
        index = _nearest_to_zero((each[:, 0].sum() - each[:, 0]) / (seeds - 1), whole)
        rest = (np.delete(arm, index, axis=0) for arm in (pair.baseline, pair.candidate))
        # `paired` brings the candidate's runs into the order of the baseline's
        yield _entry("seed", str(comparison.baseline.scores[index].origin.seed), pair, *rest)


def _nearest_to_zero(differences: NDArray[np.float64], whole: float) -> int:
    """Return the unit without which least of the difference is left, or most of its opposite."""
    return int(np.argmin(differences * (1 if whole >= 0 else -1)))


def _entry(
    kind: Literal["scene", "seed"],
    name: str,
    pair: PairedArms,
    baseline: NDArray[np.int64],
    candidate: NDArray[np.int64],
) -> LeftOut:
    rest = dataclasses.replace(pair, baseline=baseline, candidate=candidate)
    (found,) = compare(rest)[MIOU.key]
    words = f"Without {kind} {name}, on which it rests most, the difference is {format_interval(found)}."
    return LeftOut(kind=kind, name=name, difference=found, words=words)
