"""Runs one command: resolves the configuration, checks the data, trains or evaluates, and keeps the record."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import torch
import yaml

from augment_store.lock import exclusive
from augment_store.words import now
from finetune.errors import RunError
from finetune.model.starting import check_resumable, check_trainable, read_same, start_from
from finetune.options import Options
from finetune.run.config import Config, check_agreement, check_trusted, read_yaml, resolve
from finetune.run.manifest import CHECKPOINTS, CONFIG, MANIFEST, RunManifest
from finetune.run.predictions import PredictionWriter
from finetune.run.recording import carry_over, finish, make_manifest
from finetune.run.task import FinetuneCLI, build, build_bare


def run(options: Options) -> None:
    """Runs a command.

    Raises:
        AugmentStoreError: If options, YAML, data, store or weights are unfit; before anything is trained.
    """
    given = read_yaml(options.config)
    if (
        options.config == options.run / CONFIG
    ):  # a run may be someone else's; a YAML that is named is the user's own
        check_trusted(given, options.config)
    config = resolve(given, options, gpu=torch.cuda.is_available())
    fresh = options.command == "fit" and options.ckpt_path is None
    cli = (build if fresh else build_bare)(config, options.overrides, options.config)
    final = cli.plain_config()
    check_agreement(final, cli.datamodule.augmentation.encoding)
    if options.command == "fit":
        if not fresh:
            _keep(final, config, "backbone_pretrained")
        with exclusive(options.run) if cli.trainer.is_global_zero else contextlib.nullcontext():
            _fit(options, cli, final)
    else:
        _evaluate(options, cli)


def _keep(final: Config, config: Config, key: str) -> None:
    """Keeps on record what was left out in building a run that goes on."""
    given = config["model"]["init_args"]["model_args"]
    if key in given:
        final["model"]["init_args"]["model_args"][key] = given[key]


def _check_free(options: Options) -> None:
    """A run directory holds one run; one that left no checkpoint, such as a smoke run, may be replaced."""
    left = sorted((options.run / CHECKPOINTS).glob("*.ckpt"), key=lambda path: path.stem != "last")
    if options.ckpt_path is None and left:
        raise RunError(
            f"{options.run}: holds a run already; choose another --run, or resume it with --ckpt_path {left[0]}"
        )


def _fit(options: Options, cli: FinetuneCLI, config: Config) -> None:
    started, created, first = time.monotonic(), now(), cli.trainer.is_global_zero
    if first:  # of several processes, one looks after the run directory
        _check_free(options)
    check_trainable(cli.model)
    if options.init is not None:
        start_from(cli.model, options.init)
    if options.ckpt_path is not None:
        read_same(options.ckpt_path, cli.model)
        check_resumable(options.ckpt_path)
    cli.datamodule.setup("fit")
    manifest = make_manifest(options, config, cli.datamodule, created)
    if options.ckpt_path is not None and (options.run / MANIFEST).is_file():
        manifest = carry_over(manifest, RunManifest.read(options.run), options.run)
    if first:
        options.run.mkdir(parents=True, exist_ok=True)
        (options.run / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        manifest.write(options.run)
    complete = False
    try:
        cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=_text(options.ckpt_path))
        complete = True
    finally:  # an interrupted run is on record too, and can be resumed
        seconds = time.monotonic() - started
        finished = finish(manifest, cli.model, cli.trainer, options.run, seconds, complete=complete)
        if first:
            finished.write(options.run)


def _evaluate(options: Options, cli: FinetuneCLI) -> None:
    checkpoint = options.ckpt_path or _best(options.run)
    read_same(checkpoint, cli.model)
    cli.datamodule.setup(options.command)
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
