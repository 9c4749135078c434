"""`tim-eval zero-shot`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from augment_store.cli.parser import add_layout_argument, add_legend_argument
from augment_store.io.remote import as_path
from eval.api import score_maps
from eval.score.calibration import describe_reliability

EXAMPLES: Final = """
tim-eval zero-shot stores/lulc --chips data/nyc --out runs/zero_shot
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `zero-shot`."""
    parser.add_argument("store", type=as_path, metavar="STORE", help="folder of a LULC store")
    parser.add_argument(
        "--chips",
        type=as_path,
        required=True,
        metavar="DIR",
        help="chip set it was generated from, with a test split",
    )
    add_layout_argument(parser)
    add_legend_argument(parser, "the layout's, if it names one")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to make; give it to compare --control"
    )


def run(args: argparse.Namespace) -> int:
    """Score a store and print the metrics.

    Raises:
        AugmentStoreError: If the store, the chips or the table cannot be used.
    """
    made, calibration = score_maps(args.store, args.chips, args.out, layout=args.layout, legend=args.legend)
    sys.stdout.writelines(f"{line}\n" for line in made.lines())
    sys.stdout.writelines(f"  {line}\n" for line in describe_reliability(calibration))
    return 0
