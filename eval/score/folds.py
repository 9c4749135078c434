"""One score of the folds of a cross-validation: each scene is tested once, by a training on other scenes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from augment_store.utils.text import join_first
from eval.errors import EvaluationError
from eval.score.counts import Counts
from eval.score.record import Provenance, Score
from finetune.errors import RunError
from finetune.run.manifest import MANIFEST, DataRecord, RunManifest, SplitRecord

MIN_FOLDS: Final = 3
"""One fold is tested and one validates; the others are trained on."""

FOLD: Final = "fold_"
"""Beginning of the names of the run directories of a cross-validation, before the number from 1 on."""


def fold_runs(folder: Path) -> list[Path]:
    """Return the run directories of a cross-validation in the order of their numbers; empty where it is none."""
    found = [path.parent for path in folder.glob(f"{FOLD}*/{MANIFEST}")]
    return sorted((run for run in found if _number(run).isdigit()), key=lambda run: int(_number(run)))


def _number(run: Path) -> str:
    return run.name.removeprefix(FOLD)


def check_folds(folder: Path, runs: Sequence[Path]) -> None:
    """Make sure that a folder holds the folds of a cross-validation, and no run beside them.

    Args:
        folder: Folder of the folds' run directories.
        runs: Those directories, by `fold_runs`.

    Raises:
        EvaluationError: If folds are missing among them, or there is a run.
    """
    if (folder / MANIFEST).is_file():
        raise EvaluationError(
            f"{folder}: holds a run and the folds of a cross-validation; move one of them elsewhere"
        )
    names = [run.name for run in runs]
    if len(runs) < MIN_FOLDS or names != [f"{FOLD}{number}" for number in range(1, len(runs) + 1)]:
        raise EvaluationError(
            f"{folder}: holds {', '.join(names)}; expected {FOLD}1 to the last fold, {MIN_FOLDS} or more"
        )


def pool_folds(folder: Path, scores: Sequence[Score]) -> Score:
    """Join the scores of the folds of one seed: their counts side by side, as of one test split with all scenes.

    Args:
        folder: Folder of the folds' run directories.
        scores: Their scores, by the number of the fold.

    Raises:
        EvaluationError: If folds were trained with different seeds, or a scene was tested in two.
    """
    names = scores[0].counts.class_names
    if any(score.counts.class_names != names for score in scores):
        raise EvaluationError(f"{folder}: its folds have different classes; score folds of one class list")
    seeds = sorted({str(score.origin.seed) for score in scores})
    if len(seeds) > 1:
        raise EvaluationError(f"{folder}: its folds have the seeds {', '.join(seeds)}; expected one seed")
    tested = [scene for score in scores for scene in score.counts.scenes]
    twice = sorted({scene for scene in tested if tested.count(scene) > 1})
    if twice:
        raise EvaluationError(
            f"{folder}: scenes were tested in two folds ({join_first(twice)}); deal each scene to one fold"
        )
    counts = Counts(
        tuple(chip_id for score in scores for chip_id in score.counts.chip_ids),
        tuple(scene for score in scores for scene in score.counts.scene_ids),
        names,
        np.concatenate([score.counts.values for score in scores]),
    )
    return Score(folder, counts, _pool_origins(folder, [score.origin for score in scores]), tuple(scores))


def _pool_origins(folder: Path, origins: Sequence[Provenance]) -> Provenance:
    """Return the first fold's origin with the data of all folds; what folds must share is checked by the comparison."""
    runs = [origin.run for origin in origins if origin.run is not None]
    if len(runs) < len(origins):
        raise RunError(f"{folder}: a fold has no record of its training; copy the whole run directories")
    return dataclasses.replace(
        origins[0],
        source=str(folder.resolve()),
        checkpoint_sha256=_joint_digest([origin.checkpoint_sha256 for origin in origins]),
        test=join_splits([origin.test for origin in origins]),
        run=_pool_runs(runs),
    )


def _pool_runs(runs: Sequence[RunManifest]) -> RunManifest:
    first, records = runs[0], [run.data for run in runs]
    limits = [data.limited_to for data in records if data.limited_to is not None]
    return dataclasses.replace(
        first,
        # the earliest, since the declaration must come before all of them
        created=min(run.created for run in runs),
        complete=all(run.complete for run in runs),
        smoke=any(run.smoke for run in runs),
        data=dataclasses.replace(
            first.data,
            splits={
                name: join_splits([data.splits[name] for data in records])
                for name in first.data.splits
                if all(name in data.splits for data in records)
            },
            scene_overlap=tuple(sorted({scene for data in records for scene in data.scene_overlap})),
            shared_chips=_shared(records),
            limited_to=min(limits, default=None),
        ),
        # what one seed costs is what all of its folds cost
        cost=dataclasses.replace(
            first.cost,
            steps=sum(run.cost.steps for run in runs),
            wall_seconds=sum(run.cost.wall_seconds for run in runs),
        ),
        checkpoints={},
        checkpoint_sha256={},
    )


def _shared(records: Sequence[DataRecord]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({pair for data in records for pair in data.shared_chips}))


def join_splits(records: Sequence[SplitRecord]) -> SplitRecord:
    """Return one record of a split of all folds: sums, and the digest of the folds' digests in their order."""
    return SplitRecord(
        sum(record.chips for record in records),
        sum(record.scenes for record in records),
        *(
            _joint_digest([getattr(record, name) for record in records])
            for name in ("ids", "inputs", "masks")
        ),
    )


def _joint_digest(digests: Sequence[str]) -> str:
    """Return the SHA-256 of digests in their order; empty where one is unknown."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest() if all(digests) else ""
