"""Command line of the store and of what it is made from."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from augment_store.chips import cut_command, layouts_command
from augment_store.command_line import Command, add_commands, add_layout_argument, new_parser, run_guarded
from augment_store.export import command as export_command
from augment_store.files import printable
from augment_store.history import last_command
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
    add_layout_argument(parser)
    parser.add_argument(
        "--repair", action="store_true", help="set damaged chips back to pending, to be generated again"
    )


def _verify(parsed: argparse.Namespace) -> int:
    from augment_store.chips.chip_set import ChipSet
    from augment_store.lock import exclusive
    from augment_store.store import AugmentStore
    from augment_store.verify import repair, verify

    store = AugmentStore.open(parsed.store, mode="r+" if parsed.repair else "r", lost_ids=True)
    chip_set = ChipSet.open(parsed.chips, parsed.layout) if parsed.chips else None
    problems = []
    for problem in verify(store, chip_set):
        sys.stdout.write(f"{printable(str(problem))}\n")
        problems.append(problem)
    total = len(store.chip_ids)
    sys.stdout.write(f"{store.path}: {f'{len(problems)} problems' if problems else 'sound'}, {total} chips\n")
    if parsed.repair:
        with exclusive(store.path):
            count = repair(store, problems)
        again = last_command(store.history) or "the generate command"
        sys.stdout.write(f"{count} chips set back to pending; run again: {printable(again)}\n")
    return 1 if problems else 0


DESCRIPTION: Final = """\
An augment store holds what TerraMind generated for each chip: tokens, maps, confidence and where they came from, in
one Zarr folder. These commands look at a store, check it, export it, and prepare the chips it is made from."""

EXAMPLES: Final = """
python -m augment_store info stores/lulc
python -m augment_store verify stores/lulc --chips data/nyc
python -m augment_store inspect stores/lulc --chips data/nyc --html maps.html
python -m augment_store export stores/lulc --format cog --out maps
python -m augment_store layouts
python -m augment_store cut S2L2A=scene_s2.tif S1RTC=scene_s1.tif --out chips
"""

COMMANDS: Final = {
    "info": Command(
        "what is in a store, from what, by which spec and commands",
        _info_arguments,
        _info,
        "python -m augment_store info stores/lulc\npython -m augment_store info stores/lulc --json",
    ),
    "verify": Command(
        "whether a store can be trusted; exit 1 if not",
        _verify_arguments,
        _verify,
        "python -m augment_store verify stores/lulc --chips data/nyc\n"
        "python -m augment_store verify stores/lulc --repair",
    ),
    "inspect": Command(
        inspect_command.SUMMARY,
        inspect_command.add_arguments,
        inspect_command.run,
        "python -m augment_store inspect stores/lulc --png sheet.png\n"
        "python -m augment_store inspect stores/lulc --chips data/nyc --worst 20 --html maps.html",
    ),
    "export": Command(
        export_command.SUMMARY,
        export_command.add_arguments,
        export_command.run,
        "python -m augment_store export stores/lulc --format cog --mosaic --out maps\n"
        "python -m augment_store export stores/lulc --format geotiff --ids nyc_r000c001 --out maps",
    ),
    "layouts": Command(
        layouts_command.SUMMARY, layouts_command.add_arguments, layouts_command.run, layouts_command.EXAMPLES
    ),
    "cut": Command(cut_command.SUMMARY, cut_command.add_arguments, cut_command.run, cut_command.EXAMPLES),
}


def main(arguments: Sequence[str]) -> int:
    """Entry point of `python -m augment_store`; returns the exit status."""
    parser = new_parser("augment_store", DESCRIPTION, EXAMPLES)
    add_commands(parser, COMMANDS)
    parsed = parser.parse_args(arguments)
    return run_guarded(lambda: COMMANDS[parsed.command].run(parsed))
