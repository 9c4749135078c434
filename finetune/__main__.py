"""`python -m finetune fit · validate · test · predict`, and the console script `tim-finetune`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from augment_store.cli.parser import run_guarded
from augment_store.store.history import command_line
from finetune.api import execute
from finetune.options import parse


def main(arguments: Sequence[str]) -> int:
    """Run a command; return the exit status."""
    return run_guarded(lambda: _run(arguments), command_line("finetune", arguments))


def _run(arguments: Sequence[str]) -> int:
    execute(parse(arguments))
    return 0


def script() -> int:
    """Run as the console script."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(script())
