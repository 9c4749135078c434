"""Check, before training, that what a scheduler and callbacks watch is there when they look at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from terratorch.tasks import SemanticSegmentationTask
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics.wrappers import ClasswiseWrapper

from augment_store.utils.text import single_line
from finetune.errors import ConfigError
from finetune.model.loss_names import is_loss, logged_losses


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


def check_monitors(trainer: Trainer, task: Any) -> None:
    """Make sure that metrics that decide on rate and end of a training are logged, and better in their mode.

    Args:
        trainer: Before training.
        task: TerraTorch's task, which makes its optimizer once more.

    Raises:
        ConfigError: If one is not, or the task cannot make its optimizer.
    """
    # a user's own task or callback may log more
    if type(task) is not SemanticSegmentationTask or any(map(_is_users_own, _callbacks(trainer))):
        return
    measured = {**task.val_metrics, **task.train_metrics}
    losses = logged_losses(task.hparams["loss"], task.aux_loss)
    # a metric of each class is named after its mean, as val/IoU_0
    by_class = tuple(f"{name}_" for name, metric in measured.items() if isinstance(metric, ClasswiseWrapper))
    for found in (*_list_stops(trainer), *_list_schedulers(task)):
        falls = is_loss(found.metric, losses)
        if not (falls or found.metric in measured or found.metric.startswith(by_class)):
            raise ConfigError(
                f"{found.owner}: monitor {found.metric} is no metric of this task; expected "
                f"{', '.join((*losses, *map(str, measured)))}"
            )
        better = "min" if falls else "max"
        if found.mode != better:
            raise ConfigError(
                f"{found.owner}: monitor {found.metric} with mode {found.mode} takes the worst for the best; give mode "
                f"{better}"
            )
        if found.metric.startswith("val/"):
            _check_validated(trainer, found)


def batches_of_epoch(trainer: Trainer, batches: int) -> int:
    """Return how many of an epoch's batches are trained, of the number that there are."""
    limit = trainer.limit_train_batches
    # Lightning's rule: a whole number counts, another is a share
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def check_interval(trainer: Trainer, batches: int) -> None:
    """Make sure that a validation every so many batches fits into an epoch.

    Args:
        trainer: Before training.
        batches: Batches of an epoch.

    Raises:
        ConfigError: If it does not.
    """
    interval = getattr(trainer, "val_check_interval", None)  # absent where it is a time
    batches = batches_of_epoch(trainer, batches)
    # without epochs to count by, batches count over all of them
    validates = trainer.limit_val_batches != 0 and trainer.check_val_every_n_epoch is not None
    if isinstance(interval, int) and interval > batches and validates:
        raise ConfigError(
            f"trainer.val_check_interval {interval}, but an epoch has fewer batches; give "
            f"{batches} or fewer, or check_val_every_n_epoch: null to count over epochs"
        )


def _callbacks(trainer: Trainer) -> list[Callback]:
    return list(trainer.callbacks)  # type: ignore[attr-defined]


def _is_users_own(callback: Callback) -> bool:
    return type(callback).__module__.split(".")[0] not in ("lightning", "terratorch", "finetune")


def _check_validated(trainer: Trainer, found: Monitor) -> None:
    if trainer.limit_val_batches == 0:
        raise ConfigError(
            f"{found.owner}: monitor {found.metric}, but limit_val_batches 0 turns validation off; leave one out"
        )
    every = trainer.check_val_every_n_epoch
    if found.each_epoch and every not in (None, 1):
        raise ConfigError(
            f"{found.owner}: looks at {found.metric} in each epoch, but check_val_every_n_epoch is {every}; give 1, "
            "monitor train/loss, or take a scheduler without a monitor"
        )


def _list_stops(trainer: Trainer) -> Iterator[Monitor]:
    for callback in _callbacks(trainer):
        if isinstance(callback, EarlyStopping):
            yield Monitor("EarlyStopping", callback.monitor, callback.mode, each_epoch=False)


def _list_schedulers(task: SemanticSegmentationTask) -> Iterator[Monitor]:
    try:
        made = task.configure_optimizers()
    # TerraTorch looks names up in PyTorch, and builds what it finds with what the YAML says
    except (AttributeError, TypeError, ValueError, KeyError, AssertionError) as error:
        raise ConfigError(f"optimizer and scheduler of the task: {single_line(error)}") from error
    # as Lightning takes them: two lists, or a mapping with the scheduler and what it watches
    named = made.get("lr_scheduler") if isinstance(made, Mapping) else None
    several = made[1] if isinstance(made, tuple) else [named]
    for entry in several:
        scheduler = entry.get("scheduler") if isinstance(entry, Mapping) else entry
        if not isinstance(scheduler, ReduceLROnPlateau):
            continue
        metric = entry.get("monitor") if isinstance(entry, Mapping) else None
        if metric is None:
            raise ConfigError(
                "lr_scheduler: torch's ReduceLROnPlateau watches no metric; name lightning.pytorch.cli."
                "ReduceLROnPlateau, with monitor: val/loss"
            )
        yield Monitor("lr_scheduler", metric, scheduler.mode, each_epoch=True)
