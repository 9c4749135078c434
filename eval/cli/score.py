"""`tim-eval score`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from augment_store.cli.parser import add_location_arguments
from eval.api import ALL_SAMPLES, score_each
from eval.score.calibration import describe_reliability
from eval.score.record import describe_samples
from finetune.options import add_cache_argument
from finetune.run.preflight import PathOverrides

EXAMPLES: Final = """
tim-eval score runs/baseline runs/tim_lulc
tim-eval score runs/tim_lulc --samples all
tim-eval score runs/tim_lulc --calibrate
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `score`."""
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="run directories; each score goes into RUN/score. With --config, a folder to make",
    )
    parser.add_argument(
        "--checkpoint",
        default="best",
        metavar="best|last|FILE",
        help="which weights; with --config, the checkpoint's file (default: best)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="YAML",
        help="score any TerraTorch checkpoint, with the YAML it was trained by",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="also fit a temperature on the validation split, keep it with the run, and say how reliable the stated "
        "probabilities of the test split are with and without; tim-predict applies it",
    )
    add_cache_argument(parser)
    parser.add_argument(
        "--samples",
        choices=("first", "all"),
        default="first",
        help="which of several generated samples is joined: the first, or each (further ones into "
        "RUN/samples/sample_1, …) and all, their class probabilities averaged (RUN/samples/ensemble) (default: first)",
    )
    add_location_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Score runs one after another and print the metrics of each.

    Raises:
        AugmentStoreError: If a run, its data or its checkpoint cannot be used.
    """
    found = score_each(
        args.runs,
        args.checkpoint,
        args.config,
        PathOverrides(args.chips, args.store, args.layout),
        samples=args.samples,
        calibrated=args.calibrate,
        cache=args.cache,
    )
    for one in found:
        lines = describe_samples(one.scores) if args.samples == ALL_SAMPLES else one.scores[0].lines()
        sys.stdout.writelines(f"{line}\n" for line in lines)
        if one.temperature is not None and one.reliability is not None:
            temperature = one.temperature
            sys.stdout.write(
                f"  temperature {temperature.value:.4g}, by {temperature.pixels:,} validation pixels\n"
            )
            sys.stdout.writelines(f"  {line}\n" for line in describe_reliability(one.reliability))
    return 0
