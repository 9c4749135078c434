"""The score of a run: its confusion counts on the test split, and where every number came from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, ClassVar, Final, Self

from pydantic import ConfigDict

from augment_store.io.file_kinds import found_folder
from augment_store.io.files import atomic_write, printable, read_text
from augment_store.store.spec import GenerationSpec
from augment_store.utils.text import pluralize
from augment_store.utils.validation import STRICT, load_json, parse
from eval.errors import EvaluationError
from eval.score.counts import Counts
from eval.score.metrics import BY_CLASS, OVERALL, TWO_AVERAGES, Metrics
from eval.score.notebook_view import format_percent, score_html
from finetune.data.splits import digest_of_ids
from finetune.run.manifest import MANIFEST, AugmentRecord, RunManifest, SplitRecord
from finetune.run.recipe import Recipe
from terramind_weights.weight_files import sha256_of_file

SCORE_VERSION: Final = 6
DECIDING: Final = ("terramind-tim-store", "terratorch", "torch", "lightning", "albumentations", "peft")
"""Packages whose version may change what a training learns, by their code or their defaults."""

FOLDER: Final = "score"
"""Folder of a run directory that holds its score."""

RECORD: Final = "score.json"
COUNTS: Final = "counts.npz"
PREDICTIONS: Final = "predictions"

SAMPLES: Final = "samples"
"""Folder of a run directory with scores of further generated samples, each in a folder like a run directory."""

ENSEMBLE: Final = "ensemble"
"""Folder in `SAMPLES` of the score of all samples, their class probabilities averaged."""


class ScoreSource(StrEnum):
    """What was scored."""

    RUN = "run"
    """A run of `tim-finetune`."""

    CHECKPOINT = "checkpoint"
    """Any checkpoint, with its YAML."""

    ZERO_SHOT = "zero-shot"
    """The generated maps themselves."""


@dataclass(frozen=True)
class Provenance:
    """Where a score came from.

    Attributes:
        kind: What was scored.
        created: When it was scored, ISO 8601 in UTC.
        source: Run directory, YAML or store, absolute.
        checkpoint: Weight file, empty for a zero-shot map.
        checkpoint_sha256: SHA-256 of that file.
        chips: Root folder of the chip set.
        test: The test split as it was read for scoring.
        augment: What was joined to its chips; for a zero-shot map, the store alone.
        seed: Seed of the training, or of a zero-shot map's generation; None if unknown.
        device: Kind of device it was scored on, or a zero-shot map was generated on.
        versions: Versions of the packages that decide the result.
        run: The run's own manifest; None for anything else.
        layout: Layout of the chip set that was named, a file by its absolute path; None if it was detected from
            the files.
        spec: What generated the maps that were joined, or that were scored; None if there are none.
        sample: Which generated sample of each chip was joined, from 0; None for all of them, their class probabilities
            averaged.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: ScoreSource
    created: str
    source: str
    checkpoint: str
    checkpoint_sha256: str
    chips: str
    test: SplitRecord
    augment: AugmentRecord
    seed: int | None
    device: str
    versions: Mapping[str, str]
    run: RunManifest | None = None
    layout: str | None = None
    spec: GenerationSpec | None = None
    sample: int | None = 0

    @property
    def trained(self) -> bool:
        """Return whether it is the score of a trained network, not of maps."""
        return self.kind is not ScoreSource.ZERO_SHOT

    @property
    def arm(self) -> Mapping[str, object]:
        """Return what runs of one arm have in common."""
        return {
            "encoding": self.augment.encoding,
            "control": self.augment.control,
            "fingerprint": self._fingerprint_of_any_draw,
            "new_columns": self.augment.new_columns,
            "architecture": "" if self.run is None else self.run.start.architecture,
            "sample": "all" if self.sample is None else f"number {self.sample}",
        }

    @property
    def _fingerprint_of_any_draw(self) -> str:
        """Return the fingerprint of the store's spec without the seed of its draw: each run may have its own draw."""
        if self.spec is None:
            return self.augment.fingerprint
        # any fixed seed will do: such fingerprints are only compared with each other
        sampling = dataclasses.replace(self.spec.sampling, seed=0)
        return dataclasses.replace(self.spec, sampling=sampling).fingerprint

    @property
    def recipe(self) -> Recipe:
        """Return how it was trained and which of its checkpoints was taken; empty if unknown."""
        # best or last: which of the weights were taken is a choice as well
        return {} if self.run is None else {**self.run.recipe, "checkpoint": Path(self.checkpoint).stem}

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the devices, and versions of the packages that decide what is trained and scored; empty if unknown."""
        if self.run is None:
            return {}
        found = {"the device of the training": self.run.cost.device, "the device of the score": self.device}
        # a run may be scored on another machine than it was trained on
        for place, versions in (("training", self.run.versions), ("score", self.versions)):
            found |= {f"{name} of the {place}": text for name, text in versions.items() if name in DECIDING}
        return found

    @property
    def smoke(self) -> bool:
        """Return whether the training was cut down to a few steps."""
        return self.run is not None and self.run.smoke

    @property
    def start(self) -> str:
        """Return what the training's weights started from, see `StartRecord.digest`; empty if unknown."""
        return "" if self.run is None else self.run.start.digest

    def data(self) -> Iterator[tuple[str, str]]:
        """Return the inputs and masks of each split that were read, and their SHA-256, empty if the record has none."""
        trained = {} if self.run is None else self.run.data.splits
        for name, split in (
            ("train", trained.get("train")),
            ("val", trained.get("val")),
            ("test", self.test),
        ):
            for what in ("inputs", "masks"):
                yield f"{name} {what}", "" if split is None else getattr(split, what)


