"""`python -m eval score`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from eval.score.record import Score
    from finetune.run.reopen import Places

SUMMARY: Final = "confusion counts, metrics and predicted maps of runs on their test split"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `score`."""
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="run directories; the score goes into RUN/score. With --config a folder to make",
    )
    parser.add_argument(
        "--checkpoint",
        default="best",
        metavar="best|last|FILE",
        help="which weights; with --config the checkpoint's file (default: best)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="YAML",
        help="score any TerraTorch checkpoint, by the YAML it came from",
    )
    parser.add_argument("--chips", type=Path, metavar="DIR", help="where the chip set lies now")
    parser.add_argument("--store", type=Path, metavar="DIR", help="where the augment store lies now")


def run(args: argparse.Namespace) -> int:
    """Scores one run after the other and prints the metrics of each.

    Raises:
        AugmentStoreError: If a run, its data or its checkpoint cannot be used.
    """
    from eval.errors import ScoreError
    from finetune.run.reopen import Places

    places = Places(args.chips, args.store)
    if args.config is None and args.checkpoint not in ("best", "last"):
        raise ScoreError(f"--checkpoint {args.checkpoint}: best or last; a file needs its --config YAML too")
    if args.config is not None and (args.checkpoint in ("best", "last") or len(args.runs) > 1):
        raise ScoreError("--config takes one folder to write to, and the file that --checkpoint names")
    for folder in args.runs:
        show(score_one(folder, args.checkpoint, places, args.config))
    return 0


def score_one(folder: Path, checkpoint: str, places: Places, config: Path | None = None) -> Score:
    """Scores a run directory, or a checkpoint with its YAML into a folder."""
    from eval.score.network import score
    from eval.score.opening import open_checkpoint, open_run

    if config is None:
        return score(open_run(folder, checkpoint, places), folder)
    return score(open_checkpoint(config, Path(checkpoint), places), folder)


def show(made: Score) -> None:
    """Prints the metrics of a score."""
    metrics, counts = made.metrics, made.counts
    size = f"{len(counts.chip_ids)} chips, {len(counts.scenes)} scenes"
    headline = _percent(metrics.miou_macro_reference_classes)
    lines = [f"{made.folder}: mIoU {headline} (macro over the classes in the reference), {size}"]
    lines.append(f"  pixel accuracy {_percent(metrics.pixel_accuracy)}")
    lines.append(
        f"  F1 {_percent(metrics.f1_macro_reference_classes)} (macro over the classes in the reference)"
    )
    for name, iou in metrics.iou_by_class.items():
        lines.append(f"  IoU {name} {_percent(iou)}, F1 {_percent(metrics.f1_by_class[name])}")
    sys.stdout.write("\n".join(lines) + "\n")


def _percent(value: float | None) -> str:
    return "not defined" if value is None else f"{100 * value:.2f} %"
