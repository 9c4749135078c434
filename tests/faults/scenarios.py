"""What is interrupted: each writing of a store, of a score, of a manifest and of a checkpoint."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from augment_store.chips.georeference import Georeference
from augment_store.integrity.repair import repair_store
from augment_store.integrity.verify import verify_store
from augment_store.store.chip_index import ChipEntry, read_entries
from augment_store.store.schema import State
from augment_store.store.writer import AugmentStore
from eval.errors import EvaluationError
from eval.score.record import Score
from finetune.run.callbacks import WholeCheckpoints
from finetune.run.manifest import (
    AugmentRecord,
    CostRecord,
    DataRecord,
    RunManifest,
    SplitRecord,
    StartRecord,
)
from generate.plan import entries_to_announce
from terramind_weights.weight_files import read_checkpoint
from tests.eval.scores import make_score
from tests.worlds import EXTENT, make_record, make_spec

OLD = [ChipEntry(f"a_{i}", "a") for i in range(3)]
NEW = [ChipEntry(f"b_{i}", "b") for i in range(4)]


@dataclass(frozen=True)
class Scenario:
    """Something that writes, and may be repeated after it was interrupted.

    Attributes:
        name: What it does.
        prepare: Makes what there is before.
        act: Writes.
        between: What is wrong after an interruption, empty where nothing is.
        state: What there is at the end, to be equal to that of a run that nothing interrupted.
    """

    name: str
    prepare: Callable[[Path], Any]
    act: Callable[[Path], Any]
    between: Callable[[Path], str]
    state: Callable[[Path], Any]


def write_pending(store: AugmentStore) -> None:
    """Writes every pending chip, a shard at a time."""
    pending = set(store.chips_in(State.PENDING))
    for shard, positions in enumerate(store.shards()):
        ids = [store.chip_ids[position] for position in positions if store.chip_ids[position] in pending]
        if ids:
            store.write_shard(shard, [make_record(store.spec, chip_id) for chip_id in ids])


def make_old(path: Path) -> None:
    """A complete store of three chips in two shards."""
    run(path, OLD)


def run(path: Path, entries: list[ChipEntry]) -> None:
    """What a generation run does to a store."""
    there = (path / "zarr.json").is_file()
    store = AugmentStore.open(path, mode="r+") if there else AugmentStore.create(path, make_spec(), EXTENT, 2)
    store.announce(entries)
    write_pending(store)


def first(path: Path) -> None:
    """The first run."""
    run(path, OLD)


def extend(path: Path) -> None:
    """A run with more chips."""
    run(path, [*OLD, *NEW])


def rename_scenes(path: Path) -> None:
    """The command's own choice of what to announce, so that a half rewritten entry is chosen again."""
    chips = SimpleNamespace(ids=tuple(entry.chip_id for entry in OLD), georeference=lambda _: Georeference())
    store = AugmentStore.open(path, mode="r+")
    store.announce(entries_to_announce(chips, {entry.chip_id: "elsewhere" for entry in OLD}, store))


def record_audit(path: Path) -> None:
    """An accepted finding kept with the store."""
    AugmentStore.open(path, mode="r+").record_audit([{"level": "stop", "message": "dead DEM"}])


def damage(path: Path, column: str) -> None:
    """A complete store without the first chunk of a column."""
    make_old(path)
    chunk = path / column / "c/0"
    shutil.rmtree(chunk) if chunk.is_dir() else chunk.unlink()


def mend(path: Path) -> None:
    """`verify --chips --repair`."""
    store = AugmentStore.open(path, mode="r+", lost_ids=True)
    repair_store(store, verify_store(store), {entry.chip_id: entry.scene_id for entry in OLD})


def made_again(path: Path) -> dict[Any, Any]:
    """What is there after the command that follows a repair."""
    first(path)
    return contents(path)


def contents(path: Path) -> dict[Any, Any]:
    """Every chip's values by its id, the problems, and the audit."""
    store = AugmentStore.open(path)
    values = {
        (chip_id, name): store.read(chip_id, name).tolist()
        for chip_id in store.chip_ids
        for name in (*store.map_names, "input_digest", "state")
    }
    scenes = {chip_id: entry.scene_id for chip_id, entry in read_entries(store).items()}
    return {**values, **scenes, "problems": list(map(str, verify_store(store))), "audit": store.audit}