@dataclass(frozen=True, repr=False)
class Score:
    """Confusion counts and their origin.

    Attributes:
        folder: Run directory whose folder ``score`` holds it.
        counts: Confusion counts of the test split.
        origin: Where they came from.
        folds: Scores of the folds that it was pooled from; empty for the score of one training.
    """

    folder: Path
    counts: Counts
    origin: Provenance
    folds: tuple[Score, ...] = ()

    def __len__(self) -> int:
        """Return the number of test chips."""
        return len(self.counts.chip_ids)

    def __repr__(self) -> str:
        return printable(
            f"<Score {self.folder}: mIoU {format_percent(self.metrics.miou)}, {pluralize(len(self), 'chip')}>"
        )

    def _repr_html_(self) -> str:
        return score_html(self)

    @property
    def trainings(self) -> tuple[Score, ...]:
        """Return the score of each training that is in it."""
        return self.folds or (self,)

    @property
    def metrics(self) -> Metrics:
        """Return the metrics over the whole split."""
        return Metrics.of(self.counts.total, self.counts.class_names)

    def lines(self) -> Iterator[str]:
        """Return the metrics as lines of text."""
        metrics, counts = self.metrics, self.counts
        yield f"{self.folder}: {pluralize(len(counts.chip_ids), 'chip')}, {pluralize(len(counts.scenes), 'scene')}"
        for metric in OVERALL:
            policy = f" ({metric.policy})" if metric.policy else ""
            yield f"  {metric.label} {format_percent(metrics.overall[metric.key])}{policy}"
        for name in counts.class_names:
            values = (
                f"{entry.label} {format_percent(metrics.by_class[entry.key][name])}" for entry in BY_CLASS
            )
            yield f"  {name}: {', '.join(values)}"
        yield f"  {TWO_AVERAGES}"

    def prediction(self, chip_id: str) -> Path:
        """Return the GeoTIFF with a chip's predicted classes."""
        # the fold in which the chip was tested has its prediction
        tested = next((fold for fold in self.folds if chip_id in fold.counts.chip_ids), self)
        return tested.folder / FOLDER / PREDICTIONS / f"{chip_id}.tif"

    def write(self) -> None:
        """Write counts and record, the record last, so that an existing score is complete.

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
        # over all other values, so it comes last, and `read` takes it out before it compares
        plain["record_sha256"] = _record_digest(plain)
        atomic_write(folder / RECORD, [json.dumps(plain, indent=1).encode() + b"\n"])

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read the score in a run directory.

        Raises:
            EvaluationError: If there is none, or it is not one this version wrote.
        """
        folder = Path(folder)
        path = folder / FOLDER / RECORD
        if not path.is_file():
            if (folder / MANIFEST).is_file():
                raise EvaluationError(f"{folder}: not scored yet; run tim-eval score {folder}")
            raise EvaluationError(
                f"{folder}: no score{found_folder(folder)}; expected a run directory of tim-finetune fit, or a folder "
                "that tim-eval score or zero-shot made"
            )
        try:
            plain: dict[str, Any] = load_json(read_text(path))
            # before the digest, which other versions may take of other values
            if plain["score_version"] != SCORE_VERSION:
                raise EvaluationError(f"{path}: version {plain['score_version']}, expected {SCORE_VERSION}")
            if plain.pop("record_sha256") != _record_digest(plain):
                raise EvaluationError(f"{path}: was changed after it was written; score the run again")
            if plain["counts_sha256"] != sha256_of_file(path.with_name(COUNTS)):
                raise EvaluationError(
                    f"{path.with_name(COUNTS)}: not the counts of {path}; score the run again"
                )
            origin = parse(Provenance, plain["origin"])
        # JSON of another shape gives any of these: a list for an object, a key too few, a text for a number
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            # a EvaluationError is a ValueError, and already says what to do
            if isinstance(error, EvaluationError):
                raise
            raise EvaluationError(
                f"{path}: not a score this version wrote ({error}); score the run again"
            ) from error
        return cls(folder, Counts.read(folder / FOLDER / COUNTS), origin)


