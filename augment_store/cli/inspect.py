"""`tim-store inspect`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from augment_store.cli.parser import add_layout_argument, add_legend_argument, add_quiet_argument, positive
from augment_store.errors import AugmentStoreError
from augment_store.inspect.contact_sheet import MAX_ROWS, write_sheet
from augment_store.inspect.html_page import write_maps_page
from augment_store.inspect.references import OtherMaps, masks_table
from augment_store.inspect.statistics import ChipStatistics
from augment_store.inspect.store_inspector import StoreInspector
from augment_store.inspect.terminal import chips_table, print_summary
from augment_store.inspect.views import view_chip
from augment_store.integrity.input_match import check_inputs, open_matching_chips
from augment_store.io.files import check_outside, printable
from augment_store.io.remote import as_path
from augment_store.store.chip_selection import StoreProgress, check_not_empty, draw_positions, positions_of
from augment_store.store.writer import AugmentStore
from augment_store.utils.progress import track
from augment_store.utils.text import pluralize

EXAMPLES: Final = """
tim-store inspect stores/lulc --png sheet.png
tim-store inspect stores/lulc --chips data/nyc --worst 20 --html maps.html
"""

_PAGE_CHIPS: Final = 60
_SHEET_CHIPS: Final = 8
"""Chips on a page and on a contact sheet by default."""

_MAX_PAGE_CHIPS: Final = 1000
_CHECKED_CHIPS: Final = 3
"""Chips whose inputs are compared with the store before any are shown: a wrong chip set differs in all of them."""


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
    store = AugmentStore.open(args.store)
    # before any map is read: a wrong output path must not cost that time
    for out in filter(None, (args.png, args.html)):
        check_outside(out, store.path)
    chips = None if args.chips is None else open_matching_chips(args.chips, args.layout, store)
    table = masks_table(chips, args.legend)
    chips = None if chips is None else chips.with_legend(table)
    check_not_empty(store, StoreProgress.read(store))
    _check_timestep(store, args.timestep)
    against = (
        None if args.against is None else OtherMaps(AugmentStore.open(args.against), store, args.timestep)
    )
    inspector = StoreInspector(store, chips, table, against)
    asked = _positions(inspector, args)  # before anything is read: an unknown id is told at once
    console = Console()
    drawn = draw_positions(inspector.progress.complete, args.summary_chips, args.seed)
    # a list, since the summary, --worst and the page each go through it
    seen = list(track(inspector.measure(drawn), "reading maps", drawn.size, quiet=args.quiet))
    chosen = _choose(inspector, seen, asked, args.worst)
    _check_inputs(inspector, chosen)  # of another chip set, every picture and agreement would mislead
    print_summary(console, inspector, seen)
    _write_outputs(console, inspector, seen, chosen, args)
    return 0


def _positions(inspector: StoreInspector, args: argparse.Namespace) -> NDArray[np.int64]:
    """Return positions of the chips asked for by id, or drawn at random."""
    if args.ids is not None:
        return positions_of(inspector.store, args.ids, inspector.progress)
    usual = _PAGE_CHIPS if args.html else _SHEET_CHIPS
    return draw_positions(inspector.progress.complete, args.random or usual, args.seed)


def _choose(
    inspector: StoreInspector, seen: Sequence[ChipStatistics], asked: NDArray[np.int64], worst: int | None
) -> list[ChipStatistics]:
    """Return statistics of the chips to show; those of the summary are reused."""
    if worst is not None:
        # of the chips read anyway: ranking all chips would read every map of a large store
        return sorted(seen, key=lambda entry: entry.doubt, reverse=True)[:worst]
    known = {entry.chip_id: entry for entry in seen}
    ids = [inspector.store.chip_ids[position] for position in asked]
    return [known.get(chip_id) or inspector.statistics(chip_id) for chip_id in ids]


def _write_outputs(
    console: Console,
    inspector: StoreInspector,
    seen: Sequence[ChipStatistics],
    chosen: Sequence[ChipStatistics],
    args: argparse.Namespace,
) -> None:
    if args.html is not None:
        # before the sheet is written: a refused page must not leave half of the outputs
        _check_number(len(chosen), _MAX_PAGE_CHIPS, "a page")
    if args.png is not None:
        _check_number(len(chosen), MAX_ROWS, "a contact sheet")
        write_sheet(
            args.png,
            inspector,
            [view_chip(inspector, entry, args.timestep) for entry in chosen],
            args.timestep,
        )
        _say(f"{args.png}: contact sheet of {pluralize(len(chosen), 'chip')}")
    if args.html is not None:
        write_maps_page(args.html, inspector, seen, chosen, args.timestep)
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


def _check_timestep(store: AugmentStore, timestep: int) -> None:
    if not 0 <= timestep < store.extent.timesteps:
        raise AugmentStoreError(f"--timestep {timestep}: the store has 0 to {store.extent.timesteps - 1}")


def _check_inputs(inspector: StoreInspector, chosen: Sequence[ChipStatistics]) -> None:
    if inspector.chips is not None:
        # chips that the chip set lacks cannot tell whether it is the right one
        known = [entry.chip_id for entry in chosen if inspector.has_inputs(entry.chip_id)]
        check_inputs(inspector.store, inspector.chips, known[:_CHECKED_CHIPS])
