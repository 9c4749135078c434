"""The manifest of a run: what it was trained on and with, so that others can evaluate or repeat it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from augment_store.io.file_kinds import found_folder
from augment_store.io.files import atomic_write, read_text
from augment_store.utils.validation import load_json, parse
from finetune.errors import RunError
from terramind_weights.weight_files import sha256_of_file

MANIFEST: Final = "manifest.json"
CONFIG: Final = "config.yaml"
CHECKPOINTS: Final = "checkpoints"
CURVES: Final = "curves.png"
PREDICTIONS_GRID: Final = "prediction_grid.png"
MANIFEST_VERSION: Final = 3


@dataclass(frozen=True)
class SplitRecord:
    """A split as the run saw it.

    Attributes:
        chips: Number of chips.
        scenes: Number of scenes.
        ids: SHA-256 of the sorted chip ids.
        inputs: SHA-256 over the raw inputs of its chips, empty if the run did not read them.
        masks: SHA-256 over its masks, empty if the run did not read them.
    """

    chips: int
    scenes: int
    ids: str
    inputs: str = ""
    masks: str = ""


@dataclass(frozen=True)
class DataRecord:
    """The chips.

    Attributes:
        root: Root folder of the chip set.
        modalities: Modalities read, in order.
        timesteps: Timesteps read.
        splits: Splits by name.
        scene_overlap: Scenes in two splits, if that was allowed.
        limited_to: Number of chips each split was cut down to, or None.
        layout: Layout that was named, a file by its absolute path; None if it was detected from the files.
        chip_shape: Height and width of the training chips in pixels; None in runs of earlier versions.
        shared_chips: Chips of two splits with the same ground or input, in pairs, if that was allowed.
    """

    root: str
    modalities: tuple[str, ...]
    timesteps: tuple[int, ...]
    splits: Mapping[str, SplitRecord]
    scene_overlap: tuple[str, ...]
    limited_to: int | None
    layout: str | None = None
    chip_shape: tuple[int, int] | None = None
    shared_chips: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class AugmentRecord:
    """What was joined to the chips.

    Attributes:
        encoding: Encodings in effect; empty for the plain fine-tune.
        planes: Names of the planes the model saw.
        control: Control in effect, or None.
        control_seed: Seed for the control's random draws.
        new_columns: How the widened patch embedding was initialised.
        store: Folder of the store, or None.
        fingerprint: Fingerprint of its generation spec.
        arrays: Arrays read from it.
    """

    encoding: tuple[str, ...]
    planes: tuple[str, ...]
    control: str | None
    control_seed: int
    new_columns: str
    store: str | None
    fingerprint: str
    arrays: tuple[str, ...]


@dataclass(frozen=True)
class StartRecord:
    """Where the weights came from.

    Attributes:
        architecture: TerraTorch's name of the backbone.
        weights: Weight file, ``random`` if none was loaded.
        weights_sha256: SHA-256 of that file.
        init: Checkpoint the run started from, or None.
        init_sha256: SHA-256 of that file.
        resumed: Checkpoint the run was resumed from, or None.
    """

    architecture: str
    weights: str
    weights_sha256: str
    init: str | None
    init_sha256: str
    resumed: str | None

    @property
    def digest(self) -> str:
        """Equal for two runs that began with the same weights: the files' SHA-256, or ``random``."""
        # without --init there is no second digest
        return " ".join(filter(None, (self.weights_sha256 or "random", self.init_sha256)))


@dataclass(frozen=True)
class CostRecord:
    """What the run took.

    Attributes:
        parameters: Number of parameters in memory.
        trainable_parameters: How many of them are trained.
        epochs: Epochs finished.
        steps: Optimizer steps taken.
        wall_seconds: Seconds from start to end, reading and checking included; for a resumed run, over all its parts.
        device: Kind of device; of a resumed run all of them, one after another.
        precision: ``tf32``, or Lightning's precision, e.g. ``32-true``.
    """

    parameters: int
    trainable_parameters: int
    epochs: int
    steps: int
    wall_seconds: float
    device: str
    precision: str


