"""Runs one command: resolves the configuration, checks the data, trains or evaluates, and keeps the record."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

import torch
import yaml

from augment_store.io.files import atomic_write
from augment_store.io.lock import file_lock
from augment_store.utils.text import pluralize, utc_now
from finetune.errors import RunError
from finetune.model.initialization import check_trainable, start_from
from finetune.options import Options
from finetune.run.callbacks import PredictionWriter
from finetune.run.config import Config, resolve
from finetune.run.lightning_cli import FinetuneCLI, build
from finetune.run.manifest import CONFIG, MANIFEST, RunManifest
from finetune.run.manifest_builder import complete_manifest, make_manifest, resume_manifest
from finetune.run.preflight import check_free
from finetune.run.trainer import without_places
from terramind_weights.checkpoint import read_exact
from terramind_weights.weight_files import WeightsError


def run(options: Options, yaml_given: Config) -> None:
    """Runs a command.

    Args:
        options: The command line.
        yaml_given: The YAML, by `check_early`.

    Raises:
        AugmentStoreError: If options, YAML, data, store or weights are invalid; before anything is trained.
    """

    def settle(given: Config) -> Config:
        return resolve(given, options, gpu=torch.cuda.is_available())

    bare = options.command != "fit" or options.ckpt_path is not None
    cli = build(yaml_given, options.config, options.overrides, settle, bare=bare)
    if options.command == "fit":
        with file_lock(options.run) if cli.trainer.is_global_zero else contextlib.nullcontext():
            _fit(options, cli)
    else:
        _evaluate(options, cli)


def _fit(options: Options, cli: FinetuneCLI) -> None:
    started, created, first = time.monotonic(), utc_now(), cli.trainer.is_global_zero
    if first:  # of several processes, one manages the run directory
        check_free(options)  # again: another process may have trained until the folder was ours
    _prepare_weights(options, cli)
    cli.datamodule.setup("fit")
    manifest = make_manifest(options, cli.record, cli.datamodule, created, cli.trainer.world_size)
    if options.ckpt_path is not None and (options.run / MANIFEST).is_file():
        manifest = resume_manifest(manifest, RunManifest.read(options.run), options.run)
    if first:
        _record(options, cli, manifest)
    for logger in cli.trainer.loggers:
        logger.log_hyperparams({"manifest": manifest.known_at_start()})
    complete = False
    try:
        cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=_text(options.ckpt_path))
        complete = True
    finally:  # an interrupted run is recorded too, and can be resumed
        seconds = time.monotonic() - started
        finished = complete_manifest(
            manifest, cli.model, cli.trainer, options.run, seconds, complete=complete
        )
        if first:
            finished.write(options.run)
    if first and not options.smoke:
        _say_done(options.run, finished)


def _prepare_weights(options: Options, cli: FinetuneCLI) -> None:
    """Gives the network the weights that it starts from, and makes sure that it can train and resume."""
    check_trainable(cli.model)
    if options.init is not None:
        start_from(cli.model, options.init)
    if options.ckpt_path is not None:
        _check_resumable(options.ckpt_path, cli)


def _record(options: Options, cli: FinetuneCLI, manifest: RunManifest) -> None:
    """Writes what the run is, before it trains."""
    options.run.mkdir(parents=True, exist_ok=True)
    recorded = {**cli.record, "trainer": without_places(cli.record["trainer"], options.run)}
    atomic_write(options.run / CONFIG, [yaml.safe_dump(recorded, sort_keys=False).encode()])
    manifest.write(options.run)


def _say_done(run: Path, manifest: RunManifest) -> None:
    done = f"{pluralize(manifest.cost.epochs, 'epoch')}, {pluralize(manifest.cost.steps, 'step')}"
    sys.stdout.write(f"{run}: {done}; next: python -m eval score {run}\n")


def _check_resumable(path: Path, cli: FinetuneCLI) -> None:
    """Makes sure that a checkpoint belongs to this network and holds all that training needs to resume."""
    if not read_exact(path, cli.model).resumable:
        raise WeightsError(
            f"{path}: holds weights only, so training cannot resume from it; start a run from it with --init"
        )


def _evaluate(options: Options, cli: FinetuneCLI) -> None:
    checkpoint = options.ckpt_path or _best(options.run)
    read_exact(checkpoint, cli.model)
    cli.datamodule.setup(options.command)
    if options.command == "test" and (options.run / MANIFEST).is_file():
        root, splits = cli.datamodule.chips.root, cli.datamodule.splits
        RunManifest.read(options.run).check_held_out(options.run, root, splits.digests)
    if options.command == "predict":
        cli.trainer.callbacks.append(PredictionWriter(options.run / "predictions", cli.datamodule))
        cli.trainer.predict(
            cli.model, datamodule=cli.datamodule, ckpt_path=str(checkpoint), return_predictions=False
        )
    else:
        evaluate = cli.trainer.test if options.command == "test" else cli.trainer.validate
        evaluate(cli.model, datamodule=cli.datamodule, ckpt_path=str(checkpoint))


def _best(run: Path) -> Path:
    """The best checkpoint of a run."""
    manifest = RunManifest.read(run)
    if "best" not in manifest.checkpoints:
        raise RunError(f"{run}: the run left no best checkpoint; name one with --ckpt_path")
    return manifest.checkpoint(run, "best")


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
