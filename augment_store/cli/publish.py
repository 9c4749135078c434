"""`tim-store publish`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from augment_store.cli.parser import add_layout_argument, add_legend_argument, add_quiet_argument
from augment_store.errors import AugmentStoreError
from augment_store.inspect.references import masks_table
from augment_store.integrity.input_match import open_matching_chips
from augment_store.io.files import check_local, printable
from augment_store.io.remote import as_path
from augment_store.publish.attribution import UNSTATED, PublicationInfo, check_license
from augment_store.publish.folder import publish_store
from augment_store.publish.hub import push
from augment_store.store.writer import AugmentStore
from augment_store.utils.text import pluralize

EXAMPLES: Final = """\
tim-store publish stores/lulc --out nyc --chips data/nyc --license CC-BY-4.0
tim-store publish stores/lulc --out nyc --license CC-BY-4.0 --attribution "chips: NYC" --push me/nyc"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `publish`."""
    parser.add_argument(
        "store", type=as_path, metavar="STORE", help="folder of the store; complete and sound"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to make; its name is the data set's"
    )
    parser.add_argument(
        "--chips",
        type=as_path,
        metavar="DIR",
        help="chip set it was generated from: compared with the store, and the maps with its references",
    )
    add_layout_argument(parser)
    add_legend_argument(parser, "the layout's, if it names one")
    parser.add_argument(
        "--license",
        default="other",
        metavar="ID",
        help="SPDX identifier (default: other, which is not stated)",
    )
    parser.add_argument(
        "--attribution", nargs="+", default=[], metavar="TEXT", help="who to credit for the chips"
    )
    parser.add_argument(
        "--push",
        metavar="REPO",
        help="upload to this Hugging Face data set, as owner/name; made private, needs --license and --attribution",
    )
    add_quiet_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write the folder, and upload it where asked.

    Raises:
        AugmentStoreError: If the store is not sound, or the folder or upload fails.
    """
    check_local("store", args.store, "publish copies a local folder; copy the store to this machine first")
    # wrong options are told before the store is opened and read
    check_license(args.license)
    if args.push and (not args.attribution or args.license == UNSTATED):
        raise AugmentStoreError(
            f"--push {args.push}: say with --attribution who to credit for the chips and with --license what others "
            "may do with the maps"
        )
    store = AugmentStore.open(args.store)
    chips = None if args.chips is None else open_matching_chips(args.chips, args.layout, store)
    table = masks_table(chips, args.legend)
    chips = None if chips is None else chips.with_legend(table)
    # resolved, since "." and ".." name a folder but are no name for a data set
    publication = PublicationInfo(args.out.resolve().name, args.license, tuple(args.attribution))
    facts = publish_store(
        store, args.out, publication, chips=chips, table=table, repo=args.push, quiet=args.quiet
    )
    held = f"{pluralize(facts.chips, 'chip')} of {pluralize(facts.scenes, 'scene')}"
    sys.stdout.write(f"{printable(str(args.out))}: {held}, generated, not reference\n")
    if args.push:
        sys.stdout.write(f"{push(args.out, args.push, 'dataset')}\n")
    return 0
