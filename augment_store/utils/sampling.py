"""Picking a few of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def spread_evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Return so many items at most, evenly spread, the first and the last among them."""
    picks = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[pick] for pick in picks.tolist()]
