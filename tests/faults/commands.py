"""Every command that writes files: what it is given, and what of its output is compared."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from augment_store.integrity.verify import verify_store
from augment_store.store.writer import AugmentStore
from finetune.data.survey_cache import SURVEY_FOLDER
from finetune.run.manifest import RunManifest
from terramind_weights.weight_files import read_checkpoint
from tests.conftest import ROOT
from tests.worlds import make_world, rasters, write_tif

CONFIG: Final = str(ROOT / "demo" / "configs" / "demo_s1.yaml")
SPLITS: Final = {"train": ("a_0_0", "a_0_1"), "val": ("b_0_0",), "test": ("c_0_0", "d_0_0")}
SCENE: Final = (40, 72)
"""Height and width in pixels of the scene that is cut and mapped."""

SHORT: Final = ("--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1")
TINY: Final = ("--trainer.accelerator", "cpu", "--data.init_args.batch_size", "2")
VOLATILE: Final = re.compile(
    rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d| UTC)?|\d{4}-\d\d-\d\d"
    rb'|"(wall_)?seconds": ?[\d.e-]+|"record_sha256": ?"\w+"'
)
"""Times in texts, and the digest of a record that has one: two runs of a command are never at the same time."""

Words = Sequence[str]


def files_of(work: Path) -> dict[str, str]:
    """Return the digest of each file by its name, drafts included; locks, times and the survey cache are left out.

    What the cache keeps of a chip depends on how long ago its files were written.
    """
    found = {}
    for path in sorted(work.rglob("*")):
        cached = path.parent.name == SURVEY_FOLDER
        if path.is_file() and not path.name.endswith(".lock") and not cached:
            content = VOLATILE.sub(b"", path.read_bytes())
            found[str(path.relative_to(work))] = hashlib.sha256(content).hexdigest()[:16]
    return found


def trained(work: Path) -> dict[str, Any]:
    """Return the names of the weights and what the manifest says; logs and times are those of each start.

    Values are not compared: a training that resumes draws other batches than one that was not interrupted.
    """
    found: dict[str, Any] = {}
    for run in sorted(path.parent for path in work.rglob("manifest.json")):
        manifest = RunManifest.read(run)
        for name in ("best", "last"):
            state = read_checkpoint(manifest.checkpoint(run, name))["state_dict"]
            found[f"{run.name} {name}"] = {
                key: (tuple(tensor.shape), bool(tensor.isfinite().all())) for key, tensor in state.items()
            }
        found[run.name] = (manifest.complete, manifest.seed, manifest.recipe, manifest.cost.epochs)
    found["drafts"] = [str(path) for path in work.rglob(".draft*")]
    return found


@dataclass(frozen=True)
class WritingCommand:
    """A command that writes below one folder.

    Attributes:
        name: What it is called.
        module: Module whose `__main__.main` takes the words.
        words: Its words, given the world and the folder it writes to.
        before: Names in the world that lie in that folder already, copied.
        state: What is there at the end.
        costly: Whether a run takes seconds, so that fewer are tried.
    """

    name: str
    module: str
    words: Callable[[Path, Path], Words]
    before: tuple[str, ...] = ()
    state: Callable[[Path], Any] = files_of
    costly: bool = False


def _fit_words(world: Path, run: Path, *further: str) -> list[str]:
    chips = ["--config", CONFIG, "--chips", str(world / "chips"), "--run", str(run)]
    return ["fit", *chips, *TINY, *SHORT, "--trainer.max_epochs", "2", *further]


def _encode_words(world: Path, work: Path) -> list[str]:
    chips = ["--config", CONFIG, "--chips", str(world / "chips"), "--features", str(work / "features")]
    return ["encode", *chips, *TINY, "--model.init_args.freeze_backbone", "true"]


def _study_words(world: Path, work: Path) -> list[str]:
    short = [*TINY, *SHORT, "--trainer.max_epochs", "1"]
    plain = {
        "out": str(work / "study"),
        "chips": str(world / "chips"),
        "seeds": [1],
        "finetune_arguments": short,
        "stores": {"lulc": {"path": str(world / "store")}},
        "generate_arguments": [
            "--generator",
            "demo",
            "--accelerator",
            "cpu",
            "--top-k",
            "1",
            "--inputs",
            "S1RTC",
        ],
        "arms": {"a": {"config": CONFIG}, "b": {"config": CONFIG, "store": "lulc"}},
        "comparisons": {"main": {"baseline": "a", "candidate": "b"}},
    }
    file = world / "study.yaml"
    file.write_text(yaml.safe_dump(plain), encoding="utf-8")
    return ["study", "--config", str(file)]


def _studied(work: Path) -> dict[str, Any]:
    """Return what its trainings left, what is recorded as done, and that there is a report."""
    study = work / "study"
    report = json.loads((study / "reports" / "main" / "report.json").read_text(encoding="utf-8"))
    done = sorted(path.name for path in (study / "done").iterdir())
    return {**trained(study), "done": done, "report": sorted(report)}


def _generated(work: Path) -> dict[str, Any]:
    """Return the files of a store, and what `verify` says.

    Left out are its history, which has a line for each start, and Zarr's drafts, which a kill leaves and nobody reads.
    """
    problems = list(map(str, verify_store(AugmentStore.open(work / "store"))))
    files = {name: found for name, found in files_of(work / "store").items() if not name.endswith(".partial")}
    return {**files, "zarr.json": "", "problems": problems}


def _compare_words(world: Path, work: Path) -> list[str]:
    arms = ["--baseline", str(world / "runs/plain"), "--candidate", str(world / "runs/tim")]
    return ["compare", *arms, "--out", str(work / "report")]


def _generate_words(world: Path, store: Path) -> list[str]:
    chips = ["--chips", str(world / "chips"), "--store", str(store)]
    return [*chips, "--generator", "demo", "--accelerator", "cpu", "--top-k", "1", "--inputs", "S1RTC"]


COMMANDS: Final = (
    WritingCommand(
        "cut",
        "augment_store",
        lambda world, work: [
            *("cut", f"S1RTC={world / 'one_date.tif'}", "--size", "16", "--scene", "s", "--split", "train"),
            *("--out", str(work / "chips")),
        ],
    ),
    WritingCommand(
        "export geotiff",
        "augment_store",
        lambda world, work: [
            *("export", str(world / "store"), "--format", "geotiff", "--out", str(work / "maps")),
        ],
    ),
    WritingCommand(
        "export cog mosaic",
        "augment_store",
        lambda world, work: [
            *("export", str(world / "store"), "--format", "cog", "--mosaic", "--out", str(work / "maps")),
        ],
    ),
    WritingCommand(
        "export zarr",
        "augment_store",
        lambda world, work: ["export", str(world / "store"), "--format", "zarr", "--out", str(work / "maps")],
    ),
    WritingCommand(
        "export footprints",
        "augment_store",
        lambda world, work: [
            *("export", str(world / "store"), "--format", "footprints", "--out", str(work / "a.parquet")),
        ],
    ),
    WritingCommand(
        "publish a store",
        "augment_store",
        lambda world, work: [
            *("publish", str(world / "store"), "--out", str(work / "published"), "--license", "CC-BY-4.0"),
        ],
    ),
    WritingCommand(
        "inspect",
        "augment_store",
        lambda world, work: [
            *("inspect", str(world / "store"), "--chips", str(world / "chips")),
            *("--png", str(work / "sheet.png"), "--html", str(work / "page.html")),
        ],
    ),
    WritingCommand(
        "generate",
        "generate",
        lambda world, work: _generate_words(world, work / "store"),
        state=_generated,
    ),
    WritingCommand(
        "zero-shot",
        "eval",
        lambda world, work: [
            *("zero-shot", str(world / "store"), "--chips", str(world / "chips")),
            *("--legend", str(world / "legend.yaml"), "--out", str(work / "zero")),
        ],
    ),
    WritingCommand(
        "score", "eval", lambda world, work: ["score", str(work / "runs" / "unscored")], ("runs/unscored",)
    ),
    WritingCommand("compare", "eval", _compare_words),
    WritingCommand(
        "publish a run",
        "eval",
        lambda world, work: [
            *("publish", str(world / "runs/tim"), "--report", str(world / "report")),
            *("--out", str(work / "bundle"), "--license", "CC-BY-4.0"),
        ],
    ),
    WritingCommand(
        "predict",
        "predict",
        lambda world, work: [
            *(str(world / "runs/tim"), "--scene", f"S1RTC={world / 'scene_S1RTC.tif'}"),
            *("--out", str(work / "map.tif"), "--layers", "class", "probability", "--accept-audit"),
        ],
    ),
    WritingCommand("encode", "finetune", _encode_words),
    WritingCommand(
        "fit",
        "finetune",
        lambda world, work: _fit_words(world, work / "run"),
        state=trained,
        costly=True,
    ),
    WritingCommand("study", "eval", _study_words, state=_studied, costly=True),
)
"""In an order in which those that take longest go last."""

LEGEND: Final = {
    "name": "five",
    "classes": [
        {"value": value, "name": name, "rgb": [40 * value, 200 - 40 * value, 90]}
        for value, name in enumerate(("water", "developed", "forest", "herbaceous", "other"))
    ],
    "mapping": {position: position % 5 for position in range(1, 10)},
}


def make_files(world: Path) -> None:
    """Write what needs no command: chips, a scene and a legend."""
    world.mkdir(parents=True)
    make_world(world / "chips", 32, 2, SPLITS)
    scene = rasters(3, SCENE, 2)["S1RTC"].astype("float32")
    write_tif(world / "scene_S1RTC.tif", scene.reshape(-1, *SCENE))
    write_tif(world / "one_date.tif", scene[0])
    (world / "legend.yaml").write_text(yaml.safe_dump(LEGEND), encoding="utf-8")


def preparations(world: Path) -> list[tuple[str, Words]]:
    """Return the commands that make the rest: a store, runs, one of them not scored, and a report."""
    plain, tim = world / "runs/plain", world / "runs/tim"
    joined = ("--augment", str(world / "store"))
    return [
        ("generate", _generate_words(world, world / "store")),
        ("finetune", _fit_words(world, plain)),
        ("finetune", _fit_words(world, tim, *joined)),
        ("eval", ["score", str(plain), str(tim)]),
        ("finetune", _fit_words(world, world / "runs/unscored")),
        ("eval", _compare_words(world, world)),
    ]


def fresh(command: WritingCommand, world: Path, work: Path) -> None:
    """Make the folder that a command writes to, as it is before."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for name in command.before:
        shutil.copytree(world / name, work / name)
