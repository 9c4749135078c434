"""A score as it shows itself in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from augment_store.chips.rasters import read_raster
from augment_store.modalities.legend_table import legend
from augment_store.modalities.pictures import map_uri
from augment_store.utils.notebook import THUMBNAILS, to_html
from eval.score.metrics import BY_CLASS, OVERALL

if TYPE_CHECKING:
    from eval.score.record import Score


def score_html(score: Score) -> str:
    """Return a table of the metrics and the predicted maps of the first chips, as HTML."""
    metrics, counts = score.metrics, score.counts
    rows: dict[str, object] = {"chips": len(counts.chip_ids), "scenes": len(counts.scenes)}
    rows |= {metric.label: format_percent(metrics.overall[metric.key]) for metric in OVERALL}
    for name in counts.class_names:
        told = (f"{entry.label} {format_percent(metrics.by_class[entry.key][name])}" for entry in BY_CLASS)
        rows[name] = ", ".join(told)
    classes, pictures = legend(counts.class_names), {}
    for chip_id in counts.chip_ids[:THUMBNAILS]:
        path = score.prediction(chip_id)
        if path.is_file():  # a copy of a score may have none
            pictures[chip_id] = map_uri(read_raster(path)[0, 0].astype(np.uint8), classes)
    return to_html(f"Score of {score.folder}", rows, pictures)


def format_percent(value: float | None) -> str:
    """Return a share as a percentage, a dash where it is not defined."""
    return "–" if value is None else f"{100 * value:.2f} %"
