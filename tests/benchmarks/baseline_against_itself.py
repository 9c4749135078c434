"""Does luck buy a claim? A study's arm against itself: `python -m tests.benchmarks.baseline_against_itself STUDY`.

Every run of the arm is compared with every other of its seeds, in both orders, and then halves of the seeds with each
other. Whatever is found is luck, so nothing may be claimed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

from augment_store.utils.text import utc_now
from eval.compare.comparison import compare_arms
from eval.compare.report.document import StudyContext, make_report
from eval.compare.report.model import Report
from eval.score.record import Score

Side = Sequence[Score]


def pairs(scores: Sequence[Score]) -> Iterator[tuple[Side, Side]]:
    """Ordered pairs of single runs: 30 for six seeds."""
    yield from (([first], [second]) for first, second in permutations(scores, 2))


def halves(scores: Sequence[Score]) -> Iterator[tuple[Side, Side]]:
    """The first half of the seeds against the second, in both orders."""
    half = len(scores) // 2
    yield from permutations((scores[:half], scores[half : 2 * half]), 2)


def compared(baseline: Side, candidate: Side) -> Report:
    """The report of one comparison."""
    found = compare_arms({"baseline": baseline, "candidate": candidate})
    return make_report(found, utc_now(), StudyContext())


def main(words: Sequence[str]) -> int:
    """Prints each comparison and how many claim an improvement; 1 where one does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="folder of a study that is done")
    parser.add_argument("--arm", default="baseline", help="arm compared with itself (default baseline)")
    args = parser.parse_args(words)
    runs = sorted(
        run for run in (args.study / "runs" / args.arm).iterdir() if run.is_dir()
    )  # not their locks
    scores = [Score.read(run) for run in runs]
    if len(scores) < 2:
        parser.error(f"{args.study}: {len(scores)} runs of {args.arm}; expected two or more")
    claims = 0
    for kind, sides in (("one run a side", pairs(scores)), ("half of the seeds a side", halves(scores))):
        reports = [compared(*side) for side in sides]
        claimed = [report for report in reports if report.verdict.claimed]
        largest = max(report.difference.difference for report in reports)
        sys.stdout.write(
            f"{kind}: {len(claimed)} of {len(reports)} ordered pairs claim an improvement; "
            f"largest difference {100 * largest:+.2f} pp\n"
        )
        claims += len(claimed)
    return 1 if claims else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
