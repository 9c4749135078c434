"""Load a network with trained weights and its data: a recorded run, or any checkpoint with its YAML."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from terratorch.tasks import SemanticSegmentationTask

from augment_store.io.files import printable
from augment_store.io.remote import as_path
from augment_store.modalities.pictures import photo_uri
from augment_store.utils.notebook import to_html
from finetune.data.datamodule import TimStoreDataModule
from finetune.errors import RunError
from finetune.model.initialization import read_trained
from finetune.run.config import normalize, with_our_datamodule
from finetune.run.lightning_cli import build
from finetune.run.manifest import CONFIG, CURVES, MANIFEST, PREDICTIONS_GRID, RunManifest
from finetune.run.preflight import PathOverrides
from finetune.run.trainer import PRECISION
from finetune.run.trust import rebuild
from finetune.run.yaml_file import Config, read_yaml
from terramind_weights.tf32 import float32_products
from terramind_weights.weight_files import sha256_of_file

_SIDE: Final = 192
_QUALITY: Final = 60
"""Pixels of the pictures of a run in a notebook, and their quality."""

HALF: Final = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


@dataclass(frozen=True, repr=False)
class LoadedRun:
    """A trained network and its data; each file of the run was read once.

    Attributes:
        source: Run directory, or the YAML of a checkpoint that no run recorded.
        manifest: The run's manifest; None for any other checkpoint.
        config: The YAML as it was recorded, as plain values; only what is known to be harmless was built of it.
        checkpoint: The weight file.
        checkpoint_sha256: SHA-256 of that file, which the manifest was compared with.
        task: TerraTorch's task in evaluation mode, with the trained weights.
        datamodule: Its datamodule, not set up yet.
    """

    source: Path
    manifest: RunManifest | None
    config: Config
    checkpoint: Path
    checkpoint_sha256: str
    task: SemanticSegmentationTask
    datamodule: TimStoreDataModule

    def __repr__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self._facts().items())
        return printable(f"<LoadedRun {self.source}: {facts}>")

    def _repr_html_(self) -> str:
        """Return what was trained as a table, and the pictures that its training left."""
        pictures = {}
        for name in (CURVES, PREDICTIONS_GRID):
            if (path := self.source / name).is_file():
                pictures[name] = photo_uri(np.asarray(Image.open(path).convert("RGB")), _SIDE, _QUALITY)
        return to_html("LoadedRun", {"run": self.source, **self._facts()}, pictures)

    def _facts(self) -> dict[str, object]:
        """Return what a reader asks of a run first."""
        if self.manifest is None:
            return {"checkpoint": self.checkpoint.name}
        joined, cost = self.manifest.augment, self.manifest.cost
        return {
            "inputs": " ".join(self.manifest.data.modalities),
            "maps": " ".join([*joined.encoding, *filter(None, [joined.control])]) or "none",
            "seed": self.manifest.seed,
            "epochs": cost.epochs,
            "steps": cost.steps,
        }

    @property
    def precision(self) -> str:
        """Arithmetic of the training: ``tf32``, or Lightning's precision, e.g. ``32-true``."""
        if self.manifest is not None:
            return self.manifest.cost.precision
        return str((self.config.get("trainer") or {}).get("precision") or PRECISION)


def load_run(
    run: str | Path,
    checkpoint: str = "best",
    paths: PathOverrides | None = None,
    manifest: RunManifest | None = None,
) -> LoadedRun:
    """Load a run of `tim-finetune fit` with its trained weights.

    Call ``loaded.datamodule.setup("test")``; then ``loaded.datamodule.test_dataloader()`` yields batches with
    ``chip_id`` and ``scene_id``, and ``loaded.task(loaded.datamodule.model_batch(batch)["image"]).output`` are their
    logits ``[B, class, H, W]``.

    Args:
        run: Run directory.
        checkpoint: ``best`` or ``last``.
        paths: Where chips and store are now.
        manifest: The run's manifest, if it has been read already.

    Raises:
        RunError: If the directory holds no run or no such checkpoint, or the checkpoint is not the one training left.
        ConfigError: If its configuration names a class or an argument that may run code of its own.
        MisfitError: If the checkpoint belongs to another network than the configuration's.
        AugmentStoreError: If the configuration, the store or the checkpoint cannot be used.
    """
    run, paths = Path(run), paths or PathOverrides()
    manifest = RunManifest.read(run) if manifest is None else manifest
    weights = manifest.checkpoint(run, checkpoint)
    config = read_yaml(run / CONFIG, inline=False)
    # before anything is built: a run may come from someone else
    known = rebuild(config, run / CONFIG, training=False, given=paths.arguments)
    given = _with_whole_paths(known, manifest, paths, run)
    task, datamodule = _load(given, run / CONFIG, weights, paths, recorded=True)
    digest = manifest.checkpoint_sha256[checkpoint]  # which `checkpoint` has compared with the file's
    return LoadedRun(run, manifest, config, weights, digest, task, datamodule)


