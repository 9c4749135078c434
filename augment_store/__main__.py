"""`python -m augment_store`: looks at stores and exports them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from augment_store.errors import AugmentStoreError
from augment_store.inspect import command as inspect_command

COMMANDS = {"inspect": inspect_command}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a subcommand; an error a user can act on is one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m augment_store", description=__doc__)
    parsers = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(parsers.add_parser(name, help=command.SUMMARY, description=command.SUMMARY))
    args = parser.parse_args(arguments)
    try:
        return COMMANDS[args.command].run(args)
    except AugmentStoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
