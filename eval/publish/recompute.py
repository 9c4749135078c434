"""A report's numbers computed again from its `counts.csv`, so that an edited report is not published."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment_store.io.files import read_text
from eval.compare.inference import Estimate, PairedArms, compare
from eval.compare.report.files import TABLE
from eval.compare.report.model import Report
from eval.compare.report.table import COLUMNS
from eval.compare.verdict import IMPROVEMENT_FROM, format_interval
from eval.errors import EvaluationError
from eval.score.metrics import MIOU
from eval.score.record import Score

TOLERANCE = 1e-8
"""Differences, as shares, that another computer's rounding may make."""


@dataclass(frozen=True)
class CountsTable:
    """What `counts.csv` holds.

    Attributes:
        path: The file.
        counts: Counts ``[run, scene, class, class + 1]`` by arm.
        seeds: Seed of each run by arm, as text.
        folds: Number of folds of a cross-validation, 0 for one test split.
    """

    path: Path
    counts: Mapping[str, NDArray[np.int64]]
    seeds: Mapping[str, tuple[str, ...]]
    folds: int

    def pair(self, arm: str, other: str, *, by_seed: bool) -> PairedArms:
        """Pair two arms, their runs matched by seed if the report says so."""
        ours = self.counts[arm]
        if by_seed:
            ours = ours[[self.seeds[arm].index(seed) for seed in self.seeds[other]]]
        return PairedArms(self.counts[other], ours, by_seed, (MIOU,), self.folds)


def read_counts(folder: Path, report: Report) -> CountsTable:
    """Read the counts beside a report.

    Raises:
        EvaluationError: If the file is missing, damaged, or not of this report's arms, scenes and classes.
    """
    path = folder / TABLE
    if not path.is_file():
        raise EvaluationError(
            f"{path}: no such file, so the report's numbers cannot be checked; compare again"
        )
    classes, scenes = len(report.test.classes), len(report.test.scenes)
    runs: dict[str, dict[str, list[int]]] = {}
    seeds: dict[str, dict[str, str]] = {}
    try:
        for row in csv.DictReader(read_text(path).splitlines()):
            arm, run, seed = (row[name] for name in COLUMNS[:3])
            # a run's rows are in the table's fixed order, so their pixels alone are kept
            runs.setdefault(arm, {}).setdefault(run, []).append(int(row["pixels"]))
            seeds.setdefault(arm, {})[run] = seed
        shape = (scenes, classes, classes + 1)  # the table's rows run through classes fastest, then scenes
        # a row too many or too few does not fit the shape: a ValueError
        counts = {
            arm: np.stack([np.reshape(run, shape) for run in found.values()]) for arm, found in runs.items()
        }
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise EvaluationError(f"{path}: not the counts of this report ({error}); compare again") from error
    expected = {arm.name: len(arm.runs) for arm in report.arms}
    if {arm: len(found) for arm, found in counts.items()} != expected:
        raise EvaluationError(f"{path}: holds other arms or runs than the report; compare again")
    named = {arm: tuple(found.values()) for arm, found in seeds.items()}
    return CountsTable(path, counts, named, report.statistics.folds)


def check_numbers(folder: Path, report: Report) -> CountsTable:
    """Make sure that a report's differences and its claim follow from its counts.

    Raises:
        EvaluationError: Naming the number that does not.
    """
    table = read_counts(folder, report)
    found = _estimate(table, report.candidate.name, report.baseline.name)
    _check_recomputed(table, "the candidate against the baseline", report.difference, found)
    # the report has this difference twice, and either could be edited
    _check_recomputed(table, "the candidate against the baseline", report.compared().miou, found)
    beaten = True
    for control in report.controls:
        against = _estimate(table, report.candidate.name, control.name)
        said = control.candidate_to_this
        if said is None:
            raise EvaluationError(
                f"{folder}: the report lacks the comparison with control {control.name}; compare again"
            )
        _check_recomputed(table, f"the candidate against control {control.name}", said.miou, against)
        beaten &= against.is_above_zero
    _check_claim(folder, report, found, beaten=beaten)
    return table


def _estimate(table: CountsTable, arm: str, other: str) -> Estimate:
    """Compute a difference as `compare` does: paired by seed where both arms have the same seeds."""
    ours, theirs = table.seeds[arm], table.seeds[other]
    # an empty seed is an unknown one
    by_seed = "" not in (*ours, *theirs) and sorted(ours) == sorted(theirs)
    (found,) = compare(table.pair(arm, other, by_seed=by_seed))[MIOU.key]
    return found


def _check_recomputed(table: CountsTable, what: str, said: Estimate, found: Estimate) -> None:
    for name in ("difference", "low", "high", "p_value"):
        ours, theirs = getattr(said, name), getattr(found, name)
        if not _same_numbers(ours, theirs):
            raise EvaluationError(
                f"{table.path.with_name('report.json')}: {name} of {what} is {ours}, but {table.path.name} gives "
                f"{theirs}; one of them was changed: compare again"
            )


def _same_numbers(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=TOLERANCE)


def _check_claim(folder: Path, report: Report, found: Estimate, *, beaten: bool) -> None:
    """Make sure that what is claimed could be: the numbers allow it, and nothing is said to be lacking."""
    verdict = report.verdict
    possible = (
        found.is_above_zero and found.difference >= IMPROVEMENT_FROM and beaten and bool(report.controls)
    )
    possible = possible and bool(report.family.dates) and not verdict.lacking
    if verdict.claimed and not possible:
        raise EvaluationError(
            f"{folder}: the report claims an improvement that its numbers do not allow; compare again"
        )
    # `decide` claims just where nothing is lacking, so one of the two was edited
    if not verdict.claimed and not verdict.lacking:
        raise EvaluationError(
            f"{folder}: the report names nothing that a claim lacks, and claims nothing; compare again"
        )
    # the headline is prose, so its numbers are checked as text
    if format_interval(found) not in verdict.headline:
        raise EvaluationError(
            f"{folder}: the verdict's headline does not say {format_interval(found)}; compare again"
        )


def check_own_counts(table: CountsTable, report: Report, score: Score, checkpoint_sha256: str) -> None:
    """Make sure that the table holds the counts of the run to be published, as its own score has them.

    Raises:
        EvaluationError: If they differ.
    """
    own: dict[str, Any] = dict(zip(score.counts.scenes, score.counts.by_scene(), strict=True))
    digests = [run.origin.checkpoint_sha256 for run in report.candidate.runs]
    said = table.counts[report.candidate.name][digests.index(checkpoint_sha256)]
    # the score may have more scenes: those without a reference are not in the report
    there = set(report.test.scenes) <= set(own)
    if not there or not np.array_equal(np.stack([own[scene] for scene in report.test.scenes]), said):
        raise EvaluationError(
            f"{table.path}: its counts of {score.folder} are not those of its score; compare again"
        )
