"""The trainer of a run: logs and checkpoints go into the run directory; the YAML's loggers and callbacks stay."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from finetune.errors import ConfigError
from finetune.log_filters import notify
from finetune.options import COMMANDS, Options
from finetune.run.manifest import CHECKPOINTS
from terramind_weights.tf32 import TF32

Config = dict[str, Any]

WHOLE_CHECKPOINTS: Final = "finetune.run.callbacks.WholeCheckpoints"
LOGGERS: Final = "lightning.pytorch.loggers"
MODEL_CHECKPOINT: Final = "lightning.pytorch.callbacks.ModelCheckpoint"
OWN_CLASSES: Final = (
    WHOLE_CHECKPOINTS,
    MODEL_CHECKPOINT,
    f"{LOGGERS}.CSVLogger",
    f"{LOGGERS}.TensorBoardLogger",
)
"""Classes that a run adds to the trainer of its YAML."""

LOGS: Final = "logs"
OWN_LOGS: Final = re.compile(rf"({'|'.join(COMMANDS)})_\d+")
"""Names of the folders that our own loggers write to."""

NEED_A_LOGGER: Final = ("LearningRateMonitor",)
"""Callbacks that Lightning refuses without a logger; a smoke run has none."""

SMOKE_STEPS: Final = 2

TRAINING_NOTHING: Final = ("max_epochs", "max_steps", "limit_train_batches")
"""Arguments of the trainer with which, at 0, it takes no step."""

PRECISION: Final = "32-true"
"""Arithmetic of a YAML that names none."""

PRECISIONS: Final = (PRECISION, "16-mixed", "bf16-mixed", "32", "16", "bf16")
"""Lightning's names of those that weights of 32 bits allow."""


def resolve_trainer(trainer: Config, options: Options, *, gpu: bool) -> None:
    """Send logs and checkpoints into the run directory.

    Args:
        trainer: Section of the configuration; changed.
        options: The command line.
        gpu: Whether there is a GPU to train on.

    Raises:
        ConfigError: If callbacks, loggers or plugins are not a list of classes, or weights would not have 32 bits.
    """
    trainer["default_root_dir"] = str(options.run)
    check_precision(trainer.get("precision"))
    # a table of five parts and no FLOPs for every fit of a study
    trainer.setdefault("enable_model_summary", False)
    # Lightning has no name for TF32; `finetune.run.train` lets matrices be multiplied so
    named = PRECISION if options.precision == TF32 else options.precision
    precision = str(named or trainer.get("precision") or PRECISION)
    # CPUs have no float16 arithmetic
    trainer["precision"] = PRECISION if not gpu and precision.startswith("16") else precision
    callbacks = _callbacks(trainer, options)
    if options.command == "encode":
        trainer |= {"logger": False, "enable_checkpointing": False, "callbacks": []}
        return
    if options.smoke:
        # Lightning then writes neither checkpoints nor logs
        trainer |= {"fast_dev_run": SMOKE_STEPS, "logger": False, "callbacks": callbacks}
        return
    _write_whole_checkpoints(trainer)
    if options.command == "fit":
        _check_trains(trainer)
    trainer["logger"] = _loggers(trainer, options)
    own = _checkpoints(options.run) if options.command == "fit" else []
    trainer["callbacks"] = [*callbacks, *own]


def check_precision(named: object) -> None:
    """Make sure that a precision is one of those that weights of 32 bits allow.

    Raises:
        ConfigError: If it is another.
    """
    if named is not None and str(named) not in PRECISIONS:
        raise ConfigError(
            f"trainer.precision {named}; expected one of {', '.join(PRECISIONS)}, or --precision {TF32} in its place"
        )


def check_accelerator(trainer: Config, overrides: Sequence[str]) -> None:
    """Make sure that there is a GPU where one is asked for; only then torch, which can tell, is imported.

    Args:
        trainer: Section of the YAML.
        overrides: Options for TerraTorch's parser, which win.

    Raises:
        ConfigError: If there is none.
    """
    asked = f"trainer.accelerator: {trainer.get('accelerator')}"
    for word, value in itertools.pairwise([*overrides, ""]):
        option, _, own = word.partition("=")
        if option == "--trainer.accelerator":
            asked = f"{option} {own or value}"
    if asked.split()[-1] in ("gpu", "cuda"):
        import torch

        if not torch.cuda.is_available() and not (
            asked.endswith("gpu") and torch.backends.mps.is_available()
        ):
            raise ConfigError(
                f"{asked}: PyTorch {torch.__version__} finds no GPU on this machine; run it where it does, or "
                "take auto or cpu"
            )


def _check_trains(trainer: Config) -> None:
    """Make sure that a training takes a step, and can keep its checkpoints."""
    for key in TRAINING_NOTHING:
        # False is 0 too, and no number here
        if trainer.get(key) == 0 and not isinstance(trainer[key], bool):
            raise ConfigError(f"trainer.{key} {trainer[key]} trains nothing; give 1 or more, or leave it out")
    if trainer.get("enable_checkpointing") is False:
        notify("trainer.enable_checkpointing false is left out: a run keeps its best checkpoint and its last")
        trainer["enable_checkpointing"] = True


