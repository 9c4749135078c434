"""Synthetic scores: run directories with confusion counts and predicted maps, without any training."""

from __future__ import annotations

import dataclasses
from itertools import count
from pathlib import Path

import numpy as np

from eval.score.counts import Counts, count_pixels
from eval.score.record import FOLDER, PREDICTIONS, Provenance, Score, ScoreSource
from finetune.run.geotiff import write_classes
from finetune.run.manifest import AugmentRecord, CostRecord, DataRecord, RunManifest, SplitRecord, StartRecord

DIGESTS = count()
"""So that no two runs are of the same weights."""

NAMES = ("water", "developed", "forest", "herbaceous", "other")

NOTHING_JOINED = AugmentRecord((), (), None, 0, "zero", None, "", ())


SPLIT = SplitRecord(4, 2, "i" * 64, "d" * 64, "d" * 64)


def make_manifest(
    seed=1,
    smoke=False,
    scene_overlap=(),
    limited_to=None,
    start="b" * 64,
    train=SPLIT,
    recipe=None,
    shared_chips=(),
) -> RunManifest:
    """A run's record; `start` as `StartRecord.digest` says it."""
    weights, _, init = start.partition(" ")
    return RunManifest(
        created="2026-01-01T00:00:00+00:00",
        complete=True,
        smoke=smoke,
        seed=seed,
        class_names=NAMES,
        recipe=recipe or {"trainer.max_epochs": "3"},
        data=DataRecord(
            "nowhere",
            ("S2L2A",),
            (0,),
            {"train": train, "val": SPLIT},
            scene_overlap,
            limited_to,
            shared_chips=shared_chips,
        ),
        augment=NOTHING_JOINED,
        start=StartRecord("terramind_v1_tiny", "weights.pt", weights, init and "init.ckpt", init, None),
        cost=CostRecord(1000, 900, 3, 30, 60.0, "cpu", "32-true"),
        checkpoints={"best": "checkpoints/best.ckpt"},
        checkpoint_sha256={},
        versions={"torch": "test"},
        git_commit=None,
    )


def make_origin(
    kind="checkpoint", seed=1, chips="nowhere", test=SPLIT, checkpoint_sha256=None, **changes
) -> Provenance:
    """Of a run with a checkpoint of its own; `changes` go to the manifest, or to what was joined."""
    joined = {name: changes.pop(name) for name in set(changes) & set(AugmentRecord.__dataclass_fields__)}
    return Provenance(
        kind=ScoreSource(kind),
        created="2026-01-01T00:00:00+00:00",
        source="runs/x",
        checkpoint="runs/x/checkpoints/best.ckpt",
        checkpoint_sha256=checkpoint_sha256 or f"{next(DIGESTS):064x}",
        chips=chips,
        test=test,
        augment=dataclasses.replace(NOTHING_JOINED, **joined),
        seed=seed,
        device="cpu",
        versions={"torch": "test"},
        run=make_manifest(seed=seed or 0, **changes),
    )


def make_counts(gain=0.0, scenes=12, per_scene=2, seed=0, names=NAMES) -> Counts:
    """Chips of 1,000 pixels that an arm gets right in a share of about 0.7 + gain, varying by scene."""
    rng = np.random.default_rng(0)  # the same references and difficulties for every arm
    own = np.random.default_rng(seed + 1)
    classes = len(names)
    ids, scene_ids, rows = [], [], []
    for scene in range(scenes):
        difficulty = rng.normal(0, 0.05) + own.normal(0, 0.01)
        for chip in range(per_scene):
            pixels = rng.multinomial(1000, rng.dirichlet(np.ones(classes)))
            right = np.round(pixels * np.clip(0.7 + gain + difficulty, 0, 1)).astype(int)
            counts = np.zeros((classes, classes + 1), int)
            counts[range(classes), range(classes)] = right
            counts[range(classes), np.roll(range(classes), -1)] += pixels - right
            ids.append(f"s{scene:02}_0_{chip}")
            scene_ids.append(f"s{scene:02}")
            rows.append(counts)
    return Counts(tuple(ids), tuple(scene_ids), tuple(names), np.stack(rows))


def make_score(folder: Path, gain=0.0, origin=None, **counts) -> Path:
    """Writes a score and returns its run directory."""
    made = make_counts(gain, **counts)
    Score(folder, made, make_origin(**{"seed": counts.get("seed", 0), **(origin or {})})).write()
    return folder


def predict_world(world, folder: Path, right: float, seed: int, **origin) -> Path:
    """A score on a world's test chips, its predicted maps right in about this share of pixels."""
    rng = np.random.default_rng(seed)
    ids = world.chips.splits["test"]
    maps = folder / FOLDER / PREDICTIONS
    maps.mkdir(parents=True)
    rows = []
    for chip_id in ids:
        reference = world.labels(chip_id)
        guess = rng.integers(0, len(NAMES), reference.shape)
        predicted = np.where(rng.random(reference.shape) < right, reference, guess).clip(0)
        write_classes(maps, world.chips, chip_id, predicted.astype(np.int16))
        rows.append(count_pixels(reference, predicted, len(NAMES)))
    scenes = tuple(chip_id.rsplit("_", 2)[0] for chip_id in ids)
    counts = Counts(tuple(ids), scenes, NAMES, np.stack(rows))
    Score(folder, counts, make_origin(chips=str(world.root), seed=seed, **origin)).write()
    return folder
