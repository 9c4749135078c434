"""Row of what a report costs by the number of chips: `python -m tests.benchmarks compare`.

`tim-eval compare` as a whole, from scores on disk to the files of a report, on made-up scores of three runs an arm.
Each chip is a scene of its own, which is the most that a report can have to sum over.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import numpy as np

from eval.cli.main import main
from eval.score.counts import Counts
from eval.score.record import Score
from tests.benchmarks.table import Row, peak_memory, seconds
from tests.eval.scores import NAMES, make_origin

FEW, MANY, SEEDS = 5_000, 50_000, 3
ARMS = {"baseline": 0.7, "candidate": 0.72}


def write_scores(folder: Path, chips: int) -> list[str]:
    """Scores of all arms and seeds on the same references; returns what to compare, as words of the command."""
    pixels = np.random.default_rng(0).integers(0, 200, (chips, len(NAMES)))
    ids = tuple(f"s{number:05d}_0_0" for number in range(chips))
    scenes = tuple(chip_id.partition("_")[0] for chip_id in ids)
    words = []
    for arm, share in ARMS.items():
        words.append(f"--{arm}")
        for seed in range(SEEDS):
            right = np.random.default_rng([seed, *arm.encode()]).binomial(pixels, share)
            counts = np.zeros((chips, len(NAMES), len(NAMES) + 1), np.int64)
            labels = np.arange(len(NAMES))
            counts[:, labels, labels] = right
            counts[:, labels, (labels + 1) % len(NAMES)] = pixels - right
            run = folder / f"{arm}_{seed}"
            Score(run, Counts(ids, scenes, NAMES, counts), make_origin(seed=seed)).write()
            words.append(str(run))
    return words


def compare(repeats: int = 2) -> list[float]:
    """Seconds of a report on many chips over those of one on few."""
    with tempfile.TemporaryDirectory() as name:
        words = {chips: write_scores(Path(name) / str(chips), chips) for chips in (FEW, MANY)}

        def report(chips: int) -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                assert main(["compare", *words[chips], "--out", f"{name}/report_{chips}"]) == 0

        report(FEW)
        found = [[seconds(lambda: report(FEW)), seconds(lambda: report(MANY))] for _ in range(repeats)]
    sys.stdout.write(
        f"compare: {found[0][0]:.1f} s for {FEW:,} chips, {found[0][1]:.1f} s and {peak_memory():.1f} GB for {MANY:,}\n"
    )
    return [many / few for few, many in found]


TABLE = (
    Row(
        "compare",
        f"report on {MANY:,} chips, {SEEDS} runs an arm",
        f"on {FEW:,} chips",
        compare,
        at_most=12.0,
    ),
)
