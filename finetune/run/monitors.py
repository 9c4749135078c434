"""Check, before training, that what a scheduler and callbacks watch is there when they look at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import ReduceLROnPlateau
from terratorch.tasks import SemanticSegmentationTask

from finetune.errors import ConfigError
from finetune.run.config import loss_names


@dataclass(frozen=True)
class Monitor:
    """A metric that something watches.

    Attributes:
        owner: Who watches it, as the YAML names it.
        metric: Its name, such as ``val/loss``.
        mode: ``min`` or ``max``, whichever is better.
        each_epoch: Whether it is looked at in each epoch, with or without a validation.
    """

    owner: str
    metric: str
    mode: str
    each_epoch: bool


def check_monitors(trainer: Trainer, task: SemanticSegmentationTask, scheduler: Any) -> None:
    """Make sure that metrics that decide on rate and end of a training are logged, and better in their mode.

    Args:
        trainer: Before training.
        task: TerraTorch's task.
        scheduler: Section ``lr_scheduler`` of the configuration, or None.

    Raises:
        ConfigError: If one is not.
    """
    if type(task) is not SemanticSegmentationTask:  # a user's own may log more
        return
    known = _known_metrics(task)
    for found in _list_monitors(trainer, scheduler):
        # one for each class is named after its mean, as val/IoU_0
        if not any(found.metric == name or found.metric.startswith(f"{name}_") for name in known):
            raise ConfigError(
                f"{found.owner}: monitor {found.metric} is no metric of this task; expected {', '.join(known)}"
            )
        better = "min" if found.metric.split("/")[1] in ("loss", *_losses(task)) else "max"
        if found.mode != better:
            raise ConfigError(
                f"{found.owner}: monitor {found.metric} with mode {found.mode} takes the worst for the best; give mode "
                f"{better}"
            )
        if found.metric.startswith("val/"):
            _check_validated(trainer, found)


def check_interval(trainer: Trainer, batches: int) -> None:
    """Make sure that a validation every so many batches fits into an epoch.

    Args:
        trainer: Before training.
        batches: Batches of an epoch.

    Raises:
        ConfigError: If it does not.
    """
    interval = trainer.val_check_interval
    # a float is a share of an epoch; without epochs to count by, batches count over all of them
    if isinstance(interval, int) and interval > batches and trainer.check_val_every_n_epoch is not None:
        raise ConfigError(
            f"trainer.val_check_interval {interval}, but an epoch has fewer batches; give "
            f"{batches} or fewer, or check_val_every_n_epoch: null to count over epochs"
        )


def _check_validated(trainer: Trainer, found: Monitor) -> None:
    if trainer.limit_val_batches == 0:
        raise ConfigError(
            f"{found.owner}: monitor {found.metric}, but limit_val_batches 0 turns validation off; leave one out"
        )
    every = trainer.check_val_every_n_epoch
    if found.each_epoch and every != 1:
        raise ConfigError(
            f"{found.owner}: looks at {found.metric} in each epoch, but check_val_every_n_epoch is {every}; give 1, "
            "monitor train/loss, or take a scheduler without a monitor"
        )


def _known_metrics(task: SemanticSegmentationTask) -> list[str]:
    parts = ("loss", *_losses(task))
    measured = (*task.val_metrics.keys(), *task.train_metrics.keys())
    return [*(f"{stage}/{part}" for stage in ("val", "train") for part in parts), *map(str, measured)]


def _losses(task: SemanticSegmentationTask) -> tuple[str, ...]:
    names = loss_names(task.hparams["loss"])
    # a single one is logged as the loss alone
    return names if len(names) > 1 else ()


def _list_monitors(trainer: Trainer, scheduler: Any) -> Iterator[Monitor]:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EarlyStopping):
            yield Monitor("EarlyStopping", callback.monitor, callback.mode, each_epoch=False)
    named = str(scheduler["class_path"]) if isinstance(scheduler, Mapping) else ""
    if named.split(".")[-1] != ReduceLROnPlateau.__name__:
        return
    arguments = scheduler.get("init_args") or {}
    if "monitor" not in arguments:
        raise ConfigError(
            f"lr_scheduler: {named} watches no metric; name lightning.pytorch.cli.ReduceLROnPlateau, with monitor: "
            "val/loss"
        )
    yield Monitor("lr_scheduler", arguments["monitor"], arguments.get("mode", "min"), each_epoch=True)
