"""The section "When does it help?": slopes of the gain on what is known of chips, and a rule where one holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from augment_store.utils.text import join_first
from eval.compare.arms import Comparison
from eval.compare.comparison import in_order_of_seeds, paired
from eval.compare.covariates import MEASURES, Covariate, by_scene, read_covariates
from eval.compare.inference import ClassEstimate
from eval.compare.moderation import CHIP, MIN_SCENES, SCENE, Gains, Rule, find_rule, find_slopes
from eval.compare.report import model
from eval.compare.verdict import MIN_SEEDS, format_interval
from eval.score.metrics import mean_iou

Slopes = Mapping[tuple[str, str], ClassEstimate]


def when_it_helps(comparison: Comparison) -> model.WhenItHelps:
    """Find what the gain goes with, and make a rule of it where one holds."""
    setting = comparison.setting
    if setting.pairing or min(setting.runs) < MIN_SEEDS or setting.scenes < MIN_SCENES:
        need = f"Nothing is told with fewer than {MIN_SEEDS} paired seeds and {MIN_SCENES} scenes."
        return model.WhenItHelps(slopes=[], rule=None, words=[need])
    gains = _gains(comparison)
    referenced: NDArray[np.bool_] = np.asarray(np.isfinite(gains[CHIP].values).all(axis=0))
    covariates = read_covariates(comparison)
    scene_ids = comparison.baseline.scores[0].counts.scene_ids
    by_level = {
        CHIP: {entry.name: entry.values[:, referenced] for entry in covariates},
        SCENE: {entry.name: by_scene(entry.values, scene_ids, referenced) for entry in covariates},
    }
    chips = dataclasses.replace(
        gains[CHIP], values=gains[CHIP].values[:, referenced], scenes=gains[CHIP].scenes[referenced]
    )
    slopes = find_slopes({CHIP: chips, SCENE: gains[SCENE]}, by_level)
    # a rule can only be made of what is known without a reference
    known = {
        entry.name: by_level[CHIP][entry.name].mean(axis=0) for entry in covariates if entry.before_labels
    }
    rule = find_rule(chips, known, slopes)
    return model.WhenItHelps(
        slopes=list(_rows(slopes, covariates, by_level)),
        # `vars`, as `asdict` would turn the estimate into a dict
        rule=None if rule is None else model.UseRule(**vars(rule)),
        words=list(_sentences(slopes, covariates, rule, known)),
    )


def _gains(comparison: Comparison) -> dict[str, Gains]:
    """Return the gains of chips and of scenes, runs paired by seed; NaN for a chip without reference."""
    baseline, candidate = comparison.baseline, comparison.candidate
    pairs = zip(baseline.scores, in_order_of_seeds(candidate, baseline), strict=True)
    _, scenes = np.unique(baseline.scores[0].counts.scene_ids, return_inverse=True)
    chips = [mean_iou(ours.counts.values) - mean_iou(theirs.counts.values) for theirs, ours in pairs]
    whole = paired(candidate, baseline)
    return {
        CHIP: Gains(np.stack(chips), scenes, whole.folds),
        SCENE: Gains(
            mean_iou(whole.candidate) - mean_iou(whole.baseline), np.arange(whole.scenes), whole.folds
        ),
    }


def _rows(
    slopes: Slopes, covariates: Sequence[Covariate], by_level: Mapping[str, Mapping[str, NDArray[np.float64]]]
) -> Iterator[model.SlopeRow]:
    known = {entry.name: entry.before_labels for entry in covariates}
    for (level, name), slope in slopes.items():
        yield model.SlopeRow(
            covariate=name,
            level="chip" if level == CHIP else "scene",
            before_labels=known[name],
            spread=float(by_level[level][name].mean(axis=0).std()),
            slope=slope,
        )


def _sentences(
    slopes: Slopes, covariates: Sequence[Covariate], rule: Rule | None, known: Iterable[str]
) -> Iterator[str]:
    found = [(level, name) for (level, name), slope in slopes.items() if slope.differs]
    if not found:
        yield (
            f"None of {len(slopes)} slopes differs from zero (p after Holm), so nothing tells where it would help."
        )
    for level, name in found:
        more = "more" if slopes[level, name].difference > 0 else "less"
        yield f"By {level}, the larger the {name}, the {more} it gains: {format_interval(slopes[level, name])} per SD."
    if rule is not None:
        side = "at least" if rule.above else "at most"
        yield (
            f"Use the map where the {rule.covariate} is {side} {rule.threshold:.15g} ({rule.share:.0%} of the test "
            f"chips): rules made without a scene gained {format_interval(rule.advantage)} there over the better of "
            "always and never as chosen without it."
        )
    elif any((CHIP, name) in found for name in known):
        yield "No rule of it holds in scenes left out."
    measured = {entry.name for entry in covariates}
    missing = [name for name in MEASURES if name not in measured]
    if missing:
        yield (
            "Not looked at, since the candidate is a control or its store is gone, another, at a URL, damaged or none: "
            f"{join_first(missing)}."
        )