def _record_digest(plain: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the record's values, whatever the file's formatting."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def discard(folder: Path) -> None:
    """Remove the record before predictions are overwritten: an interruption leaves no score of two networks."""
    (folder / FOLDER / RECORD).unlink(missing_ok=True)


def run_of(folder: Path) -> Path:
    """Return the run directory that the folder of a score belongs to: itself, or that of a sample's folder."""
    # a run may be kept in a folder of that name too
    of_sample = folder.parent.name == SAMPLES and not (folder / MANIFEST).is_file()
    return folder.parents[1] if of_sample else folder


def is_scored(folder: Path) -> bool:
    """Return whether a run directory holds a score."""
    return (folder / FOLDER / RECORD).is_file()


def describe_samples(scores: Sequence[Score]) -> Iterator[str]:
    """Return the spread between generated samples, and what averaging them gives, as lines of text.

    Args:
        scores: Of each sample, then of all of them.
    """
    *each, ensemble = scores
    values = [score.metrics.miou for score in each]
    for score, value in zip(each, values, strict=True):
        yield f"{score.folder}: sample {score.origin.sample}, mIoU {format_percent(value)}"
    # undefined for all of them or for none, as they have one reference
    known = [value for value in values if value is not None]
    if known:
        yield (
            f"  between {len(known)} samples: mean {format_percent(fmean(known))}, SD {100 * stdev(known):.2f} pp, "
            f"from {format_percent(min(known))} to {format_percent(max(known))}"
        )
    yield from ensemble.lines()


def split_record(counts: Counts, *, inputs: str, masks: str) -> SplitRecord:
    """Return the test split as it was read, in the form used by a run's manifest.

    Args:
        counts: Counts of its chips.
        inputs: SHA-256 over their raw inputs; empty if they were not read.
        masks: SHA-256 over their masks.
    """
    ids = digest_of_ids(counts.chip_ids)
    return SplitRecord(len(counts.chip_ids), len(counts.scenes), ids, inputs, masks)