def _with_whole_paths(config: Config, manifest: RunManifest, paths: PathOverrides, run: Path) -> Config:
    """Replace paths that were relative to another folder by the manifest's absolute ones.

    Raises:
        RunError: If the manifest names a URL, which nobody asked to read.
    """
    data = dict(config["data"]["init_args"])
    recorded = {
        "data_root": manifest.data.root,
        "augment": manifest.augment.store,
        "layout": manifest.data.layout,
    }
    # what the user gives anew replaces the manifest's, so that a URL there does no harm
    for name in set(recorded) - set(paths.arguments):
        if "://" in (recorded[name] or ""):
            raise RunError(
                f"{run / MANIFEST}: {recorded[name]} is a URL; if it is yours, give it by --chips or --store"
            )
    root, store = (as_path(str(data.get(name) or ".")) for name in ("data_root", "augment"))
    # paths of the YAML are relative to the folder in which the run was started
    if paths.chips is None and not root.is_dir():
        data["data_root"] = manifest.data.root
    named = manifest.augment.store
    # a bundle's own store, whatever is called so in this folder
    within = named is not None and Path(named).is_relative_to(run.resolve())
    if paths.store is None and named and (within or not (store / "zarr.json").is_file()):
        data["augment"] = named
    if paths.layout is None and data.get("layout") is not None:
        data["layout"] = manifest.data.layout
    return {**config, "data": {**config["data"], "init_args": data}}


def load_checkpoint(config: Path, checkpoint: Path, paths: PathOverrides | None = None) -> LoadedRun:
    """Load any checkpoint of TerraTorch's segmentation task, with the YAML it was trained by, as `load_run`.

    Args:
        config: The YAML; the classes and modules it names are imported.
        checkpoint: Lightning checkpoint or bare state dict.
        paths: Where chips and store are.

    Raises:
        MisfitError: If the checkpoint belongs to another network than the YAML's.
        AugmentStoreError: If either cannot be read, or chips or store cannot be used.
    """
    plain = with_our_datamodule(read_yaml(config), config)
    task, datamodule = _load(plain, config, checkpoint, paths or PathOverrides())
    return LoadedRun(config, None, plain, checkpoint, sha256_of_file(checkpoint), task, datamodule)


def _load(
    config: Config, origin: Path, checkpoint: Path, paths: PathOverrides, *, recorded: bool = False
) -> tuple[SemanticSegmentationTask, TimStoreDataModule]:
    given = _for_evaluation(config, paths)
    cli = build(given, origin, settle=normalize, bare=True, recorded=recorded)
    state = read_trained(checkpoint, cli.model).tensors
    # the checkpoint holds the network alone; the criterion keeps its own tensors
    cli.model.load_state_dict({**cli.model.state_dict(), **state}, strict=True)
    return cli.model.eval(), cli.datamodule


def _for_evaluation(config: Mapping[str, Any], paths: PathOverrides) -> Config:
    """Leave out what only training needs: how it is run, logged and saved."""
    data = dict(config["data"].get("init_args") or {})
    if paths.chips is not None:  # a chip set comes with its own splits
        data |= {"train_split": None, "val_split": None, "test_split": None}
    data |= paths.arguments
    # nothing of the training's trainer is needed, and its devices may not be here
    trainer = {"logger": False, "enable_checkpointing": False}
    return {**config, "trainer": trainer, "data": {**config["data"], "init_args": data}}


@contextlib.contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Compute as a training does; CPUs have no float16 and no TF32."""
    half = HALF.get(precision)
    mixed = half is not None and (half is not torch.float16 or device.type != "cpu")
    with float32_products(precision), torch.autocast(device.type, half if mixed else None, enabled=mixed):
        yield
