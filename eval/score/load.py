"""Load a network to be scored: a run of this project, or any TerraTorch checkpoint with its YAML."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from eval.errors import EvaluationError
from finetune.run.load import LoadedRun, load_checkpoint, load_run
from finetune.run.manifest import CONFIG, RunManifest
from finetune.run.preflight import PathOverrides
from terramind_weights.checkpoint import MisfitError


def open_run(
    run: Path, checkpoint: str, paths: PathOverrides, manifest: RunManifest | None = None
) -> LoadedRun:
    """Load a finished run of `tim-finetune fit` with the store that it was trained on.

    Args:
        run: Run directory.
        checkpoint: ``best`` or ``last``.
        paths: Where chips and store are now.
        manifest: The run's manifest, if it has been read already.

    Raises:
        EvaluationError: If the store is not the one it was trained on.
        RunError: If the run did not finish.
        AugmentStoreError: If the directory holds no run, or checkpoint, chips or store cannot be used.
    """
    manifest = RunManifest.read(run) if manifest is None else manifest
    # before loading: an unfinished run may have checkpoints already
    manifest.check_complete(run)
    with _misfit_named(run / manifest.checkpoints.get(checkpoint, checkpoint), run / CONFIG):
        loaded = load_run(run, checkpoint, paths, manifest)
    _check_store(loaded, manifest)
    return loaded


def open_checkpoint(config: Path, checkpoint: Path, paths: PathOverrides) -> LoadedRun:
    """Load any checkpoint of TerraTorch's segmentation task with the YAML it was trained by.

    Args:
        config: The YAML.
        checkpoint: Lightning checkpoint or bare state dict.
        paths: Where chips and store are.

    Raises:
        EvaluationError: If the checkpoint does not fit the YAML.
        AugmentStoreError: If either cannot be read, or chips or store cannot be used.
    """
    with _misfit_named(checkpoint, config):
        return load_checkpoint(config, checkpoint, paths)


@contextlib.contextmanager
def _misfit_named(checkpoint: Path, config: Path) -> Iterator[None]:
    """Add to the error which configuration a checkpoint does not fit."""
    try:
        yield
    except MisfitError as error:
        raise EvaluationError(
            f"{checkpoint}: does not fit {config}: {error.what}; give the YAML this checkpoint was trained by"
        ) from error


def _check_store(loaded: LoadedRun, manifest: RunManifest) -> None:
    augmentation = loaded.datamodule.augmentation
    # a store that no sample depends on need not be the one of the training
    store = augmentation.store if augmentation.depends_on_store else None
    found = "" if store is None else store.fingerprint
    if found != manifest.augment.fingerprint:
        where = "no store" if store is None else store.path
        raise EvaluationError(
            f"{where}: fingerprint {found[:12] or 'none'}, but {loaded.source} was "
            f"trained on one with {manifest.augment.fingerprint[:12] or 'none'}; name that store with --store"
        )
