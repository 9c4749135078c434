"""Command line of the store: subcommands, and how errors become a line and an exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from augment_store.chips.layouts import LAYOUTS
from augment_store.command_line import Command, positive, run_guarded
from augment_store.export import command as export_command
from augment_store.files import printable
from augment_store.inspect import command as inspect_command


def _info_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", type=Path, metavar="STORE", help="folder of the store")
    parser.add_argument("--json", action="store_true", help="print plain JSON instead of tables")


def _info(parsed: argparse.Namespace) -> int:
    import json

    from rich.console import Console

    from augment_store.inspect.info import render_info, summarize
    from augment_store.store import AugmentStore

    store = AugmentStore.open(parsed.store)
    if parsed.json:
        sys.stdout.write(json.dumps(summarize(store), indent=1) + "\n")
    else:
        Console().print(render_info(store))
    return 0


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", type=Path, metavar="STORE", help="folder of the store")
    parser.add_argument("--chips", type=Path, metavar="DIR", help="also compare with these chips")
    parser.add_argument(
        "--layout", choices=LAYOUTS, help="layout of the chips (default: found automatically)"
    )
    parser.add_argument(
        "--sample",
        type=positive,
        metavar="N",
        help="read the maps and inputs of N chips drawn at random; everything else is checked of all (default: all)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed for random draws (default: %(default)s)")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="mend what can be mended, and set damaged chips back to be generated again",
    )


def _verify(parsed: argparse.Namespace) -> int:
    from augment_store.chips.chip_set import ChipSet
    from augment_store.lock import exclusive
    from augment_store.store import AugmentStore
    from augment_store.verify import repair, verify

    store = AugmentStore.open(parsed.store, mode="r+" if parsed.repair else "r", lost_ids=True)
    chip_set = ChipSet.open(parsed.chips, parsed.layout) if parsed.chips else None
    count, mendable = 0, []
    for problem in verify(store, chip_set, sample=parsed.sample, seed=parsed.seed):
        sys.stdout.write(f"{printable(str(problem))}\n")
        count += 1
        mendable += [problem] * bool(
            problem.positions
        )  # a store may have a million chips that are just pending
    total = len(store.chip_ids)
    looked = f", maps read of {min(parsed.sample, total)} (seed {parsed.seed})" if parsed.sample else ""
    sys.stdout.write(f"{store.path}: {f'{count} problems' if count else 'sound'}, {total} chips{looked}\n")
    if parsed.repair:
        with exclusive(store.path):
            reset = repair(store, mendable)
        sys.stdout.write(f"{reset} chips set back to pending; run the generate command again\n")
    return 1 if count else 0


COMMANDS: Final = {
    "info": Command("what is in a store, from what, by which spec", _info_arguments, _info),
    "verify": Command("whether a store can be trusted; exit 1 if not", _verify_arguments, _verify),
    "inspect": Command(inspect_command.SUMMARY, inspect_command.add_arguments, inspect_command.run),
    "export": Command(export_command.SUMMARY, export_command.add_arguments, export_command.run),
}


def main(arguments: Sequence[str]) -> int:
    """Entry point of `python -m augment_store`; returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m augment_store", description=__doc__.split(":")[0], allow_abbrev=False
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(subparsers.add_parser(name, help=command.help, description=command.help))
    parsed = parser.parse_args(arguments)
    return run_guarded(lambda: COMMANDS[parsed.command].run(parsed))