@dataclass(frozen=True)
class RunManifest:
    """A fine-tune.

    Attributes:
        created: When it first started, ISO 8601 in UTC.
        complete: Whether it finished.
        smoke: Whether it was cut down to a few steps and chips.
        seed: Seed for all random draws.
        class_names: Names of the classes by label.
        recipe: How it was trained, see `finetune.run.recipe`; runs that are compared must not differ in it.
        data: The chips.
        augment: What was joined to them.
        start: Where the weights came from.
        cost: What it took.
        checkpoints: Checkpoint files relative to the run directory, ``best`` and ``last``.
        checkpoint_sha256: SHA-256 of each of those files, by the same names.
        versions: Versions of Python and the packages that decide the result; of a resumed run all of them, one after
            another.
        git_commit: Commit of this project, or None if it is not run from a checkout.
    """

    created: str
    complete: bool
    smoke: bool
    seed: int
    class_names: tuple[str, ...]
    recipe: Mapping[str, str]
    data: DataRecord
    augment: AugmentRecord
    start: StartRecord
    cost: CostRecord
    checkpoints: Mapping[str, str]
    checkpoint_sha256: Mapping[str, str]
    versions: Mapping[str, str]
    git_commit: str | None

    def write(self, run: Path) -> None:
        """Write it into a run directory, whole or not at all."""
        text = json.dumps(
            {"manifest_version": MANIFEST_VERSION, **dataclasses.asdict(self)}, indent=2, sort_keys=True
        )
        atomic_write(run / MANIFEST, [text.encode() + b"\n"])

    def known_at_start(self) -> dict[str, Any]:
        """Return plain values without what only training tells, for loggers that take a value once."""
        # loggers such as MLflow refuse a value that changes later
        later = ("complete", "cost", "checkpoints", "checkpoint_sha256")
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in later}

    def checkpoint(self, run: Path, name: str) -> Path:
        """Return a checkpoint file, after making sure that it is the one that training left.

        Args:
            run: Run directory.
            name: ``best`` or ``last``.

        Raises:
            RunError: If there is none of that name, or the file is missing or differs from the recorded one.
        """
        if name not in self.checkpoints:
            there = ", ".join(self.checkpoints) or "none"
            raise RunError(f"{run}: no {name} checkpoint; there is {there}")
        path = run / self.checkpoints[name]
        # a manifest from someone else could name any file of this machine
        if not path.resolve().is_relative_to(run.resolve()):
            raise RunError(
                f"{run / MANIFEST}: the {name} checkpoint {self.checkpoints[name]!r} lies outside the run"
            )
        if not path.is_file():
            raise RunError(f"{path}: no such file, though {run / MANIFEST} names it; train the run again")
        found, expected = sha256_of_file(path), self.checkpoint_sha256.get(name, "none")
        if found != expected:
            raise RunError(
                f"{path}: SHA-256 {found[:12]}, but training left {expected[:12]} by {run / MANIFEST}; the file was "
                "changed or damaged: restore it, or train the run again"
            )
        return path

    def check_complete(self, run: Path) -> None:
        """Make sure that a run finished its training.

        Raises:
            RunError: If it did not.
        """
        if not self.complete:
            raise RunError(f"{run}: its training did not finish; the same fit command resumes it")

    def check_held_out(self, run: Path, root: Path, digests: Mapping[str, str]) -> None:
        """Make sure that no test chip can have been trained on, if splits are no longer those of the training.

        Present splits share no chip. So the test chips are safe if they are those that were the test split when the run
        was trained, or if it was trained and validated on what are those splits now.

        Args:
            run: Run directory.
            root: Root folder of the chip set as it is now.
            digests: SHA-256 of the chip ids of its splits.

        Raises:
            RunError: If neither holds.
        """
        then = self.data.splits
        # present splits share no chip, so two that are the same settle the third
        same = {name: digests.get(name) == record.ids for name, record in then.items()}
        if not (same.get("test") or (same.get("train") and same.get("val"))):
            differing = ", ".join(name for name, held in same.items() if not held)
            raise RunError(
                f"{root}: its splits ({differing}) are not those that {run} was trained with, so test chips may have "
                "been trained on; put the splits of the training back"
            )

    @classmethod
    def read(cls, run: Path) -> Self:
        """Read the manifest of a run directory.

        Raises:
            RunError: If there is none, or it is not one this version wrote.
        """
        path = run / MANIFEST
        if not path.is_file():
            raise RunError(
                f"{path}: no such file; {run} is not the directory of a run of tim-finetune fit{found_folder(run)}"
            )
        try:
            plain: dict[str, Any] = load_json(read_text(path))
            version = plain.pop("manifest_version")
            if version != MANIFEST_VERSION:
                raise RunError(
                    f"{path}: manifest version {version}, expected {MANIFEST_VERSION}; train into a new --run"
                )
            return parse(cls, plain)._with_paths_within(run)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # a RunError is a ValueError too, and says what is wrong already
            if isinstance(error, RunError):
                raise
            raise RunError(f"{path}: not a manifest this version wrote ({error})") from error

    def _with_paths_within(self, run: Path) -> Self:
        """Return it with whole paths: a bundle's manifest names what it has itself, relative to its folder."""

        def whole(name: str | None) -> str | None:
            # URLs and layouts that ship are no paths, and what is missing is reported as it was recorded
            there = name and not Path(name).is_absolute() and (run / name).exists()
            return str((run / name).resolve()) if name and there else name

        data = dataclasses.replace(self.data, layout=whole(self.data.layout))
        augment = dataclasses.replace(self.augment, store=whole(self.augment.store))
        return dataclasses.replace(self, data=data, augment=augment)