def without_own_outputs(trainer: Config, run: Path) -> Config:
    """Return a trainer's section as a run records it: without the run's own logs and checkpoints.

    `terratorch test` with a run's configuration would otherwise delete the log of its training and replace the
    configuration by its own, and `terratorch fit` would replace its checkpoints.

    Args:
        trainer: Section of the configuration, by `resolve_trainer`.
        run: Run directory.
    """
    kept = {key: value for key, value in trainer.items() if key not in ("default_root_dir", "logger")}
    if isinstance(trainer.get("logger"), bool):
        return {**kept, "logger": trainer["logger"]}
    # our callbacks are known by the folder they write to
    own = str(run / CHECKPOINTS)
    users = [entry for entry in _classes(trainer, "logger") if not _is_own(entry)]
    callbacks = _classes(trainer, "callbacks")
    kept["callbacks"] = [e for e in callbacks if (e.get("init_args") or {}).get("dirpath") != own]
    return {**kept, "logger": users} if users else kept


def _callbacks(trainer: Config, options: Options) -> list[Config]:
    """Return the YAML's callbacks, except those that a run provides itself or cannot have."""
    given = _classes(trainer, "callbacks")
    if options.command != "fit":
        return []
    dropped = ("ModelCheckpoint", *(NEED_A_LOGGER if options.smoke else ()))
    # by the end of the name, as lightning.pytorch.callbacks.ModelCheckpoint, or a class derived from it
    kept = [entry for entry in given if not entry["class_path"].endswith(dropped)]
    _say_replaced([entry for entry in given if entry not in kept], options.run)
    return kept


def _say_replaced(dropped: list[Config], run: Path) -> None:
    """Report a ModelCheckpoint of the YAML that would have kept other files than the run's own do."""
    # ours keep the last, too, and more than the weights
    own = [{**e["init_args"], "save_last": True, "save_weights_only": True} for e in _checkpoints(run)]
    asked = [entry.get("init_args") or {} for entry in dropped if _is_checkpoint(entry)]
    # a user who asks for no more than ours keep need not be told
    if any(all(_asks_more(arguments, kept) for kept in own) for arguments in asked):
        notify(
            f"the YAML's ModelCheckpoint is replaced: {run / CHECKPOINTS} keeps the best by val/loss and the last"
        )


def _is_checkpoint(entry: Config) -> bool:
    return str(entry["class_path"]).endswith("ModelCheckpoint")


def _asks_more(arguments: Config, kept: Config) -> bool:
    return any(value != kept.get(key) for key, value in arguments.items())


def _classes(trainer: Config, key: str) -> list[Config]:
    """Return the entries of a key, after making sure that each names its class."""
    entries = _listed(trainer, key)
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("class_path"), str):
            raise ConfigError(f"YAML section trainer.{key}: expected a class_path, found {entry!r}")
    return entries


def _listed(trainer: Config, key: str) -> list[Any]:
    """Return the entries of a key that takes one or several."""
    given = trainer.get(key) or []
    if not isinstance(given, dict | str | list):
        raise ConfigError(f"YAML section trainer.{key}: expected a list, found {given!r}")
    return list(given) if isinstance(given, list) else [given]


def _write_whole_checkpoints(trainer: Config) -> None:
    plugins = [entry for entry in _listed(trainer, "plugins") if WHOLE_CHECKPOINTS not in str(entry)]
    # sharded strategies write folders, in their own way
    sharded = re.search("fsdp|deepspeed|model_parallel|xla", str(trainer.get("strategy")), re.IGNORECASE)
    if not sharded and "CheckpointIO" not in str(plugins):  # those write in their own way
        trainer["plugins"] = [*plugins, {"class_path": WHOLE_CHECKPOINTS}]


def _loggers(trainer: Config, options: Options) -> list[Config]:
    """Return the YAML's loggers, and CSV logs in the run directory; TensorBoard's too if the YAML names none."""
    given = [] if isinstance(trainer.get("logger"), bool) else _classes(trainer, "logger")
    users = [entry for entry in given if not _is_own(entry)]
    ours = ["CSVLogger"] if users or trainer.get("logger") is False else ["CSVLogger", "TensorBoardLogger"]
    # counted, so that a resumed run keeps the earlier logs
    count = len(list((options.run / LOGS).glob(f"{options.command}_*")))
    place = {"save_dir": str(options.run), "name": LOGS, "version": f"{options.command}_{count}"}
    return users + [{"class_path": f"{LOGGERS}.{name}", "init_args": dict(place)} for name in ours]


def _is_own(logger: Config) -> bool:
    """Return whether an earlier command of this run, wherever it was, added a logger."""
    arguments = logger.get("init_args") or {}
    return arguments.get("name") == LOGS and OWN_LOGS.fullmatch(str(arguments.get("version"))) is not None


def _checkpoints(run: Path) -> list[Config]:
    """Make the callbacks that keep the best checkpoint by validation loss, and the last.

    They are two callbacks, since Lightning's ``save_last`` repeats the best: it saves only when the best is saved.
    """
    shared = {"dirpath": str(run / CHECKPOINTS), "enable_version_counter": False}
    best = {"filename": "best", "monitor": "val/loss", "mode": "min"}
    last = {"filename": "last", "monitor": None, "save_on_train_epoch_end": True}
    last["mode"] = (
        "max"  # no effect without a monitor: it only gives another `state_key` than Lightning's default
    )
    return [
        {"class_path": MODEL_CHECKPOINT, "init_args": {**shared, **arguments}} for arguments in (best, last)
    ]
