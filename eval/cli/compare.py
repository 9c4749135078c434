"""`tim-eval compare`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from augment_store.cli.parser import add_layout_argument
from augment_store.io.remote import as_path
from eval.api import compare_runs
from eval.compare.verdict import Grade, Verdict
from eval.errors import EvaluationError

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
    comparison = compare_runs(
        args.baseline,
        args.candidate,
        _named_controls(args.control),
        out=args.out,
        chips=args.chips,
        layout=args.layout,
        pictures=args.pictures,
        study=args.study,
        comparison=args.comparison,
    )
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


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number}; expected 0 or more")
    return number
