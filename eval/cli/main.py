"""Command line of evaluation: scores, comparisons, studies and publishing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from augment_store.cli.parser import Command, add_commands, new_parser, run_guarded
from augment_store.utils.log_filters import filter_warnings
from eval.cli import compare as compare_command
from eval.cli import publish as publish_command
from eval.cli import score as score_command
from eval.cli import study as study_command
from eval.cli import zero_shot as zero_shot_command
from finetune.log_filters import LOGGERS, REMARKS

COMMANDS: Final = {
    "score": Command(score_command.SUMMARY, score_command.add_arguments, score_command.run),
    "compare": Command(compare_command.SUMMARY, compare_command.add_arguments, compare_command.run),
    "zero-shot": Command(zero_shot_command.SUMMARY, zero_shot_command.add_arguments, zero_shot_command.run),
    "study": Command(study_command.SUMMARY, study_command.add_arguments, study_command.run),
    "publish": Command(publish_command.SUMMARY, publish_command.add_arguments, publish_command.run),
}


def main(arguments: Sequence[str]) -> int:
    """Entry point of `python -m eval`; returns the exit status."""
    parser = new_parser("eval", __doc__)
    add_commands(parser, COMMANDS)
    parsed = parser.parse_args(arguments)
    filter_warnings(REMARKS, LOGGERS)
    return run_guarded(lambda: COMMANDS[parsed.command].run(parsed))
