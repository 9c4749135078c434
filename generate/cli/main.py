"""Command line of stage 1: generation, and its subcommands."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Final

from augment_store.cli.parser import run_guarded
from augment_store.store.history import command_line

COMMANDS: Final[Mapping[str, str]] = {"audit": "generate.cli.audit", "decode": "generate.cli.decode"}
"""Modules of the subcommands, each imported when it is used."""

GENERATE: Final = "generate.cli.generate"
"""Module of the command without a subcommand."""


def main(arguments: Sequence[str]) -> int:
    """Entry point of `tim-generate`; return the exit status."""
    name, words = GENERATE, list(arguments)
    if words and words[0] in COMMANDS:
        name, words = COMMANDS[words[0]], words[1:]
    # parsing is guarded too: help goes to a terminal that may know ASCII alone
    return run_guarded(
        lambda: importlib.import_module(name).prepare(words)(), command_line("generate", arguments)
    )
