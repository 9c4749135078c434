"""Names of a task's losses; a module of its own, since YAMLs are checked without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def loss_names(loss: Any) -> tuple[str, ...]:
    """Return the names of a task's losses: one, a list, or a mapping to weights; none for a module of the user's."""
    if loss is None:
        return ("ce",)
    if isinstance(loss, str):
        return (loss,)
    return tuple(map(str, loss)) if isinstance(loss, list | tuple | Mapping) else ()


def logged_losses(loss: Any, auxiliary: Any) -> tuple[str, ...]:
    """Return the losses that a task logs, of validation and training.

    Args:
        loss: As the task takes it.
        auxiliary: Its losses of auxiliary heads, a mapping to weights; None for none.
    """
    # a text is logged as the loss alone; parts of a list or mapping also by their names, and so are auxiliary heads
    parts = () if loss is None or isinstance(loss, str) else loss_names(loss)
    heads = [*map(str, auxiliary)] if isinstance(auxiliary, Mapping) else []
    return tuple(f"{stage}/{part}" for stage in ("val", "train") for part in ("loss", *parts, *heads))


def is_loss(metric: str, losses: Iterable[str]) -> bool:
    """Return whether a metric is one of these losses; one that is logged by step and by epoch has both as suffixes."""
    return metric.removesuffix("_epoch").removesuffix("_step") in losses
