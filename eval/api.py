"""Scores and comparisons as functions, for notebooks and scripts; the commands call them and print what they return."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from augment_store.chips.chip_set import ChipSet
from augment_store.io.files import atomic_write
from augment_store.io.remote import as_path
from augment_store.store.writer import AugmentStore
from augment_store.utils.text import utc_now
from eval.compare.arms import BASELINE, CANDIDATE, Comparison
from eval.compare.comparison import compare_arms
from eval.compare.declaration import study_context
from eval.compare.report import files
from eval.compare.report.document import make_report
from eval.compare.report.markdown import to_markdown
from eval.compare.report.page import write_page
from eval.compare.report.pictures import choose, find_pictures
from eval.compare.report.table import to_csv
from eval.errors import EvaluationError
from eval.score.calibration import Reliability
from eval.score.folds import check_folds, fold_runs, pool_folds
from eval.score.record import Score, ScoreSource, is_scored, run_of
from eval.score.zero_shot import masks_legend, score_store
from finetune.run.manifest import MANIFEST, RunManifest
from finetune.run.preflight import PathOverrides
from finetune.run.temperature import Temperature
from finetune.run.yaml_file import read_yaml
from terramind_weights.weight_files import sha256_of_file

ALL_SAMPLES: Final = "all"
"""Which of several generated samples are scored: each, and the mean of their class probabilities."""


@dataclass(frozen=True)
class ScoredRun:
    """What scoring a run gave.

    Attributes:
        scores: Its score; or those of each generated sample, then that of all of them.
        temperature: What its logits are divided by, if it was calibrated.
        reliability: How reliable stated probabilities are, as trained and calibrated.
    """

    scores: tuple[Score, ...]
    temperature: Temperature | None = None
    reliability: Mapping[str, Reliability] | None = None


def score_runs(
    runs: str | Path | Sequence[str | Path],
    *,
    checkpoint: str | Path = "best",
    config: str | Path | None = None,
    samples: str = "first",
    calibrate: bool = False,
    cache: bool = True,
    chips: str | Path | None = None,
    layout: str | None = None,
    store: str | Path | None = None,
) -> tuple[Score, ...]:
    """Score runs on their test split, as `tim-eval score` does, and keep the scores with them.

    Args:
        runs: Run directories; with `config`, one folder to make.
        checkpoint: ``best`` or ``last``; with `config`, the checkpoint's file.
        config: YAML by which a checkpoint that no run recorded was trained.
        samples: Of several generated samples the ``first``, or ``all`` of them and their mean.
        calibrate: Also fit a temperature on the validation split, and keep it with the run.
        cache: Whether to read only those chips that changed since a run beside this one read them.
        chips: Where the chip set is now; None for where the run read it.
        layout: Layout of the chips there.
        store: Where the store is now; None for where the run read it.

    Returns:
        The scores in the order of the runs; with ``samples="all"`` of each sample, then of all of them.

    Raises:
        AugmentStoreError: If a run, its data or its checkpoint cannot be used.

    Example:
        >>> score_runs(["runs/base", "runs/tim"])  # doctest: +SKIP
    """
    folders = [runs] if isinstance(runs, str | Path) else runs
    paths = PathOverrides(
        None if chips is None else as_path(chips), None if store is None else as_path(store), layout
    )
    given = None if config is None else Path(config)
    found = score_each(
        [Path(run) for run in folders],
        str(checkpoint),
        given,
        paths,
        samples=samples,
        calibrated=calibrate,
        cache=cache,
    )
    return tuple(made for one in found for made in one.scores)


def score_each(
    runs: Sequence[Path],
    checkpoint: str,
    config: Path | None,
    paths: PathOverrides,
    *,
    samples: str,
    calibrated: bool,
    cache: bool,
) -> Iterator[ScoredRun]:
    """Score runs one after another; see `score_runs`.

    Args:
        runs: Run directories.
        checkpoint: Which weights.
        config: YAML of a checkpoint that no run recorded.
        paths: Where chips and store are now.
        samples: Which generated samples.
        calibrated: Whether to fit a temperature.
        cache: Whether to read only chips that changed.

    Yields:
        What is found of each run, once it is kept.

    Raises:
        AugmentStoreError: If a run, its data or its checkpoint cannot be used; of all runs before the first is scored.
    """
    manifests = _check_runs(runs, checkpoint, config, paths, samples=samples, calibrated=calibrated)
    from eval.score.load import open_checkpoint, open_run
    from eval.score.predict import score, score_samples  # torch and TerraTorch are imported from here on
    from eval.score.temperature import calibrate

    for folder in runs:
        loaded = (
            open_run(folder, checkpoint, paths, manifests[folder])
            if config is None
            else open_checkpoint(config, Path(checkpoint), paths)
        )
        scores = (
            score_samples(loaded, folder, cache=cache)
            if samples == ALL_SAMPLES
            else (score(loaded, folder, cache=cache),)
        )
        yield (
            ScoredRun(scores, *calibrate(loaded, folder, manifests[folder]))
            if calibrated
            else ScoredRun(scores)
        )


def _check_runs(
    runs: Sequence[Path],
    checkpoint: str,
    config: Path | None,
    paths: PathOverrides,
    *,
    samples: str,
    calibrated: bool,
) -> dict[Path, RunManifest]:
    """Make sure that every run, and what the options name, is there before the first is scored.

    Returns:
        Manifest of each run, which is read once.
    """
    if samples not in ("first", ALL_SAMPLES):
        raise EvaluationError(f"--samples {samples}: expected first or {ALL_SAMPLES}")
    if config is None and checkpoint not in ("best", "last"):
        raise EvaluationError(
            f"--checkpoint {checkpoint}: expected best or last; a file also needs its --config YAML"
        )
    if config is not None and (checkpoint in ("best", "last") or len(runs) > 1):
        raise EvaluationError("--config takes one folder to write to, and the file that --checkpoint names")
    if config is not None and calibrated:
        raise EvaluationError(
            "--calibrate: a temperature is kept with a run, and --config names none; leave one of them out"
        )
    if config is not None:
        read_yaml(config)
        if not Path(checkpoint).is_file():
            raise EvaluationError(f"--checkpoint {checkpoint}: no such file")
    paths.check()
    return {folder: RunManifest.read(folder) for folder in (runs if config is None else ())}


def score_maps(
    store: str | Path,
    chips: str | Path,
    out: str | Path,
    *,
    layout: str | None = None,
    legend: str | Path | None = None,
) -> tuple[Score, Mapping[str, Reliability]]:
    """Score the generated maps themselves, as `tim-eval zero-shot` does.

    Args:
        store: Folder of a LULC store.
        chips: Chip set it was generated from, with a test split.
        out: Folder to make; give it to `compare_runs` as a control.
        layout: Layout of the chip set, None to detect it.
        legend: Legend table to the masks' classes; None for the layout's.

    Returns:
        The score, and how reliable the stated probabilities are.

    Raises:
        AugmentStoreError: If the store, the chips or the table cannot be used.
    """
    opened, known = AugmentStore.open(as_path(store)), ChipSet.open(as_path(chips), layout)
    table = masks_legend(known, None if legend is None else Path(legend))
    return score_store(opened, known.with_legend(table), table, Path(out), layout)


def compare_runs(
    baseline: str | Path | Sequence[str | Path],
    candidate: str | Path | Sequence[str | Path],
    controls: Mapping[str, str | Path | Sequence[str | Path]] | None = None,
    *,
    out: str | Path | None = None,
    chips: str | Path | None = None,
    layout: str | None = None,
    pictures: int = 4,
    study: str | Path | None = None,
    comparison: str | None = None,
) -> Comparison:
    """Compare a candidate with a baseline and controls, as `tim-eval compare` does.

    Runs that have no score yet are scored first.

    Args:
        baseline: Run directories of the baseline, one for each seed.
        candidate: Run directories of the candidate.
        controls: Runs that could explain a difference away, by name.
        out: Folder for the report; None to write none.
        chips: Where the chip set is now, for pictures; None for where it was scored.
        layout: Layout of the chips there.
        pictures: Number of chips to show that gained most, and that lost most.
        study: Folder of the study that declared this comparison; without one there is no claim.
        comparison: Name of the comparison in that study.

    Returns:
        The comparison, which shows itself in a notebook.

    Raises:
        AugmentStoreError: If runs cannot be compared, or the report cannot be written.

    Example:
        >>> compare_runs("runs/base", "runs/tim", {"shuffle": "runs/shuffle"}, out="report")  # doctest: +SKIP
    """
    if (study is None) != (comparison is None):
        raise EvaluationError("--study and --comparison go together: a study declares comparisons by name")
    declared = None
    if study is not None and comparison is not None:
        declared = functools.partial(study_context, Path(study), comparison)
    if taken := {BASELINE, CANDIDATE} & {*(controls or {})}:
        raise EvaluationError(f"controls: {min(taken)!r} is the name of an arm; name the control otherwise")
    # baseline and candidate first: the comparison takes arms by position
    arms = {BASELINE: baseline, CANDIDATE: candidate, **(controls or {})}
    scores = {
        name: [_find_score(Path(run)) for run in ([runs] if isinstance(runs, str | Path) else runs)]
        for name, runs in arms.items()
    }
    compared = compare_arms(scores, declared)
    if out is not None:
        _write_report(compared, Path(out), None if chips is None else as_path(chips), layout, pictures)
    return compared


def _find_score(folder: Path) -> Score:
    """Return the score of a run's present weights, or of its folds; a run without a score is scored now."""
    if folds := fold_runs(folder):
        check_folds(folder, folds)
        return pool_folds(folder, [_find_score(fold) for fold in folds])
    run = run_of(folder)
    if not (run / MANIFEST).is_file():
        score = Score.read(folder)
        if score.origin.kind is ScoreSource.RUN:
            raise EvaluationError(
                f"{folder}: holds the score of a run but no {MANIFEST}, so there is no record of what was trained; "
                "copy the whole run directory"
            )
        return score
    if run != folder and not is_scored(folder):
        raise EvaluationError(f"{folder}: not scored yet; run tim-eval score {run} --samples all")
    if not is_scored(folder):
        # torch and TerraTorch are imported here: scored runs are compared in seconds without them
        score_runs(folder)
    score = Score.read(folder)
    if score.origin.kind is ScoreSource.RUN:
        _check_current(score)
    return score


def _check_current(score: Score) -> None:
    """Make sure that a score is of the run's present checkpoint; if checkpoints were deleted, it cannot be stale."""
    run = run_of(score.folder)
    manifest = RunManifest.read(run)
    manifest.check_complete(run)
    # either checkpoint may be the scored one, so it is enough if one of those present is
    there = [path for name in manifest.checkpoints.values() if (path := run / name).is_file()]
    if there and all(sha256_of_file(path) != score.origin.checkpoint_sha256 for path in there):
        raise EvaluationError(
            f"{score.folder}: its score is of weights that it no longer has; run tim-eval score {run}"
        )


def _write_report(
    comparison: Comparison, out: Path, chips: Path | None, layout: str | None, pictures: int
) -> None:
    report = make_report(comparison, utc_now())
    shown = find_pictures(comparison, chips, layout)
    with files.replaced(out) as folder:
        atomic_write(folder / files.REPORT, [report.model_dump_json(indent=1).encode(), b"\n"])
        atomic_write(folder / files.MARKDOWN, [to_markdown(report).encode()])
        atomic_write(folder / files.TABLE, to_csv(comparison))
        write_page(folder / files.PAGE, report, shown, choose(report.chips, pictures))
