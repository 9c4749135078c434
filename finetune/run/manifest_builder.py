"""Fill in a run's manifest."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any, Final

from lightning.pytorch import Trainer
from torch import nn

from augment_store.chips.layouts import wherever_run
from augment_store.utils.text import versions
from finetune.data.datamodule import TimStoreDataModule
from finetune.errors import RunError
from finetune.options import Options
from finetune.run.manifest import (
    CHECKPOINTS,
    AugmentRecord,
    CostRecord,
    DataRecord,
    RunManifest,
    SplitRecord,
    StartRecord,
)
from finetune.run.recipe import LENGTH, Recipe, recipe_of
from terramind_weights.backbone import network_file
from terramind_weights.tf32 import TF32
from terramind_weights.weight_files import sha256_of_file

PACKAGES: Final = (
    "terramind-tim-store",
    "terratorch",
    "torch",
    "lightning",
    "albumentations",
    "zarr",
    "numpy",
    "peft",
)
"""Packages whose code decides the result."""


def make_manifest(
    options: Options, config: dict[str, Any], datamodule: TimStoreDataModule, created: str, added: Recipe
) -> RunManifest:
    """Make the manifest of a run that is about to start; `complete_manifest` completes it.

    Args:
        options: The command line.
        config: Final configuration as plain values.
        datamodule: Datamodule, set up for training.
        created: When the run started.
        added: Settings that the configuration does not have, see `OF_A_RUN`.
    """
    model = config["model"]["init_args"]["model_args"]
    return RunManifest(
        created=created,
        complete=False,
        smoke=options.smoke,
        seed=int(config["seed_everything"]),
        class_names=datamodule.class_names,
        recipe={**recipe_of(config), **added},
        data=_data_record(datamodule),
        augment=augment_record(datamodule, str(model.get("backbone_new_columns", "zero"))),
        start=_start_record(options, model),
        cost=CostRecord(0, 0, 0, 0, 0.0, "", str(config["trainer"]["precision"])),
        checkpoints={},
        checkpoint_sha256={},
        versions=versions(PACKAGES),
        git_commit=_git_commit(),
    )


def _data_record(datamodule: TimStoreDataModule) -> DataRecord:
    splits, records = datamodule.splits, {}
    digests = splits.digests
    for name, ids in splits.ids.items():
        # only splits that were set up have been read
        survey = datamodule.surveys.get(name)
        records[name] = SplitRecord(
            chips=len(ids),
            scenes=len({splits.scenes[chip_id] for chip_id in ids}),
            ids=digests[name],
            inputs=survey.inputs if survey else "",
            masks=survey.masks if survey else "",
        )
    return DataRecord(
        root=str(datamodule.chips.root.resolve()),
        modalities=datamodule.reading.modalities,
        timesteps=datamodule.reading.timesteps,
        splits=records,
        scene_overlap=splits.overlap,
        limited_to=datamodule.limit_chips,
        layout=wherever_run(datamodule.layout),
        chip_shape=datamodule.surveys["train"].shape,
        shared_chips=datamodule.shared_chips,
    )


def augment_record(datamodule: TimStoreDataModule, new_columns: str) -> AugmentRecord:
    """Record what a datamodule joins to its chips."""
    augmentation = datamodule.augmentation
    # a store that no sample depends on is no part of the run, such as under a constant
    store, maps = augmentation.store if augmentation.depends_on_store else None, augmentation.maps
    return AugmentRecord(
        encoding=augmentation.encoding,
        planes=augmentation.plan.plane_names,
        control=augmentation.request.control,
        control_seed=augmentation.request.seed,
        new_columns=new_columns,
        store=None if store is None else str(store.path.resolve()),
        fingerprint="" if store is None else store.fingerprint,
        arrays=maps.arrays if maps else (),
    )


def _start_record(options: Options, model: dict[str, Any]) -> StartRecord:
    architecture = str(model.get("backbone_architecture") or model.get("backbone"))
    weights, digest = "random", ""
    if options.ckpt_path is not None:  # for a run not recorded here; else `resume_manifest` knows
        weights, digest = str(options.ckpt_path.resolve()), sha256_of_file(options.ckpt_path)
    elif model.get("backbone_pretrained"):
        named = model.get("backbone_weights")
        path = network_file(architecture, Path(named) if named else None)
        weights, digest = str(path), sha256_of_file(path)
    return StartRecord(
        architecture=architecture,
        weights=weights,
        weights_sha256=digest,
        init=str(options.init.resolve()) if options.init else None,
        init_sha256=sha256_of_file(options.init) if options.init else "",
        resumed=str(options.ckpt_path.resolve()) if options.ckpt_path else None,
    )


def resume_manifest(manifest: RunManifest, earlier: RunManifest, run: Path) -> RunManifest:
    """Make the manifest of a run that resumes: it keeps the earlier one's time of creation, start and cost so far.

    Args:
        manifest: Manifest of what is about to resume, by `make_manifest`.
        earlier: Manifest in the run directory.
        run: Run directory, for the message.

    Raises:
        RunError: If it would be another run; the message names the fields that differ.
    """
    ours, theirs = _identity(manifest), _identity(earlier)
    differing = [name for name in dict.fromkeys((*ours, *theirs)) if ours.get(name) != theirs.get(name)]
    if differing:
        raise RunError(
            f"{run}: cannot be resumed as another run; its manifest has another {', '.join(differing)}; give what it "
            "was started with, on as many devices of the same kind, or start an arm of its own with --init and another "
            "--run"
        )
    # where the weights came from is settled by the first part of a run
    start = dataclasses.replace(earlier.start, resumed=manifest.start.resumed)
    return dataclasses.replace(
        manifest,
        created=earlier.created,
        start=start,
        cost=earlier.cost,
        versions={
            name: _then(earlier.versions.get(name, ""), now) for name, now in manifest.versions.items()
        },
        checkpoints=earlier.checkpoints,
        checkpoint_sha256=earlier.checkpoint_sha256,
    )


def _then(earlier: str, now: str) -> str:
    """Join what the parts of a run were trained with, one after another."""
    return (
        now
        if earlier in ("", now)
        else earlier
        if earlier.endswith(f"then {now}")
        else f"{earlier}, then {now}"
    )


def _identity(manifest: RunManifest) -> dict[str, object]:
    """List what must not change when a run is resumed, by its name in the manifest."""
    # paths may change between the parts of a run, digests may not
    splits = {f"data.splits.{name}": split for name, split in manifest.data.splits.items()}
    joined = {
        f"augment.{name}": getattr(manifest.augment, name)
        for name in ("encoding", "control", "control_seed", "fingerprint")
    }
    recipe = {f"recipe.{name}": text for name, text in manifest.recipe.items() if name not in LENGTH}
    return {"seed": manifest.seed, "class_names": manifest.class_names, **splits, **joined, **recipe}


def complete_manifest(
    manifest: RunManifest, task: nn.Module, trainer: Trainer, run: Path, seconds: float, *, complete: bool
) -> RunManifest:
    """Complete a manifest with the run's total cost, earlier parts included, and its checkpoints."""
    cost = CostRecord(
        parameters=sum(parameter.numel() for parameter in task.parameters()),
        trainable_parameters=sum(p.numel() for p in task.parameters() if p.requires_grad),
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        wall_seconds=round(manifest.cost.wall_seconds + seconds, 3),
        device=_then(manifest.cost.device, trainer.strategy.root_device.type),
        # Lightning has no name for TF32
        precision=TF32 if manifest.cost.precision == TF32 else str(trainer.precision),
    )
    # a run cut down to a few steps, or stopped in its first epoch, leaves none
    names = ("best", "last")
    checkpoints = {
        name: f"{CHECKPOINTS}/{name}.ckpt" for name in names if (run / CHECKPOINTS / f"{name}.ckpt").is_file()
    }
    digests = {name: sha256_of_file(run / path) for name, path in checkpoints.items()}
    return dataclasses.replace(
        manifest, cost=cost, checkpoints=checkpoints, checkpoint_sha256=digests, complete=complete
    )


def _git_commit() -> str | None:
    """Return the commit of the checkout this package is run from, ``-dirty`` if changed; None outside a checkout."""
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None  # installed, perhaps inside another project's checkout
    # no tag: the commit alone
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*words: str) -> str | None:
    """Return git's answer in this folder, or None if it fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
