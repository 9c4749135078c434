"""Opening a network to be scored: a run of this project, or any TerraTorch checkpoint with its YAML."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from terratorch.tasks import SemanticSegmentationTask

from eval.errors import ScoreError
from finetune.data.datamodule import TimStoreDataModule
from finetune.run.config import read_yaml
from finetune.run.load import load_checkpoint, load_run
from finetune.run.manifest import CONFIG, RunManifest
from finetune.run.preflight import PathOverrides
from terramind_weights.checkpoint import MisfitError


@dataclass(frozen=True)
class Opened:
    """A network with trained weights and its data.

    Attributes:
        task: TerraTorch's task in evaluation mode.
        datamodule: Its datamodule, not set up yet.
        config: The YAML.
        checkpoint: The weight file.
        precision: Lightning's name of the arithmetic.
        manifest: The run's manifest, None for any other checkpoint.
    """

    task: SemanticSegmentationTask
    datamodule: TimStoreDataModule
    config: Path
    checkpoint: Path
    precision: str
    manifest: RunManifest | None


def open_run(run: Path, checkpoint: str, places: PathOverrides) -> Opened:
    """Opens a run of `python -m finetune fit`.

    Args:
        run: Run directory.
        checkpoint: ``best`` or ``last``.
        places: Where chips and store are now.

    Raises:
        ScoreError: If the store is not the one it was trained on.
        RunError: If the run did not finish.
        AugmentStoreError: If the directory holds no run, or checkpoint, chips or store cannot be used.
    """
    manifest = RunManifest.read(run)
    manifest.check_complete(run)
    path = run / manifest.checkpoints.get(checkpoint, checkpoint)
    with _named(path, run / CONFIG):
        task, datamodule = load_run(run, checkpoint, places)
    _check_store(run, manifest, datamodule)
    return Opened(task, datamodule, run / CONFIG, path, manifest.cost.precision, manifest)


def open_checkpoint(config: Path, checkpoint: Path, places: PathOverrides) -> Opened:
    """Opens any checkpoint of TerraTorch's segmentation task with the YAML it was trained by.

    Args:
        config: The YAML.
        checkpoint: Lightning checkpoint or bare state dict.
        places: Where chips and store are.

    Raises:
        ScoreError: If the checkpoint does not fit the YAML.
        AugmentStoreError: If either cannot be read, or chips or store cannot be used.
    """
    with _named(checkpoint, config):
        task, datamodule = load_checkpoint(config, checkpoint, places)
    trainer = read_yaml(config).get("trainer") or {}
    precision = str(trainer.get("precision", "32-true"))
    return Opened(task, datamodule, config, checkpoint, precision, None)


@contextlib.contextmanager
def _named(checkpoint: Path, config: Path) -> Iterator[None]:
    """Adds to the error which configuration a checkpoint does not fit."""
    try:
        yield
    except MisfitError as error:
        raise ScoreError(
            f"{checkpoint}: does not fit {config}: {error.what}; give the YAML this checkpoint was trained by"
        ) from error


def _check_store(run: Path, manifest: RunManifest, datamodule: TimStoreDataModule) -> None:
    augmentation = datamodule.augmentation
    store = augmentation.store if augmentation.depends_on_store else None
    found = "" if store is None else store.fingerprint
    if found != manifest.augment.fingerprint:
        place = "no store" if store is None else store.path
        raise ScoreError(
            f"{place}: fingerprint {found[:12] or 'none'}, but {run} was trained on one with "
            f"{manifest.augment.fingerprint[:12] or 'none'}; name that store with --store"
        )