def readable(path: Path) -> str:
    """A store that was begun opens, and `verify_store` ends."""
    if (path / "zarr.json").exists():
        list(verify_store(AugmentStore.open(path, lost_ids=True)))
    return ""


def keeps_old(path: Path) -> str:
    """Chips that were complete stay so."""
    complete = set(AugmentStore.open(path).chips_in(State.COMPLETE))
    lost = {entry.chip_id for entry in OLD} - complete
    return readable(path) or (f"lost {sorted(lost)}" if lost else "")


def write_score(path: Path) -> None:
    """A score of one seed in the place of another's."""
    make_score(path, seed=2, origin={"checkpoint_sha256": "2" * 64})


def scored(path: Path) -> Any:
    """A score as it reads."""
    found = Score.read(path)
    return found.origin, found.counts.values.tolist()


def whole_score(path: Path) -> str:
    """A score is the one or the other, or refused."""
    with contextlib.suppress(EvaluationError):
        seed = Score.read(path).origin.seed
        return "" if seed in {1, 2} else f"a score of seed {seed}"
    return ""


def write_manifest(path: Path) -> None:
    """A manifest of another seed in the place of one."""
    replace(MANIFEST, seed=2).write(path)


def whole_manifest(path: Path) -> str:
    """A manifest is always there, and is one of the two."""
    return "" if RunManifest.read(path) in (MANIFEST, replace(MANIFEST, seed=2)) else "another manifest"


def save_checkpoint(path: Path, value: int = 2) -> None:
    """A checkpoint under the name of the last one, as training writes it."""
    WholeCheckpoints().save_checkpoint({"state_dict": {"w": torch.full((1000,), value)}}, path / "last.ckpt")


def weight(path: Path) -> int:
    """What the checkpoint holds."""
    return int(read_checkpoint(path / "last.ckpt")["state_dict"]["w"].unique())


def whole_checkpoint(path: Path) -> str:
    """A checkpoint is always there, and is one of the two."""
    return "" if weight(path) in {1, 2} else "another checkpoint"


def make_folder(path: Path, fill: Callable[[Path], Any]) -> None:
    """A run directory."""
    path.mkdir()
    fill(path)


MANIFEST = RunManifest(
    created="2026-01-01T00:00:00+00:00",
    complete=True,
    smoke=False,
    seed=1,
    class_names=("a", "b"),
    recipe={"optimizer.lr": "0.001"},
    data=DataRecord("chips", ("DEM",), (0,), {"train": SplitRecord(1, 1, "i")}, (), None),
    augment=AugmentRecord(("onehot",), ("P",), None, 0, "zero", None, "", ("lulc",)),
    start=StartRecord("terramind_v1_tiny", "random", "", None, "", None),
    cost=CostRecord(1, 1, 1, 1, 1.0, "cpu", "32-true"),
    checkpoints={"best": "checkpoints/best.ckpt"},
    checkpoint_sha256={"best": "x"},
    versions={"torch": "1"},
    git_commit=None,
)

STORES = (
    Scenario("first run", lambda path: None, first, readable, contents),
    Scenario("extension", make_old, extend, keeps_old, contents),
    Scenario("scenes renamed", make_old, rename_scenes, readable, contents),
    Scenario("audit recorded", make_old, record_audit, keeps_old, contents),
    *(
        Scenario(
            f"{column} repaired", lambda path, column=column: damage(path, column), mend, readable, made_again
        )
        for column in ("chip_id", "input_digest", "state")
    ),
)

RECORDS = (
    Scenario(
        "score written",
        lambda path: make_folder(path, lambda run: make_score(run, seed=1)),
        write_score,
        whole_score,
        scored,
    ),
    Scenario(
        "manifest written",
        lambda path: make_folder(path, MANIFEST.write),
        write_manifest,
        whole_manifest,
        lambda path: RunManifest.read(path),
    ),
    Scenario(
        "checkpoint saved",
        lambda path: make_folder(path, lambda run: save_checkpoint(run, 1)),
        save_checkpoint,
        whole_checkpoint,
        weight,
    ),
)

ALL = (*STORES, *RECORDS)
