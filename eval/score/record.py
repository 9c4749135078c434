"""The score of a run: its confusion counts on the test split, and where every number came from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from augment_store.files import write_whole
from augment_store.typed import load_json, parse
from eval.errors import ScoreError
from eval.score.counts import Counts
from eval.score.metrics import Metrics
from terramind_weights.files import sha256_of_file

SCORE_VERSION: Final = 3
FOLDER: Final = "score"
"""Folder of a run directory that holds its score."""

RECORD: Final = "score.json"
COUNTS: Final = "counts.npz"
PREDICTIONS: Final = "predictions"

DATA_KEYS: Final = ("train inputs", "train masks", "val inputs", "val masks", "test inputs", "test masks")
"""What `Origin.data` holds of a run."""


@dataclass(frozen=True)
class Origin:
    """Where a score came from.

    Attributes:
        kind: ``run`` of `python -m finetune`, ``checkpoint`` with its YAML, or ``zero-shot`` map.
        created: When it was scored, ISO 8601 in UTC.
        source: Run directory, YAML or store, absolute.
        checkpoint: Weight file, empty for a zero-shot map.
        checkpoint_sha256: Of that file.
        chips: Root folder of the chip set.
        ids_sha256: SHA-256 of the sorted ids of the test split.
        masks_sha256: SHA-256 over the test split's masks.
        seed: Seed of the training, None where none is known.
        encoding: Encodings of cached modalities; empty for a plain fine-tune.
        control: Control in effect, or None.
        store: Folder of the augment store, or None.
        fingerprint: Fingerprint of its generation spec.
        smoke: Whether the training was cut down to a few steps.
        parameters: Number of parameters, 0 where unknown.
        wall_seconds: Seconds of training, 0 where unknown.
        device: Kind of device it was scored on.
        versions: Versions of the packages that decide the result.
        scene_overlap: Scenes in two of the run's splits.
        limited_to: Number of chips each of the run's splits was cut down to, or None.
        start: What the weights of the training began with: SHA-256 of the published file and of ``--init``, or
            ``random``; empty where not known.
        data: SHA-256 over the chips read, by `DATA_KEYS`; a key is missing where the run's record does not have it.
    """

    kind: str
    created: str
    source: str
    checkpoint: str
    checkpoint_sha256: str
    chips: str
    ids_sha256: str
    masks_sha256: str
    seed: int | None
    encoding: tuple[str, ...]
    control: str | None
    store: str | None
    fingerprint: str
    smoke: bool
    parameters: int
    wall_seconds: float
    device: str
    versions: dict[str, str]
    scene_overlap: tuple[str, ...] = ()
    limited_to: int | None = None
    start: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """Confusion counts and their origin.

    Attributes:
        folder: Run directory whose folder ``score`` holds it.
        counts: Confusion counts of the test split.
        origin: Where they came from.
    """

    folder: Path
    counts: Counts
    origin: Origin

    @property
    def metrics(self) -> Metrics:
        """Metrics over the whole split."""
        return Metrics.of(self.counts.total, self.counts.class_names)

    def prediction(self, chip_id: str) -> Path:
        """GeoTIFF with a chip's predicted classes."""
        return self.folder / FOLDER / PREDICTIONS / f"{chip_id}.tif"

    def write(self) -> None:
        """Writes counts and record, the record last, so that a score that is there is whole.

        Raises:
            OutputError: If they cannot be written.
        """
        folder = self.folder / FOLDER
        self.counts.write(folder / COUNTS)
        plain = {
            "score_version": SCORE_VERSION,
            "chips": len(self.counts.chip_ids),
            "scenes": len(self.counts.scenes),
            "classes": self.counts.class_names,
            "metrics": dataclasses.asdict(self.metrics),
            "confusion": self.counts.total.tolist(),
            "origin": dataclasses.asdict(self.origin),
            "counts_sha256": sha256_of_file(folder / COUNTS),
        }
        plain["record_sha256"] = _digest(plain)
        write_whole(folder / RECORD, [json.dumps(plain, indent=1).encode() + b"\n"])

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads the score in a run directory.

        Raises:
            ScoreError: If there is none, or it is not one this version wrote.
        """
        path = folder / FOLDER / RECORD
        if not path.is_file():
            raise ScoreError(f"{folder}: not scored yet; run python -m eval score {folder}")
        try:
            plain: dict[str, Any] = load_json(path.read_text(encoding="utf-8"))
            if plain["score_version"] != SCORE_VERSION:
                raise ScoreError(f"{path}: version {plain['score_version']}, expected {SCORE_VERSION}")
            if plain.pop("record_sha256") != _digest(plain):
                raise ScoreError(f"{path}: was changed after it was written; score the run again")
            if plain["counts_sha256"] != sha256_of_file(path.with_name(COUNTS)):
                raise ScoreError(f"{path.with_name(COUNTS)}: not the counts of {path}; score the run again")
            origin = parse(Origin, plain["origin"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, ScoreError):
                raise
            raise ScoreError(
                f"{path}: not a score this version wrote ({error}); score the run again"
            ) from error
        return cls(folder, Counts.read(folder / FOLDER / COUNTS), origin)


def _digest(plain: Mapping[str, Any]) -> str:
    """SHA-256 of the record's values, however the file is laid out."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def discard(folder: Path) -> None:
    """Removes the record before predictions are overwritten: an interruption leaves no score of two networks."""
    (folder / FOLDER / RECORD).unlink(missing_ok=True)


def is_scored(folder: Path) -> bool:
    """Whether a run directory holds a score."""
    return (folder / FOLDER / RECORD).is_file()


def ids_digest(counts: Counts) -> str:
    """SHA-256 of the sorted chip ids, as a run's manifest has it of each split."""
    return hashlib.sha256("\n".join(sorted(counts.chip_ids)).encode()).hexdigest()
