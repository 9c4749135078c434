"""Rows of what a study costs: `python -m tests.benchmarks study-features study-jobs`.

- ``study-features``: four arms × five seeds of the demo with a frozen backbone against encoding once and training on
  features. From its parts, on half of the demo's scenes: a fit of its 16 epochs each way, and an encoding. Processor
  time in one process, so without the start of each.
- ``features-memory``: peak memory of an epoch on features of 2,000 chips against one on 200 of them; a process each.
- ``study-jobs``: a study of two arms × two seeds, `--jobs 1` against `--jobs 2`, one thread each, by the clock.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from demo.recipe import CONFIG
from demo.world.command import main as write_world
from tests.benchmarks.table import Row, seconds
from tests.worlds import make_world, tiny_options

ARMS, SEEDS = 4, 5
SCENES = ("--train", "6", "--val", "2", "--test", "1")
FROZEN = ("--model.init_args.freeze_backbone", "true")


def write_chips(folder: Path, *scenes: str) -> Path:
    """The demo's world in small."""
    assert write_world(["--chips", str(folder / "chips"), *scenes]) == 0
    return folder / "chips"


def finetune(*words: str) -> float:
    """Seconds of a command of `tim-finetune` in this process."""
    from finetune.__main__ import main

    statuses: list[int] = []
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        taken = seconds(lambda: statuses.append(main(words)))
    assert statuses == [0], quiet.getvalue()
    return taken


def on_features() -> list[float]:
    """Seconds of a whole study with the backbone over seconds of one on features."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = (
            "--config",
            str(CONFIG),
            "--chips",
            str(write_chips(folder, *SCENES)),
            "--seed",
            "1",
            *FROZEN,
        )
        features = ("--features", str(folder / "features"))
        finetune("encode", *common, "--features", str(folder / "first"))  # imports, and surveys the chips
        encoding = finetune("encode", *common, *features)
        bare = finetune("fit", *common, "--run", str(folder / "bare"))
        ours = finetune("fit", *common, *features, "--run", str(folder / "ours"))
    fits = ARMS * SEEDS
    sys.stdout.write(
        f"study-features: a fit {bare:.0f} s, on features {ours:.0f} s, and encoding {encoding:.0f} s\n"
    )
    return [fits * bare / (encoding + fits * ours)]


FIT_AND_TELL = """
import sys
from finetune.__main__ import main
from tests.benchmarks.table import peak_memory
assert main(sys.argv[1:]) == 0
print(peak_memory())
"""


def memory(few: int = 200, many: int = 2_000) -> list[float]:
    """Peak memory of a training on features of many chips over that of one on few."""
    ids = [f"s{number:04d}_0_0" for number in range(many)]
    cut = many * 4 // 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = make_world(folder / "chips", 32, 4, {"train": ids[:cut], "val": ids[cut:]})
        common = [*tiny_options(world, "nyc_phase2"), *FROZEN]
        # one symmetry a chip, and the batch of the published YAML
        common += [
            "--data.init_args.train_transform",
            "null",
            "--data.init_args.batch_size",
            "8",
            "--seed",
            "1",
        ]
        peaks = []
        for step in (["encode"], ["fit", "--run", "many"], ["fit", "--run", "few"]):
            limit = ["--data.init_args.limit_chips", str(few // 2)] if "few" in step else []
            words = [*step, *common, *limit, "--features", "features", "--trainer.max_epochs", "1"]
            peaks.append(float(tell(folder, ["-c", FIT_AND_TELL, *words]).splitlines()[-1]))
    sys.stdout.write(f"features-memory: {peaks[1]:.2f} GB for {many:,} chips, {peaks[2]:.2f} GB for {few}\n")
    return [peaks[1] / peaks[2]]


def tell(folder: Path, words: Sequence[str]) -> str:
    """What a process of Python tells that runs in a folder, with one thread."""
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-W", "ignore", *words],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
    ).stdout


def on_two_cores() -> list[float]:
    """Seconds of a study one job after another over seconds of two at a time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_chips(folder, "--train", "4", "--val", "1", "--test", "2")
        found = {jobs: study_seconds(folder, jobs) for jobs in (1, 2)}
    sys.stdout.write(f"study-jobs: {found[1]:.0f} s one at a time, {found[2]:.0f} s two at a time\n")
    return [found[1] / found[2]]


def study_seconds(folder: Path, jobs: int) -> float:
    """Seconds by the clock of a study of two arms × two seeds from its chips to its report."""
    arms = {
        name: {"config": str(CONFIG), "arguments": list(words)}
        for name, words in {"plain": (), "frozen": FROZEN}.items()
    }
    plain = {
        "out": f"out_{jobs}",
        "chips": "chips",
        "seeds": [1, 2],
        "finetune_arguments": ["--trainer.max_epochs", "6"],
        "arms": arms,
        "comparisons": {"main": {"baseline": "plain", "candidate": "frozen"}},
    }
    (folder / f"{jobs}.yaml").write_text(yaml.safe_dump(plain))
    started = time.perf_counter()
    tell(folder, ["-m", "eval", "study", "--config", f"{jobs}.yaml", "--jobs", str(jobs)])
    return time.perf_counter() - started


TABLE = (
    Row(
        "study-features",
        f"{ARMS} arms × {SEEDS} seeds of the demo with a frozen backbone (from parts)",
        "encoding once, and as many on features",
        on_features,
        at_least=3.0,
    ),
    Row(
        "features-memory",
        "peak memory of an epoch on features, 2,000 chips",
        "of one on 200",
        memory,
        at_most=1.1,
    ),
    Row(
        "study-jobs",
        "study of 2 arms × 2 seeds, --jobs 1, a thread",
        "--jobs 2 on two cores, a thread each",
        on_two_cores,
        at_least=1.7,
    ),
)
