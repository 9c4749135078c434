"""`tim-eval zero-shot`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from augment_store.chips.chip_set import ChipSet
from augment_store.cli.parser import add_layout_argument, add_legend_argument
from augment_store.inspect.references import masks_table
from augment_store.io.remote import as_path
from augment_store.store.writer import AugmentStore
from eval.errors import EvaluationError
from eval.score.calibration import describe_reliability
from eval.score.zero_shot import score_store

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
    store, chips = AugmentStore.open(args.store), ChipSet.open(args.chips, args.layout)
    table = masks_table(chips, args.legend)
    if table is None:
        raise EvaluationError(
            f"layout {chips.layout.name!r} does not say which classes the masks have; give their legend with --legend"
        )
    made, calibration = score_store(store, chips.with_legend(table), table, args.out, args.layout)
    sys.stdout.writelines(f"{line}\n" for line in made.lines())
    sys.stdout.writelines(f"  {line}\n" for line in describe_reliability(calibration))
    return 0
