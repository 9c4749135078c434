"""Run one command: resolve the configuration, check the data, train or evaluate, and keep the record."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from pathlib import Path

import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException

from augment_store.io.files import atomic_write
from augment_store.io.lock import file_lock
from augment_store.io.signals import SignalInterrupt
from augment_store.utils.text import pluralize, single_line, utc_now
from finetune.data.survey_cache import SURVEY_FOLDER
from finetune.data.training_checks import check_batches
from finetune.errors import ConfigError, RunError
from finetune.features.frozen_features import FrozenFeatures
from finetune.log_filters import notify
from finetune.model.initialization import check_trainable, read_trained, start_from
from finetune.model.monitors import check_monitors
from finetune.model.shapes import check_shape
from finetune.options import STARTING, Options
from finetune.run.callbacks import EpochLines, FiniteTraining, PredictionWriter
from finetune.run.config import resolve
from finetune.run.lightning_cli import FinetuneCLI, build
from finetune.run.manifest import CONFIG, MANIFEST, RunManifest
from finetune.run.manifest_builder import complete_manifest, make_manifest, resume_manifest
from finetune.run.pictures import draw_curves, draw_predictions
from finetune.run.preflight import REQUEUED, check_free
from finetune.run.trainer import PRECISION, without_own_outputs
from finetune.run.yaml_file import Config
from terramind_weights.checkpoint import Checkpoint
from terramind_weights.tf32 import TF32, float32_products, has_tf32
from terramind_weights.weight_files import WeightsError


def run(options: Options, yaml_given: Config) -> None:
    """Run a command.

    Args:
        options: The command line.
        yaml_given: The YAML, by `check_early`.

    Raises:
        AugmentStoreError: If options, YAML, data, store or weights are invalid; before anything is trained.
    """

    def settle(given: Config) -> Config:
        return resolve(given, options, gpu=torch.cuda.is_available())

    # a checkpoint is about to replace the published weights, which then need not be there
    bare = options.command not in STARTING or options.ckpt_path is not None
    cli = build(yaml_given, options.config, options.overrides, settle, bare=bare, recorded=options.recorded)
    cli.datamodule.survey_folder = options.run.parent / SURVEY_FOLDER if options.cache else None
    with float32_products(TF32 if _in_tf32(options, cli) else PRECISION):
        if options.command == "fit":
            with file_lock(options.run) if cli.trainer.is_global_zero else contextlib.nullcontext():
                _fit(options, cli)
        elif options.command == "encode":
            _encode(options, cli)
        else:
            _evaluate(options, cli)


def _in_tf32(options: Options, cli: FinetuneCLI) -> bool:
    """Return whether a command multiplies matrices in TF32.

    Raises:
        ConfigError: If the device has no such arithmetic.
    """
    if options.command not in STARTING:  # as the training did
        recorded = (options.run / MANIFEST).is_file()
        return recorded and RunManifest.read(options.run).cost.precision == TF32
    if options.precision != TF32:
        return False
    device = cli.trainer.strategy.root_device
    if not has_tf32(device):
        raise ConfigError(
            f"--precision {TF32}: TF32 is the arithmetic of NVIDIA GPUs of compute capability 8.0 or more, and this "
            f"run is on {device.type}; use --precision {PRECISION}"
        )
    return True


def _computed(options: Options, cli: FinetuneCLI) -> Config:
    """Return the final configuration with the arithmetic in use, for which Lightning may have no name."""
    precision = TF32 if options.precision == TF32 else cli.record["trainer"]["precision"]
    return {**cli.record, "trainer": {**cli.record["trainer"], "precision": precision}}


def _encode(options: Options, cli: FinetuneCLI) -> None:
    _prepare_weights(options, cli)
    frozen = FrozenFeatures(cli.model, cli.datamodule, _computed(options, cli), options.run)
    cli.datamodule.setup("fit")
    _check_images(cli)
    made = frozen.encode(cli.trainer, options.dtype)
    sys.stdout.write(f"{options.run}: {pluralize(len(frozen.wanted), 'chip')}, {made} of them encoded now\n")


def _fit(options: Options, cli: FinetuneCLI) -> None:
    started, created, first = time.monotonic(), utc_now(), cli.trainer.is_global_zero
    if first:  # of several processes, one manages the run directory
        check_free(options)  # again: another process may have trained until the folder was ours
    check_monitors(cli.trainer, cli.model)
    # before the data, which take longer to read
    _prepare_weights(options, cli)
    # processes count: each normalises its own part of a batch
    added = {"processes": str(cli.trainer.world_size)}
    frozen = None
    if options.features is not None:
        frozen = FrozenFeatures(cli.model, cli.datamodule, _computed(options, cli), options.features)
        added["features"] = frozen.store.key.dtype
        cli.datamodule.audits = False  # encode has looked at the values that these features were made of
    cli.datamodule.setup("fit")
    _check_images(cli)
    check_batches(cli.trainer, cli.model, cli.datamodule)
    if frozen is not None:
        frozen.join()
    manifest = make_manifest(options, _computed(options, cli), cli.datamodule, created, added)
    if options.ckpt_path is not None and (options.run / MANIFEST).is_file():
        manifest = resume_manifest(manifest, RunManifest.read(options.run), options.run)
    # all is checked, so the run may be written down
    if first:
        _record(options, cli, manifest)
    for logger in cli.trainer.loggers:
        logger.log_hyperparams({"manifest": manifest.known_at_start()})
    # before the one that keeps the best checkpoint
    cli.trainer.callbacks[:0] = [FiniteTraining(), *([] if options.smoke else [EpochLines()])]
    complete = False
    try:
        _train(options, cli)
        complete = True
    finally:  # an interrupted run is recorded too, and can be resumed
        seconds = time.monotonic() - started
        finished = complete_manifest(
            manifest, cli.model, cli.trainer, options.run, seconds, complete=complete
        )
        if first:
            finished.write(options.run)
    if first:
        if not options.smoke:
            _draw(options.run, cli)
        _conclude(options, finished)


def _draw(run: Path, cli: FinetuneCLI) -> None:
    """Draw curves and predictions; a complete run stays one where they cannot be drawn."""
    try:
        draw_curves(run)
        draw_predictions(run, cli.model, cli.datamodule, str(cli.trainer.precision))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said, and no weights depend on it
        notify(f"{run}: trained, but its pictures could not be drawn ({single_line(error)})")


def _train(options: Options, cli: FinetuneCLI) -> None:
    """Run Lightning's training, and say why it stopped in the command's own exceptions."""
    try:
        cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=_text(options.ckpt_path))
    except SIGTERMException:  # preemption, scancel or timeout; Lightning's exception alone would exit 0
        raise SignalInterrupt(signal.SIGTERM) from None
    except MisconfigurationException as error:  # what its loops find out only when they run
        raise ConfigError(f"{options.config}: {single_line(error)}") from error
    # Lightning's answer to a KeyboardInterrupt, which may be our handler's for a signal
    except SystemExit as error:
        interrupt = error.__context__
        raise (interrupt if isinstance(interrupt, KeyboardInterrupt) else KeyboardInterrupt()) from error


def _prepare_weights(options: Options, cli: FinetuneCLI) -> None:
    """Give the network the weights that it starts from, and make sure that it can train and resume."""
    check_trainable(cli.model)
    if options.init is not None:
        start_from(cli.model, options.init)
    if options.ckpt_path is not None:
        checkpoint = _read_resumable(options.ckpt_path, cli)
        if options.features is not None:
            # Lightning loads it only after features have been looked up by the backbone's weights; the network alone
            cli.model.load_state_dict(checkpoint.tensors, strict=False)


def _check_images(cli: FinetuneCLI) -> None:
    """Make sure that the network takes the images of every split that is set up."""
    for shape in cli.datamodule.shapes.values():
        check_shape(cli.model, shape)


def _record(options: Options, cli: FinetuneCLI, manifest: RunManifest) -> None:
    """Write what the run is, before it trains."""
    options.run.mkdir(parents=True, exist_ok=True)
    recorded = {**cli.record, "trainer": without_own_outputs(cli.record["trainer"], options.run)}
    atomic_write(options.run / CONFIG, [yaml.safe_dump(recorded, sort_keys=False).encode()])
    manifest.write(options.run)


def _conclude(options: Options, manifest: RunManifest) -> None:
    # Lightning under SLURM would resume from such a file unasked
    for requeued in options.run.glob(REQUEUED):
        requeued.unlink()
    if not options.smoke:
        done = f"{pluralize(manifest.cost.epochs, 'epoch')}, {pluralize(manifest.cost.steps, 'step')}"
        sys.stdout.write(f"{options.run}: {done}; next: tim-eval score {options.run}\n")


def _read_resumable(path: Path, cli: FinetuneCLI) -> Checkpoint:
    """Read a checkpoint of this network that holds all that training needs to resume."""
    checkpoint = read_trained(path, cli.model)
    if not checkpoint.resumable:
        raise WeightsError(
            f"{path}: holds weights only, so training cannot resume from it; start a run from it with --init"
        )
    return checkpoint


def _evaluate(options: Options, cli: FinetuneCLI) -> None:
    checkpoint = options.ckpt_path or _best(options.run)
    # read for its checks; Lightning loads the file itself
    read_trained(checkpoint, cli.model)
    cli.datamodule.setup(options.command)
    _check_images(cli)
    if options.command == "test" and (options.run / MANIFEST).is_file():
        root, splits = cli.datamodule.chips.root, cli.datamodule.splits
        RunManifest.read(options.run).check_held_out(options.run, root, splits.digests)
    if options.command == "predict":
        cli.trainer.callbacks.append(PredictionWriter(options.run / "predictions", cli.datamodule))
        cli.trainer.predict(
            cli.model,
            datamodule=cli.datamodule,
            ckpt_path=str(checkpoint),
            # the writer has them batch by batch; kept, they would fill the memory
            return_predictions=False,
        )
    else:
        evaluate = cli.trainer.test if options.command == "test" else cli.trainer.validate
        evaluate(cli.model, datamodule=cli.datamodule, ckpt_path=str(checkpoint))


def _best(run: Path) -> Path:
    """Return the best checkpoint of a run."""
    manifest = RunManifest.read(run)
    if "best" not in manifest.checkpoints:
        raise RunError(f"{run}: the run left no best checkpoint; name one with --ckpt_path")
    return manifest.checkpoint(run, "best")


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
