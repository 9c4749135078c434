"""Names of a task's losses; a module of its own, since YAMLs are checked without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def loss_names(loss: Any) -> tuple[str, ...]:
    """Return the names of a task's losses: one, a list, or a mapping to weights; none for a module of the user's."""
    if loss is None:
        return ("ce",)
    if isinstance(loss, str):
        return (loss,)
    return tuple(map(str, loss)) if isinstance(loss, list | tuple | Mapping) else ()
