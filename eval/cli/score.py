"""`tim-eval score`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from augment_store.cli.parser import add_location_arguments
from eval.errors import EvaluationError
from eval.score.record import Score, describe_samples
from finetune.options import add_cache_argument
from finetune.run.manifest import RunManifest
from finetune.run.preflight import PathOverrides
from finetune.run.yaml_file import read_yaml

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
    paths = PathOverrides(args.chips, args.store, args.layout)
    manifests = _check_runs(args, paths)
    from eval.score.calibration import describe_reliability
    from eval.score.load import open_checkpoint, open_run
    from eval.score.predict import score, score_samples  # torch and TerraTorch are imported from here on
    from eval.score.temperature import calibrate

    for folder in args.runs:
        if args.config is None:
            loaded = open_run(folder, args.checkpoint, paths, manifests[folder])
        else:
            loaded = open_checkpoint(args.config, Path(args.checkpoint), paths)
        made = (score_samples if args.samples == "all" else score)(loaded, folder, cache=args.cache)
        lines = made.lines() if isinstance(made, Score) else describe_samples(made)
        sys.stdout.writelines(f"{line}\n" for line in lines)
        if args.calibrate:
            temperature, reliability = calibrate(loaded, folder, manifests[folder])
            sys.stdout.write(
                f"  temperature {temperature.value:.4g}, by {temperature.pixels:,} validation pixels\n"
            )
            sys.stdout.writelines(f"  {line}\n" for line in describe_reliability(reliability))
    return 0


def _check_runs(args: argparse.Namespace, paths: PathOverrides) -> dict[Path, RunManifest]:
    """Make sure that every run, and what the options name, is there before the first is scored.

    Returns:
        Manifest of each run, which is read once.

    Raises:
        AugmentStoreError: If one is not, or options contradict each other.
    """
    if args.config is None and args.checkpoint not in ("best", "last"):
        raise EvaluationError(
            f"--checkpoint {args.checkpoint}: expected best or last; a file also needs its --config YAML"
        )
    if args.config is not None and (args.checkpoint in ("best", "last") or len(args.runs) > 1):
        raise EvaluationError("--config takes one folder to write to, and the file that --checkpoint names")
    if args.config is not None and args.calibrate:
        raise EvaluationError(
            "--calibrate: a temperature is kept with a run, and --config names none; leave one of them out"
        )
    if args.config is not None:
        read_yaml(args.config)
        if not Path(args.checkpoint).is_file():
            raise EvaluationError(f"--checkpoint {args.checkpoint}: no such file")
    paths.check()
    return {folder: RunManifest.read(folder) for folder in (args.runs if args.config is None else ())}
