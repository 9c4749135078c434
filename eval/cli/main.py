"""Command line of evaluation: scores, comparisons, studies and publishing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from augment_store.cli.parser import Command, run_command
from augment_store.utils.log_filters import filter_warnings
from finetune.log_filters import LOGGERS, REMARKS

COMMANDS: Final = {
    "score": Command(
        "eval.cli.score", "confusion counts, metrics and predicted maps of runs on their test split"
    ),
    "compare": Command(
        "eval.cli.compare", "compare a candidate with a baseline and controls: verdict, intervals, report"
    ),
    "zero-shot": Command(
        "eval.cli.zero_shot",
        "score the generated maps themselves, through a legend table; a control for compare",
    ),
    "study": Command(
        "eval.cli.study", "arms × seeds with their controls: runs what is missing, from generation to report"
    ),
    "plan": Command(
        "eval.cli.plan", "the cheapest next experiment that could claim a gain, by a report's spread"
    ),
    "publish": Command(
        "eval.cli.publish", "a run as a folder for Hugging Face: weights, configuration, model card, report"
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Run `tim-eval` and return its exit status."""
    filter_warnings(REMARKS, LOGGERS)
    return run_command("eval", __doc__, "", COMMANDS, arguments)
