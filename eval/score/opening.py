"""Opening a network to be scored: a run of this project, or any TerraTorch checkpoint with its YAML."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from terratorch.tasks import SemanticSegmentationTask
from torch import Tensor, nn

from eval.errors import ScoreError
from finetune.data.datamodule import TimStoreDataModule
from finetune.model.starting import read_task_state
from finetune.options import Options
from finetune.run.config import read_yaml, resolve
from finetune.run.manifest import CONFIG, RunManifest
from finetune.run.reopen import Places, load_run
from finetune.run.task import build


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


def open_run(run: Path, checkpoint: str, places: Places) -> Opened:
    """Opens a run of `python -m finetune fit`.

    Args:
        run: Run directory.
        checkpoint: ``best`` or ``last``.
        places: Where chips and store lie now.

    Raises:
        ScoreError: If the run did not finish, or the store is not the one it was trained on.
        AugmentStoreError: If the directory holds no run, or checkpoint, chips or store cannot be used.
    """
    manifest = RunManifest.read(run)
    check_complete(run, manifest)
    task, datamodule = load_run(run, checkpoint, places)  # it proves that every tensor is the checkpoint's
    path = run / manifest.checkpoints[checkpoint]
    _check_store(run, manifest, datamodule)
    return Opened(task, datamodule, run / CONFIG, path, manifest.cost.precision, manifest)


def check_complete(run: Path, manifest: RunManifest) -> None:
    """Makes sure that a run finished its training.

    Raises:
        ScoreError: If it did not.
    """
    if not manifest.complete:
        raise ScoreError(
            f"{run}: its training did not finish; resume it with fit --ckpt_path, or train again"
        )


def open_checkpoint(config: Path, checkpoint: Path, places: Places) -> Opened:
    """Opens any checkpoint of TerraTorch's segmentation task with the YAML it was trained by.

    Args:
        config: The YAML.
        checkpoint: Lightning checkpoint or bare state dict.
        places: Where chips and store lie.

    Raises:
        ScoreError: If the checkpoint does not fit the YAML.
        AugmentStoreError: If either cannot be read, or chips or store cannot be used.
    """
    options = Options(
        "test", config, checkpoint.parent, chips=places.chips, augment=places.store, weights="random"
    )
    resolved = resolve(read_yaml(config), options, gpu=torch.cuda.is_available())
    resolved["trainer"] |= {"logger": False, "callbacks": None, "enable_checkpointing": False}
    state = read_task_state(checkpoint)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using PEFT without a pretrained backbone")
        cli = build(resolved, (), config)
    _check_fit(cli.model, state, checkpoint, config)
    cli.model.load_state_dict(state, strict=False)  # its other tensors are no weights
    precision = str(resolved["trainer"].get("precision", "32-true"))
    return Opened(cli.model.eval(), cli.datamodule, config, checkpoint, precision, None)


def _check_fit(task: nn.Module, given: dict[str, Tensor], checkpoint: Path, config: Path) -> None:
    """Every tensor of the network is in the checkpoint, in its shape, and no other is."""
    own = {name: tensor for name, tensor in task.state_dict().items() if name.startswith("model.")}
    for name in sorted({*own, *given}):
        if name not in given:
            raise ScoreError(_unfit(checkpoint, config, f"tensor {name} is missing"))
        if name not in own:
            raise ScoreError(_unfit(checkpoint, config, f"tensor {name} has no place in the network"))
        found, expected = tuple(given[name].shape), tuple(own[name].shape)
        if found != expected:
            raise ScoreError(_unfit(checkpoint, config, f"{name} has shape {found}, expected {expected}"))


def _unfit(checkpoint: Path, config: Path, reason: str) -> str:
    return f"{checkpoint}: does not fit {config}: {reason}; give the YAML this checkpoint was trained by"


def _check_store(run: Path, manifest: RunManifest, datamodule: TimStoreDataModule) -> None:
    store = datamodule.augmentation.store
    found = store.store.fingerprint if store else ""
    if found != manifest.augment.fingerprint:
        place = store.path if store else "no store"
        raise ScoreError(
            f"{place}: fingerprint {found[:12] or 'none'}, but {run} was trained on one with "
            f"{manifest.augment.fingerprint[:12] or 'none'}; name that store with --store"
        )
