"""Learning curves of a run, from the log that its training left."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from augment_store.io.files import read_text
from eval.compare.report.model import Epoch
from eval.errors import EvaluationError

LOGS: Final = "logs/fit_*/metrics.csv"
"""Logs of a run directory: one for each time its training was started or resumed."""

COLUMNS: Final = {"train_loss": "train/loss", "val_loss": "val/loss", "val_miou": "val/mIoU"}
"""Names under which TerraTorch logs the values of an epoch."""


def read_curve(run: Path) -> list[Epoch]:
    """Return what was logged in each epoch, in order; empty if the run directory has no log.

    An epoch's last value counts; for a resumed run, the one in the later log.

    Raises:
        EvaluationError: If a log is damaged.
    """
    found: dict[str, dict[str, str]] = {}
    for path in sorted(run.glob(LOGS), key=_cell_number):
        for row in _log_rows(path):
            # training and validation have rows of their own: a later row adds to its epoch, or replaces
            found.setdefault(row["epoch"], {}).update(row)
        try:
            curve = [Epoch.model_validate(row) for row in found.values()]
        except ValidationError as error:
            first, *_ = error.errors()
            raise EvaluationError(
                f"{path}: {first['loc'][0]} {str(first['input'])[:40]!r}: {first['msg']}; remove the log to compare "
                "without learning curves"
            ) from error
    # without any log there is no `curve` either
    return sorted(curve, key=lambda entry: entry.epoch) if found else []


def _cell_number(path: Path) -> tuple[int, str]:
    """Sort logs in the order they were started, the tenth after the ninth."""
    digits = path.parent.name.removeprefix("fit_")
    return (int(digits) if digits.isdecimal() else 0, path.parent.name)


def _log_rows(path: Path) -> Iterator[dict[str, str]]:
    """Return the known values of each row; a value that diverged is left out."""
    try:
        for row in csv.DictReader(read_text(path).splitlines()):
            values = {key: row.get(column) or "" for key, column in COLUMNS.items()}
            known = {key: value for key, value in values.items() if value and _is_finite(value)}
            if known:
                yield {"epoch": row.get("epoch") or "", **known}
    except (OSError, ValueError, csv.Error) as error:
        raise EvaluationError(
            f"{path}: cannot be read ({error}); remove the log to compare without learning curves"
        ) from error


def _is_finite(value: str) -> bool:
    """Return whether a number is finite; anything else is left for the model to refuse."""
    try:
        return math.isfinite(float(value))
    except ValueError:
        return True
