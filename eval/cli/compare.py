"""`tim-eval compare`."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from augment_store.cli.parser import add_layout_argument
from augment_store.io.files import atomic_write
from augment_store.io.remote import as_path
from augment_store.utils.text import utc_now
from eval.compare.arms import Comparison
from eval.compare.comparison import compare_arms
from eval.compare.declaration import study_context
from eval.compare.report import files
from eval.compare.report.document import make_report
from eval.compare.report.markdown import to_markdown
from eval.compare.report.page import write_page
from eval.compare.report.pictures import choose, find_pictures
from eval.compare.report.table import to_csv
from eval.compare.verdict import Grade, Verdict
from eval.errors import EvaluationError
from eval.score.folds import check_folds, fold_runs, pool_folds
from eval.score.record import Score, ScoreSource, is_scored, run_of
from finetune.run.manifest import MANIFEST, RunManifest
from finetune.run.preflight import PathOverrides
from terramind_weights.weight_files import sha256_of_file

EXAMPLES: Final = """
tim-eval compare --baseline runs/baseline --candidate runs/tim_lulc --out report
"""

REQUIREMENTS: Final = ("acceptable", "conclusive", "improvement", "strong")

SIGN_ALONE: Final = "looks only at the sign of the point estimate, while the interval covers zero"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `compare`."""
    parser.add_argument(
        "--baseline",
        type=Path,
        nargs="+",
        required=True,
        metavar="RUN",
        help="runs of the baseline, one per seed; a folder of runs fold_1, fold_2, … is one run, cross-validated",
    )
    parser.add_argument(
        "--candidate", type=Path, nargs="+", required=True, metavar="RUN", help="runs of the candidate"
    )
    parser.add_argument(
        "--control",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=RUN",
        help="runs that could explain a difference away; repeat the name for each seed",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the report")
    parser.add_argument(
        "--require",
        choices=REQUIREMENTS,
        nargs="+",
        default=[],
        help="exit with 1 unless the point estimate is not negative, whatever its interval (acceptable), the interval "
        "excludes zero (conclusive), an improvement is claimed (improvement), or one whose whole interval is above "
        "+2 pp (strong)",
    )
    parser.add_argument(
        "--chips",
        type=as_path,
        metavar="DIR",
        help="where the chip set is now, for pictures (default: where it was scored)",
    )
    add_layout_argument(parser, "the one it was scored with")
    parser.add_argument(
        "--pictures",
        type=_count,
        default=4,
        metavar="N",
        help="number of chips to show that gained most, and that lost most (default: 4)",
    )
    parser.add_argument(
        "--study",
        type=Path,
        metavar="DIR",
        help="out folder of the study that declared this comparison (a study passes it); without one there is no claim",
    )
    parser.add_argument(
        "--comparison", metavar="NAME", help="name of the comparison in that study (a study passes it)"
    )


def run(args: argparse.Namespace) -> int:
    """Compare, write the report and print the verdict.

    Returns:
        0 with any verdict; 1 if it falls short of `--require`.

    Raises:
        AugmentStoreError: If runs cannot be compared, or the report cannot be written.
    """
    # baseline and candidate first: the comparison takes arms by position
    arms = {"baseline": args.baseline, "candidate": args.candidate, **_named_controls(args.control)}
    if (args.study is None) != (args.comparison is None):
        raise EvaluationError("--study and --comparison go together: a study declares comparisons by name")
    study = None if args.study is None else functools.partial(study_context, args.study, args.comparison)
    comparison = compare_arms(
        {name: [_find_score(run) for run in runs] for name, runs in arms.items()}, study
    )
    _write_report(comparison, args)
    verdict = comparison.verdict
    sys.stdout.write("\n".join([verdict.headline, *(f"  {words}" for words in verdict.words)]) + "\n")
    if "acceptable" in args.require and verdict.inconclusive:
        sys.stdout.write(f"  --require acceptable: {SIGN_ALONE}.\n")
    sys.stdout.write(f"{args.out / 'report.html'}\n")
    return 0 if all(_reaches(verdict, wanted) for wanted in args.require) else 1


def _reaches(verdict: Verdict, wanted: str) -> bool:
    if wanted == "conclusive":
        return not verdict.inconclusive
    if wanted == "acceptable":
        return verdict.grade.reaches(Grade.ACCEPTABLE)
    # a grade alone is not enough: a strong difference may lack seeds or controls
    return verdict.claimed and (wanted == "improvement" or verdict.grade is Grade.STRONG)


def _named_controls(entries: Sequence[str]) -> dict[str, list[Path]]:
    """Return the runs of each control, by name."""
    controls: dict[str, list[Path]] = {}
    for entry in entries:
        name, _, folder = entry.partition("=")
        if not name or not folder or name in ("baseline", "candidate"):
            raise EvaluationError(f"--control {entry}: expected NAME=RUN, the name not baseline or candidate")
        controls.setdefault(name, []).append(Path(folder))
    return controls


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
        from eval.score.load import open_run
        from eval.score.predict import score as make_score

        make_score(open_run(folder, "best", PathOverrides()), folder)
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


def _write_report(comparison: Comparison, args: argparse.Namespace) -> None:
    report = make_report(comparison, utc_now())
    shown = find_pictures(comparison, args.chips, args.layout)
    with files.replaced(args.out) as folder:
        written = {files.REPORT: report.model_dump_json(indent=1) + "\n", files.MARKDOWN: to_markdown(report)}
        for name, text in written.items():
            atomic_write(folder / name, [text.encode()])
        atomic_write(folder / files.TABLE, to_csv(comparison))
        write_page(folder / files.PAGE, report, shown, choose(report.chips, args.pictures))


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number}; expected 0 or more")
    return number
