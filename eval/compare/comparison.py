"""Compare baseline, candidate and controls on the same test chips."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from eval.compare.arms import CANDIDATE, Arm, Comparison, Difference, titles
from eval.compare.comparability import check_runs, check_same_test, concerns, unpaired_because
from eval.compare.controls import control_record, control_words
from eval.compare.inference import PairedArms, adjust_by_holm, compare
from eval.compare.verdict import ComparisonContext, StudyContext, decide
from eval.errors import EvaluationError
from eval.score.metrics import INTERVALS
from eval.score.record import Score

StudySource = Callable[[Sequence[Arm]], StudyContext]
"""Gives the study of a comparison, held against the arms, which are known only once they are aligned."""


def compare_arms(arms: Mapping[str, Sequence[Score]], study: StudySource | None = None) -> Comparison:
    """Compare the candidate with the baseline and with each control.

    Args:
        arms: Scores of the runs of each arm; ``baseline`` and ``candidate``, then controls.
        study: What gives the study that the comparison is part of; None for one on its own, which can claim nothing.

    Raises:
        EvaluationError: If the runs were not scored on the same chips, references, scenes and classes, the
            reference holds no class, a run or a seed appears twice, or runs of one arm were trained on different
            things.
    """
    check_runs(arms)
    aligned, dropped = _align(arms)
    # by position: `_align` keeps the order in which the arms were given
    baseline, candidate, *controls = aligned
    differences = {arm.name: _difference(arm, baseline) for arm in (candidate, *controls)}
    against = {control.name: _difference(candidate, control) for control in controls}
    # with all scenes: those without a reference are dropped from the statistics, not from what was declared
    whole = tuple(Arm(name, tuple(scores)) for name, scores in arms.items())
    context = StudyContext() if study is None else study(whole)
    found = [control_record(control, candidate) for control in controls]
    beaten = [name for name, entry in against.items() if entry.miou.is_above_zero]
    trained = [score.origin for arm in aligned for score in arm.scores if score.origin.trained]
    records = [origin.run for origin in trained if origin.run is not None]
    setting = ComparisonContext(
        scenes=baseline.counts.shape[1],
        chips=len(baseline.scores[0].counts.chip_ids),
        runs=(len(baseline.scores), len(candidate.scores)),
        pairing=unpaired_because(baseline, candidate),
        smoke=any(origin.smoke for origin in trained),
        overlap=tuple(sorted({scene for record in records for scene in record.data.scene_overlap})),
        shared=tuple(sorted({pair for record in records for pair in record.data.shared_chips})),
        limited=any(record.data.limited_to is not None for record in records),
        data=concerns(aligned),
        dropped=dropped,
        titles=titles(baseline, candidate),
        study=context,
        no_controls={entry.name: entry.why_not for entry in found if not entry.kind},
        control_words=control_words(found, beaten) if controls else (),
        draw=_draw(candidate),
        folds=count_folds(baseline),
    )
    verdict = decide(differences[CANDIDATE].miou, {n: d.miou for n, d in against.items()}, setting)
    return Comparison(aligned, differences, against, verdict, setting)


def _draw(candidate: Arm) -> str:
    """Say on how many draws of the generator a candidate rests; empty if it draws nothing."""
    specs = [score.origin.spec for score in candidate.scores]
    # with top_k 1 the most probable code is always taken, so there is nothing to draw
    if any(spec is None for spec in specs) or all(spec.sampling.top_k == 1 for spec in specs if spec):
        return ""
    seeds = sorted({spec.sampling.seed for spec in specs if spec})
    if len(seeds) == 1:
        return (
            f"All of this is for one draw of the generator (seed {seeds[0]}): its variation is not in the interval; a "
            "store for each seed would put it there."
        )
    return f"The candidate's runs have {len(seeds)} draws of the generator, whose variation is in that of the seeds."


def count_folds(arm: Arm) -> int:
    """Return the number of folds that each run of an arm was pooled from; 0 for runs of one test split."""
    return len(arm.scores[0].folds)


def paired(arm: Arm, other: Arm) -> PairedArms:
    """Pair the counts of two arms, `arm` as the candidate; runs are matched by seed if both have the same seeds."""
    folds = count_folds(other)
    if unpaired_because(other, arm):
        return PairedArms(other.counts, arm.counts, folds=folds)
    # run i of both arms has the same seed from here on
    ordered = dataclasses.replace(arm, scores=in_order_of_seeds(arm, other))
    return PairedArms(other.counts, ordered.counts, by_seed=True, folds=folds)


def in_order_of_seeds(arm: Arm, other: Arm) -> tuple[Score, ...]:
    """Return the scores of an arm in the order in which another has the same seeds."""
    by_seed = {score.origin.seed: score for score in reversed(arm.scores)}
    return tuple(by_seed[score.origin.seed] for score in other.scores)


def _difference(arm: Arm, other: Arm) -> Difference:
    names = arm.scores[0].counts.class_names
    present = other.scores[0].counts.total.sum(axis=-1) > 0
    overall, by_class = {}, {}
    found = compare(paired(arm, other))
    for metric in INTERVALS:
        estimates = found[metric.key]
        if not metric.by_class:
            (overall[metric.key],) = estimates
            continue
        # a class without a reference pixel has no IoU, and must not count among those that Holm corrects for
        kept = {name: entry for name, entry, there in zip(names, estimates, present, strict=True) if there}
        by_class[metric.key] = adjust_by_holm(kept)
    return Difference(overall, by_class)


def _align(arms: Mapping[str, Sequence[Score]]) -> tuple[tuple[Arm, ...], tuple[str, ...]]:
    """Bring all arms into the chip order of the first run; return them, and the scenes left out without reference."""
    first = next(iter(arms.values()))[0]
    if not first.counts.total.sum():
        raise EvaluationError(
            f"{first.folder}: no reference pixel of any class in the test split; all of its masks are ignored"
        )
    for scores in arms.values():
        for score in scores:
            check_same_test(first, score)
    # [scene, class, class + 1] to [scene]; a scene without a reference changes no metric, yet would count as
    # one more unit in the variance
    referenced = first.counts.by_scene().sum(axis=(1, 2)) > 0
    empty = {scene for scene, there in zip(first.counts.scenes, referenced, strict=True) if not there}
    chips = zip(first.counts.chip_ids, first.counts.scene_ids, strict=True)
    ids = [chip_id for chip_id, scene in chips if scene not in empty]
    # every run by the first one's ids, so that an index is the same chip in all of them
    aligned = tuple(
        Arm(name, tuple(dataclasses.replace(s, counts=s.counts.ordered(ids)) for s in scores))
        for name, scores in arms.items()
    )
    return aligned, tuple(sorted(empty))
