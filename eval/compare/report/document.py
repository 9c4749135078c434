"""The report as plain values; `schema.json` beside this file describes every key."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from importlib import resources
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eval.compare.arms import BASELINE, CANDIDATE, Arm, Comparison, Difference
from eval.compare.inference import LEVEL, POWER, Estimate
from eval.score.metrics import known, mean_iou, row_normalised
from eval.score.record import Score

REPORT_VERSION: Final = 1
MEASURE: Final = "miou_macro_reference_classes"


def schema() -> dict[str, Any]:
    """JSON Schema of the report."""
    text = resources.files("eval.compare.report").joinpath("schema.json").read_text(encoding="utf-8")
    plain: dict[str, Any] = json.loads(text)
    return plain


def make_document(comparison: Comparison, created: str) -> dict[str, Any]:
    """The report as plain JSON values; shares throughout, so 0.01 is one point.

    Args:
        comparison: What was compared.
        created: When, ISO 8601 in UTC.
    """
    first = comparison.baseline.scores[0]
    verdict = comparison.verdict
    return {
        "report_version": REPORT_VERSION,
        "created": created,
        "verdict": {**_listed(dataclasses.asdict(verdict)), "headline": verdict.headline},
        "measure": MEASURE,
        "difference": estimate(comparison.differences[CANDIDATE].miou),
        "statistics": {"level": LEVEL, "power": POWER, "seed": comparison.seed},
        "test": {
            "chips": len(first.counts.chip_ids),
            "scenes": list(comparison.scenes),
            "classes": list(comparison.class_names),
            "ids_sha256": first.origin.ids_sha256,
            "masks_sha256": first.origin.masks_sha256,
        },
        "arms": [_arm(comparison, arm) for arm in comparison.arms],
        "chips": chip_rows(comparison),
    }


def _listed(plain: dict[str, Any]) -> dict[str, Any]:
    """Tuples as JSON's lists."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


def estimate(entry: Estimate) -> dict[str, Any]:
    """An estimate as plain values."""
    return {**dataclasses.asdict(entry), "covers_zero": entry.covers_zero}


def _difference(entry: Difference | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    classes = {
        name: {**estimate(found), "p_holm": entry.adjusted[name], "differs": entry.differs(name)}
        for name, found in entry.classes.items()
    }
    return {"miou": estimate(entry.miou), "classes": classes}


def _arm(comparison: Comparison, arm: Arm) -> dict[str, Any]:
    total = np.sum([score.counts.total for score in arm.scores], axis=0)
    role = arm.name if arm.name in (BASELINE, CANDIDATE) else "control"
    return {
        "name": arm.name,
        "role": role,
        "metrics": _mean_metrics(arm.scores),
        "to_baseline": _difference(comparison.differences.get(arm.name)),
        "candidate_to_this": _difference(comparison.against.get(arm.name)),
        "confusion": total.tolist(),
        "confusion_row_normalised": _numbers(row_normalised(total)),
        "runs": [_run(score) for score in arm.scores],
    }


def _run(score: Score) -> dict[str, Any]:
    return {
        "folder": str(score.folder),
        "metrics": dataclasses.asdict(score.metrics),
        "origin": _listed(dataclasses.asdict(score.origin)),
    }


def _mean_metrics(scores: Iterable[Score]) -> dict[str, Any]:
    """Metrics of each run, mean over the runs in which they are defined."""
    return _mean([dataclasses.asdict(score.metrics) for score in scores])


def _mean(plain: list[dict[str, Any]]) -> dict[str, Any]:
    means: dict[str, Any] = {}
    for key, value in plain[0].items():
        column = [entry[key] for entry in plain]
        defined = [entry for entry in column if entry is not None]
        means[key] = (
            _mean(column) if isinstance(value, dict) else float(np.mean(defined)) if defined else None
        )
    return means


def chip_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Each chip's mIoU under baseline and candidate, mean over runs, from most lost to most gained."""
    counts = comparison.baseline.scores[0].counts
    baseline, candidate = (_by_chip(arm) for arm in (comparison.baseline, comparison.candidate))
    order = [
        index for index in np.argsort(candidate - baseline, kind="stable") if np.isfinite(baseline[index])
    ]
    return [
        {
            "id": counts.chip_ids[index],
            "scene": counts.scene_ids[index],
            "baseline": float(baseline[index]),
            "candidate": float(candidate[index]),
            "difference": float(candidate[index] - baseline[index]),
        }
        for index in order
    ]


def _by_chip(arm: Arm) -> NDArray[np.float64]:
    """MIoU ``[chip]``, mean over runs; NaN for a chip without reference."""
    return np.asarray(mean_iou(np.stack([score.counts.values for score in arm.scores])).mean(axis=0))


def _numbers(values: NDArray[np.float64]) -> list[list[float | None]]:
    return [[known(value) for value in row] for row in values]
