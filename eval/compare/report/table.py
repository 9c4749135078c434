"""The counts behind a report as a table, so that a reader can work out every interval again."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

from eval.compare.arms import Comparison

COLUMNS: Final = ("arm", "run", "seed", "scene", "reference", "prediction", "pixels")
NO_PREDICTION: Final = "(none)"


def table_lines(comparison: Comparison) -> Iterator[str]:
    """Lines of a CSV file with the confusion counts of each run and scene; counts of 0 are left out."""
    yield _line(COLUMNS)
    predictions = (*comparison.class_names, NO_PREDICTION)
    for arm in comparison.arms:
        for number, score in enumerate(arm.scores, 1):
            seed = "" if score.origin.seed is None else score.origin.seed
            summed = score.counts.by_scene()
            for scene, row, column in zip(*summed.nonzero(), strict=True):
                place = (comparison.scenes[scene], comparison.class_names[row], predictions[column])
                yield _line((arm.name, number, seed, *place, summed[scene, row, column]))


def _line(cells: tuple[object, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
