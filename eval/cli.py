"""Command line of evaluation: scores, comparisons, studies and what is published of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from augment_store.command_line import Command, run_guarded
from augment_store.quiet import quieten_libraries
from eval.compare import command as compare_command
from eval.publish import command as publish_command
from eval.score import command as score_command
from eval.score import maps_command as zero_shot_command
from eval.study import command as study_command

COMMANDS: Final = {
    "score": Command(score_command.SUMMARY, score_command.add_arguments, score_command.run),
    "compare": Command(compare_command.SUMMARY, compare_command.add_arguments, compare_command.run),
    "zero-shot": Command(zero_shot_command.SUMMARY, zero_shot_command.add_arguments, zero_shot_command.run),
    "study": Command(study_command.SUMMARY, study_command.add_arguments, study_command.run),
    "publish": Command(publish_command.SUMMARY, publish_command.add_arguments, publish_command.run),
}


def main(arguments: Sequence[str]) -> int:
    """Entry point of `python -m eval`; returns the exit status."""
    parser = argparse.ArgumentParser("python -m eval", description=__doc__.split(":")[0], allow_abbrev=False)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(subparsers.add_parser(name, help=command.help, description=command.help))
    parsed = parser.parse_args(arguments)
    quieten_libraries()
    return run_guarded(lambda: COMMANDS[parsed.command].run(parsed))
