"""The report as plain values; `schema.json` beside this file describes every key."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from importlib import resources
from typing import Any, Final

import numpy as np
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from numpy.typing import NDArray

from eval.compare.arms import BASELINE, CANDIDATE, Arm, Comparison, Difference, paired
from eval.compare.inference import LEVEL, POWER, Estimate, without_each_class
from eval.compare.verdict import FEWEST_SEEDS, IMPROVEMENT_FROM, STRONG_ABOVE
from eval.score.metrics import known, mean_iou, row_normalised
from eval.score.record import Score

REPORT_VERSION: Final = 2
MEASURE: Final = "miou_macro_reference_classes"
METHOD: Final = "Student's t; variance of scenes by the delete-one jackknife, of seeds by their spread"


def schema() -> dict[str, Any]:
    """JSON Schema of the report."""
    text = resources.files("eval.compare.report").joinpath("schema.json").read_text(encoding="utf-8")
    plain: dict[str, Any] = json.loads(text)
    return plain


def check_document(document: dict[str, Any]) -> None:
    """Makes sure that a report read from a file follows the schema, and that no interval is upside down.

    Raises:
        ValueError: Naming the place and what is wrong with it.
    """
    problem = best_match(Draft202012Validator(schema()).iter_errors(document))
    if problem is not None:
        raise ValueError(f"{problem.json_path}: {problem.message[:200]}")
    for arm in document["arms"]:
        for found in filter(None, (arm["to_baseline"], arm["candidate_to_this"])):
            for entry in (found["miou"], *found["classes"].values()):
                if entry["low"] is not None and not entry["low"] <= entry["difference"] <= entry["high"]:
                    raise ValueError(
                        f"arm {arm['name']}: the interval {entry['low']} to {entry['high']} is invalid"
                    )


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
        "verdict": _listed(dataclasses.asdict(verdict)),
        "measure": MEASURE,
        "difference": estimate(comparison.differences[CANDIDATE].miou),
        "statistics": {
            "method": METHOD,
            "level": LEVEL,
            "power": POWER,
            "paired_by_seed": not comparison.setting.pairing,
            "unpaired_because": comparison.setting.pairing,
            "improvement_from": IMPROVEMENT_FROM,
            "strong_above": STRONG_ABOVE,
            "fewest_seeds": FEWEST_SEEDS,
        },
        "seeds": seed_rows(comparison),
        "without_class": _without_class(comparison),
        "test": {
            "chips": len(first.counts.chip_ids),
            "scenes": list(comparison.scenes),
            "dropped_scenes": list(comparison.setting.dropped),
            "classes": list(comparison.class_names),
            "scenes_by_class": _scenes_by_class(comparison),
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
    plain = dataclasses.asdict(entry)
    return {**plain, "parts": list(plain["parts"]), "covers_zero": entry.covers_zero}


def seed_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """MIoU of each run of baseline and candidate by seed; the difference where both have the seed."""
    found = [
        {score.origin.seed: value for score, value in zip(arm.scores, arm.miou.tolist(), strict=True)}
        for arm in (comparison.baseline, comparison.candidate)
    ]
    seeds = [seed for seed in dict.fromkeys((*found[0], *found[1])) if seed is not None]
    return [
        {
            "seed": seed,
            "baseline": found[0].get(seed),
            "candidate": found[1].get(seed),
            "difference": found[1][seed] - found[0][seed] if seed in found[0] and seed in found[1] else None,
        }
        for seed in sorted(seeds)
    ]


def _without_class(comparison: Comparison) -> dict[str, float | None]:
    """Difference in mIoU over the other classes, by the class left out."""
    values = without_each_class(paired(comparison.candidate, comparison.baseline))
    present = comparison.differences[CANDIDATE].classes
    return {name: known(v) for name, v in zip(comparison.class_names, values, strict=True) if name in present}


def _scenes_by_class(comparison: Comparison) -> dict[str, int]:
    """Number of test scenes that a class occurs in."""
    there = (comparison.baseline.scores[0].counts.by_scene().sum(axis=-1) > 0).sum(axis=0)
    return dict(zip(comparison.class_names, map(int, there), strict=True))


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
