"""`counts.csv`: the counts that every number of the report is computed from, so that a reader can check them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Final

from eval.compare.arms import Comparison

COLUMNS: Final = ("arm", "run", "seed", "scene", "reference", "predicted", "pixels")
NOTHING: Final = ""
"""The predicted class of pixels without a prediction."""

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell that spreadsheets run as a formula (OWASP, CSV injection)."""


def to_csv(comparison: Comparison) -> str:
    """Return the pixels by run, scene, reference and predicted class; a row each, those without pixels as well."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(_safe, _count_rows(comparison)))
    return text.getvalue()


def _safe(row: Iterable[str | int]) -> Iterator[str | int]:
    """Put an apostrophe before texts that a spreadsheet would run: names of scenes and classes may be a stranger's."""
    # spreadsheets skip blanks and quotes before they look for a formula
    return (
        f"'{cell}" if isinstance(cell, str) and cell.lstrip(" '\"").startswith(FORMULA) else cell
        for cell in row
    )


def _count_rows(comparison: Comparison) -> Iterator[tuple[str | int, ...]]:
    names = comparison.class_names
    # `recompute.read_counts` reshapes rows to [scene, class, class + 1], so their order is part of the file
    for arm in comparison.arms:
        for number, score in enumerate(arm.scores, start=1):
            seed = "" if score.origin.seed is None else score.origin.seed
            for scene, counts in zip(score.counts.scenes, score.counts.by_scene(), strict=True):
                for reference, row in zip(names, counts, strict=True):
                    for predicted, pixels in zip((*names, NOTHING), row, strict=True):
                        yield arm.name, number, seed, scene, reference, predicted, int(pixels)
