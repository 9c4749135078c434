"""From a comparison to its report; `eval.compare.report.model` describes every key."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.compare import arms, inference
from eval.compare.arms import Comparison, titles
from eval.compare.inference import LEVEL, POWER
from eval.compare.report import model
from eval.compare.report.checklist import checklist
from eval.compare.report.curves import read_curve
from eval.compare.report.helps import when_it_helps
from eval.compare.report.influence import left_out
from eval.compare.verdict import IMPROVEMENT_FROM, MIN_SEEDS, STRONG_ABOVE, StudyContext, format_p
from eval.score.counts import Confusion, Counts
from eval.score.metrics import (
    METRICS,
    MIOU,
    TWO_AVERAGES,
    Metrics,
    class_iou,
    known,
    mean_iou,
    row_normalised,
)
from eval.score.record import Score


def make_report(comparison: Comparison, created: str) -> model.Report:
    """Make the report of a comparison.

    Args:
        comparison: What was compared.
        created: When, ISO 8601 in UTC.
    """
    difference = comparison.differences[comparison.candidate.name].miou
    named = titles(comparison.baseline, comparison.candidate)
    return model.Report(
        report_version=model.REPORT_VERSION,
        created=created,
        verdict=comparison.verdict,
        metrics=[model.MetricEntry.model_validate(metric) for metric in METRICS],
        headline_metric=MIOU.key,
        difference=difference,
        statistics=_statistics(comparison, difference),
        family=_family(difference.p_value, comparison.setting.study),
        test=_test(comparison),
        seeds=_seeds(comparison.baseline.scores, comparison.candidate.scores),
        baseline=_arm(comparison, comparison.baseline, named[0]),
        candidate=_arm(comparison, comparison.candidate, named[1]),
        controls=[_arm(comparison, arm, arm.name) for arm in comparison.arms[2:]],
        scenes=_scenes(comparison),
        chips=_chips(comparison),
        left_out=left_out(comparison),
        helps=when_it_helps(comparison),
        checklist=checklist(comparison),
    )


def _statistics(comparison: Comparison, difference: inference.Estimate) -> model.ComparisonMethod:
    setting = comparison.setting
    return model.ComparisonMethod(
        level=LEVEL,
        power=POWER,
        paired_by_seed=not setting.pairing,
        unpaired_because=setting.pairing,
        fewest_seeds=MIN_SEEDS,
        resolvable_with_twice_the_scenes=difference.resolvable_with(scenes=2 * setting.scenes),
        resolvable_with_twice_the_seeds=difference.resolvable_with(seeds=2 * min(setting.runs)),
        strong_above=STRONG_ABOVE,
        folds=setting.folds,
        averages=TWO_AVERAGES,
        improvement_from=IMPROVEMENT_FROM,
    )


def _family(p_value: float, declared: StudyContext) -> model.MultipleTesting:
    count = declared.comparisons
    p_family = min(1.0, p_value * count)
    if not declared.dates:
        words = "No comparison was declared beforehand, so p is not corrected for others that were made or could be."
    elif count == 1:
        words = f"One comparison was declared ({declared.dates[0]}), so p needs no correction for others."
    else:
        words = (
            f"One of {count} comparisons declared on this test split: {format_p(p_value)} alone, {format_p(p_family)} "
            f"for all of them together (Bonferroni); intervals are 95 % each, not jointly."
        )
    if len(declared.dates) > 1:
        words += f" The declaration was changed later, the last time {declared.dates[-1]}."
    return model.MultipleTesting(
        study_sha256=declared.study_sha256,
        declared=count,
        dates=list(declared.dates),
        p_family=p_family,
        words=words,
    )


def _test(comparison: Comparison) -> model.Test:
    first = comparison.baseline.scores[0]
    # [scene, class, class + 1] to [scene, class] to [class]: the scenes that hold a class
    holding = (first.counts.by_scene().sum(axis=-1) > 0).sum(axis=0)
    return model.Test(
        chips=len(first.counts.chip_ids),
        scenes=list(comparison.scenes),
        dropped_scenes=list(comparison.setting.dropped),
        classes=list(comparison.class_names),
        scenes_by_class=dict(zip(comparison.class_names, map(int, holding), strict=True)),
        ids_sha256=first.origin.test.ids,
        masks_sha256=first.origin.test.masks,
    )


def _seeds(baseline: Sequence[Score], candidate: Sequence[Score]) -> list[model.SeedRow]:
    ours, theirs = (_miou_by_seed(scores) for scores in (candidate, baseline))
    return [
        model.SeedRow(
            seed=seed, baseline=theirs[seed], candidate=ours[seed], difference=ours[seed] - theirs[seed]
        )
        # a seed of one arm alone has nothing to be compared with
        for seed in sorted(set(ours) & set(theirs))
    ]


def _miou_by_seed(scores: Sequence[Score]) -> dict[int, float]:
    """Return the MIoU of each seed that only one run has."""
    seeds = [score.origin.seed for score in scores]
    return {
        seed: float(mean_iou(score.counts.total))
        for seed, score in zip(seeds, scores, strict=True)
        if seed is not None and seeds.count(seed) == 1
    }


def _arm(comparison: Comparison, arm: arms.Arm, title: str) -> model.ArmResult:
    total = np.sum([score.counts.total for score in arm.scores], axis=0)
    return model.ArmResult(
        name=arm.name,
        title=title,
        metrics=_mean_metrics(arm.scores),
        miou_without_class=_without_class(arm.scores),
        to_baseline=comparison.differences.get(arm.name),
        candidate_to_this=comparison.against.get(arm.name),
        confusion=total.tolist(),
        confusion_row_normalised=[[known(value) for value in row] for row in row_normalised(total)],
        runs=[_run_result(score) for score in arm.scores],
    )


def _without_class(scores: Sequence[Score]) -> dict[str, float | None]:
    """Return the MIoU over the other classes in the reference, mean over runs; None if there is no other."""
    # [run, class, class + 1]; the reference is the same in every run, so the first one tells what is present
    totals = np.stack([score.counts.total for score in scores])
    names, present = scores[0].counts.class_names, totals[0].sum(axis=-1) > 0
    iou = class_iou(totals)
    kept = [present & (np.arange(len(names)) != label) for label in range(len(names))]
    return {
        # over runs and classes at once: all runs have the same classes, so the order of means is no matter
        name: float(iou[:, others].mean()) if others.any() else None
        for name, others in zip(names, kept, strict=True)
    }


def _run_result(score: Score) -> model.RunResult:
    return model.RunResult(
        folder=str(score.folder), metrics=score.metrics, curve=read_curve(score.folder), origin=score.origin
    )


def _mean_metrics(scores: Iterable[Score]) -> Metrics:
    """Average the metrics of runs, each over the runs in which it is defined."""
    return Metrics(**_mean_of([dataclasses.asdict(score.metrics) for score in scores]))


def _mean_of(plain: list[dict[str, Any]]) -> dict[str, Any]:
    means: dict[str, Any] = {}
    for key, value in plain[0].items():
        column = [entry[key] for entry in plain]
        # None for an undefined metric, as JSON has no NaN
        defined = [entry for entry in column if entry is not None]
        means[key] = (
            _mean_of(column) if isinstance(value, dict) else float(np.mean(defined)) if defined else None
        )
    return means


def _scenes(comparison: Comparison) -> list[model.SceneRow]:
    counts = comparison.baseline.scores[0].counts
    chips, names = Counter(counts.scene_ids), counts.scenes  # sorted once: there may be 50,000
    baseline, candidate = _mious(comparison, Counts.by_scene)
    return [
        model.SceneRow(
            scene=names[index],
            chips=chips[names[index]],
            baseline=float(baseline[index]),
            candidate=float(candidate[index]),
            difference=float(candidate[index] - baseline[index]),
        )
        # stable: ties stay in the order of names, so that two reports of the same runs are equal
        for index in np.argsort(candidate - baseline, kind="stable")
    ]


def _chips(comparison: Comparison) -> list[model.ChipRow]:
    counts = comparison.baseline.scores[0].counts
    baseline, candidate = _mious(comparison, lambda counts: counts.values)
    # a chip without a reference has no mIoU in either arm; NaN comes last in the sorting, and is left out
    order = [
        index for index in np.argsort(candidate - baseline, kind="stable") if np.isfinite(baseline[index])
    ]
    return [
        model.ChipRow(
            id=counts.chip_ids[index],
            scene=counts.scene_ids[index],
            baseline=float(baseline[index]),
            candidate=float(candidate[index]),
            difference=float(candidate[index] - baseline[index]),
        )
        for index in order
    ]


def _mious(
    comparison: Comparison, by_unit: Callable[[Counts], Confusion]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the MIoU ``[unit]`` of baseline and candidate, mean over runs; NaN for a unit without reference.

    Args:
        comparison: What was compared.
        by_unit: Gives a run's counts ``[unit, class, class + 1]``.
    """

    def of(arm: arms.Arm) -> NDArray[np.float64]:
        # [run, unit, class, class + 1] to mIoU [run, unit] to [unit]
        return np.asarray(mean_iou(np.stack([by_unit(score.counts) for score in arm.scores])).mean(axis=0))

    return of(comparison.baseline), of(comparison.candidate)
