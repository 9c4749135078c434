"""`tim-eval plan`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from eval.compare.planner import next_experiment
from eval.publish.report import read_report

EXAMPLES: Final = """
tim-eval plan studies/demo/reports/main --goal 1.0
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `plan`."""
    parser.add_argument("report", type=Path, metavar="REPORT", help="folder that compare wrote its report to")
    parser.add_argument(
        "--goal",
        type=_goal,
        default=0.02,
        metavar="PP",
        help="true gain in mIoU that is to be claimed, in percentage points (default: 2)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the cheapest experiment that would claim the goal.

    Raises:
        EvaluationError: If there is no report, or it is of another version.
    """
    report = read_report(args.report)
    controls = max(1, len(report.controls))  # without one nothing is claimed
    lines = next_experiment(report.difference.parts, args.goal, controls, report.hours_per_run)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def _goal(text: str) -> float:
    """Parse percentage points, as a share."""
    number = float(text)
    if not 0 < number <= 100:
        raise argparse.ArgumentTypeError(f"{text}; expected points above 0, to 100")
    return number / 100
