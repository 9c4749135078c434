"""Command line of evaluation: scores, comparisons, studies and publishing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from augment_store.command_line import Command, add_commands, new_parser, run_guarded
from augment_store.quiet import quieten
from eval.compare import command as compare_command
from eval.publish import command as publish_command
from eval.score import command as score_command
from eval.score import maps_command as zero_shot_command
from eval.study import command as study_command
from finetune.quiet import LOGGERS, REMARKS

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
    quieten(REMARKS, LOGGERS)
    return run_guarded(lambda: COMMANDS[parsed.command].run(parsed))
