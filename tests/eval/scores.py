"""Synthetic scores: run directories with confusion counts and predicted maps, without any training."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np

from eval.score.counts import Counts, count_pixels
from eval.score.record import DATA_KEYS, FOLDER, PREDICTIONS, Origin, Score
from finetune.run.predictions import write_classes

DIGESTS = count()
"""So that no two runs are of the same weights."""

NAMES = ("water", "developed", "forest", "herbaceous", "other")


def make_origin(**changes) -> Origin:
    fields = {
        "kind": "checkpoint",
        "created": "2026-01-01T00:00:00+00:00",
        "source": "runs/x",
        "checkpoint": "runs/x/checkpoints/best.ckpt",
        "checkpoint_sha256": f"{next(DIGESTS):064x}",
        "chips": "nowhere",
        "ids_sha256": "i" * 64,
        "masks_sha256": "m" * 64,
        "seed": 1,
        "encoding": (),
        "control": None,
        "store": None,
        "fingerprint": "",
        "smoke": False,
        "parameters": 1000,
        "wall_seconds": 60.0,
        "device": "cpu",
        "versions": {"torch": "test"},
        "data": dict.fromkeys(DATA_KEYS, "d" * 64),
    }
    return Origin(**{**fields, **changes})


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
