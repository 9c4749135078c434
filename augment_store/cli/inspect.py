"""`tim-store inspect`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from rich.console import Console

from augment_store.api import StoreInspection, inspect_store
from augment_store.cli.parser import add_layout_argument, add_legend_argument, add_quiet_argument, positive
from augment_store.errors import AugmentStoreError
from augment_store.inspect.contact_sheet import MAX_ROWS, write_sheet
from augment_store.inspect.html_page import write_maps_page
from augment_store.inspect.terminal import chips_table, print_summary
from augment_store.inspect.views import view_chip
from augment_store.io.files import check_outside, printable
from augment_store.io.remote import as_path
from augment_store.store.writer import AugmentStore
from augment_store.utils.text import pluralize

EXAMPLES: Final = """
tim-store inspect stores/lulc --png sheet.png
tim-store inspect stores/lulc --chips data/nyc --worst 20 --html maps.html
"""

_PAGE_CHIPS: Final = 60
"""Chips on a page by default."""

_MAX_PAGE_CHIPS: Final = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `inspect`."""
    parser.add_argument(
        "store", type=as_path, metavar="STORE", help="folder of the store, even while it is being written"
    )
    parser.add_argument(
        "--chips",
        type=as_path,
        metavar="DIR",
        help="the chip set it was generated from; shows inputs, splits and references",
    )
    add_layout_argument(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--ids", nargs="+", metavar="ID", help="show these chips")
    which.add_argument(
        "--worst", type=positive, metavar="N", help="show the N most doubtful of the chips summarized"
    )
    which.add_argument("--random", type=positive, metavar="N", help="show N random chips")
    parser.add_argument("--png", type=Path, metavar="FILE", help="write a contact sheet")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page for the browser")
    parser.add_argument("--timestep", type=int, default=0, help="timestep to show (default: 0)")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="STORE",
        help="compare with the maps of another store of the same chips instead of references",
    )
    add_legend_argument(parser, "the layout's, if it names one")
    parser.add_argument(
        "--summary-chips",
        type=positive,
        default=500,
        metavar="N",
        help="number of random chips that the summary is of (default: 500)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed for random draws (default: 0)")
    add_quiet_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Show a store in the terminal, and as a contact sheet or a page where asked.

    Raises:
        AugmentStoreError: If the store, the chips, the choice or an output cannot be used.
    """
    # before any map is read: a wrong output path must not cost that time
    for out in filter(None, (args.png, args.html)):
        check_outside(out, AugmentStore.open(args.store).path)
    found = inspect_store(
        args.store,
        args.chips,
        layout=args.layout,
        legend=args.legend,
        ids=args.ids,
        worst=args.worst,
        random=args.random or (_PAGE_CHIPS if args.html else None),
        timestep=args.timestep,
        against=args.against,
        summary_chips=args.summary_chips,
        seed=args.seed,
        quiet=args.quiet,
    )
    console = Console()
    print_summary(console, found.inspector, found.seen)
    _write_outputs(console, found, args)
    return 0


def _write_outputs(console: Console, found: StoreInspection, args: argparse.Namespace) -> None:
    inspector, chosen, timestep = found.inspector, found.chosen, found.timestep
    if args.html is not None:
        # before the sheet is written: a refused page must not leave half of the outputs
        _check_number(len(chosen), _MAX_PAGE_CHIPS, "a page")
    if args.png is not None:
        _check_number(len(chosen), MAX_ROWS, "a contact sheet")
        write_sheet(
            args.png, inspector, [view_chip(inspector, entry, timestep) for entry in chosen], timestep
        )
        _say(f"{args.png}: contact sheet of {pluralize(len(chosen), 'chip')}")
    if args.html is not None:
        write_maps_page(args.html, inspector, found.seen, chosen, timestep)
        size = args.html.stat().st_size / 1e6
        _say(f"{args.html}: page of {pluralize(len(chosen), 'chip')}, {size:.2f} MB")
    # chips that nobody asked for, drawn by default, are not listed
    if args.ids or args.worst or args.random:
        console.print(chips_table(chosen, "chips asked for"))


def _say(line: str) -> None:
    sys.stdout.write(f"{printable(line)}\n")


def _check_number(chosen: int, most: int, what: str) -> None:
    if chosen > most:
        raise AugmentStoreError(
            f"{what} holds at most {most} chips, {chosen} asked for; lower --worst or --random"
        )
