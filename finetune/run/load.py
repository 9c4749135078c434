"""Opening a network with trained weights, and its data: a finished run, or any checkpoint with its YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from terratorch.tasks import SemanticSegmentationTask
from torch import Tensor

from augment_store.io.remote import as_path
from finetune.data.datamodule import TimStoreDataModule
from finetune.run.config import Config, normalise, read_yaml, with_our_datamodule
from finetune.run.lightning_cli import build
from finetune.run.manifest import CONFIG, RunManifest
from finetune.run.preflight import PathOverrides
from finetune.run.trust import check_trusted
from terramind_weights.checkpoint import read_exact


class Loaded(NamedTuple):
    """A task in evaluation mode with trained weights, and its datamodule, not set up yet."""

    task: SemanticSegmentationTask
    datamodule: TimStoreDataModule


def load_run(run: str | Path, checkpoint: str = "best", places: PathOverrides | None = None) -> Loaded:
    """The task of a run in evaluation mode with its trained weights, and its datamodule.

    Call ``datamodule.setup("test")``; then ``datamodule.test_dataloader()`` yields batches with ``chip_id`` and
    ``scene_id``, and ``task(datamodule.model_batch(batch)["image"]).output`` are their logits ``[B, class, H, W]``.

    Args:
        run: Run directory of `python -m finetune fit`.
        checkpoint: ``best`` or ``last``.
        places: Where chips and store are now.

    Raises:
        RunError: If the directory holds no run or no such checkpoint, or the checkpoint is not the one training left.
        ConfigError: If its configuration would run code of a package that is not trusted.
        MisfitError: If the checkpoint belongs to another network than the configuration's.
        AugmentStoreError: If the configuration, the store or the checkpoint cannot be used.
    """
    run = Path(run)
    manifest = RunManifest.read(run)
    weights = manifest.checkpoint(run, checkpoint)
    plain = read_yaml(run / CONFIG)
    check_trusted(plain, run / CONFIG)
    places = places or PathOverrides()
    return _load(_with_whole_paths(plain, manifest, places), run / CONFIG, weights, places)


def _with_whole_paths(config: Config, manifest: RunManifest, places: PathOverrides) -> Config:
    """A run's configuration with the manifest's absolute paths, where its own were relative to another folder."""
    data = dict(config["data"].get("init_args") or {})
    root, store = (as_path(str(data.get(name) or ".")) for name in ("data_root", "augment"))
    if places.chips is None and not root.is_dir():
        data["data_root"] = manifest.data.root
    if places.store is None and manifest.augment.store and not (store / "zarr.json").is_file():
        data["augment"] = manifest.augment.store
    if places.layout is None and data.get("layout") is not None:
        data["layout"] = manifest.data.layout
    return {**config, "data": {**config["data"], "init_args": data}}


def load_checkpoint(config: Path, checkpoint: Path, places: PathOverrides | None = None) -> Loaded:
    """The task of any checkpoint of TerraTorch's segmentation task, with the YAML it was trained by, as `load_run`.

    Args:
        config: The YAML; the classes and modules it names are imported.
        checkpoint: Lightning checkpoint or bare state dict.
        places: Where chips and store are.

    Raises:
        MisfitError: If the checkpoint belongs to another network than the YAML's.
        AugmentStoreError: If either cannot be read, or chips or store cannot be used.
    """
    return _load(
        with_our_datamodule(read_yaml(config), config), config, checkpoint, places or PathOverrides()
    )


def _load(plain: Config, origin: Path, checkpoint: Path, places: PathOverrides) -> Loaded:
    given = _for_evaluation(plain, places)
    cli = build(given, origin, settle=normalise, bare=True)
    state: Mapping[str, Tensor] = read_exact(checkpoint, cli.model).tensors
    # the checkpoint holds the network alone; the criterion keeps its own tensors
    cli.model.load_state_dict({**cli.model.state_dict(), **state}, strict=True)
    return Loaded(cli.model.eval(), cli.datamodule)


def _for_evaluation(config: Mapping[str, Any], places: PathOverrides) -> Config:
    """A configuration without what only training needs: how it is run, logged and saved."""
    data = dict(config["data"].get("init_args") or {})
    if places.chips is not None:
        data |= {"data_root": str(places.chips), "train_split": None, "val_split": None, "test_split": None}
    if places.layout is not None:
        data["layout"] = places.layout
    if places.store is not None:
        data["augment"] = str(places.store)
    trainer = {"logger": False, "enable_checkpointing": False}
    return {**config, "trainer": trainer, "data": {**config["data"], "init_args": data}}
