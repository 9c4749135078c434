"""What a reader must know to trust a number, after "No one knows the state of the art in geospatial foundation models".

The paper (arXiv 2605.12678) finds results of the field that cannot be compared: weights without name or license, no
variance, a harness of each group's own, numbers copied from elsewhere, and splits by chance. Each is answered here from
the records of the runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from augment_store.utils.text import join_first, pluralize
from eval.compare.arms import Comparison
from eval.compare.report.model import Answer
from eval.score.record import Provenance


def checklist(comparison: Comparison) -> list[Answer]:
    """Answer what the paper asks of a comparison."""
    trained = [score.origin for arm in comparison.arms for score in arm.scores if score.origin.trained]
    return [
        *_weights(trained),
        *_variance(comparison),
        *_harness(trained),
        *_controls(comparison),
        *_splits(trained),
    ]


def _weights(trained: Sequence[Provenance]) -> Iterator[Answer]:
    starts = {
        f"{origin.run.start.architecture}, weights {origin.run.start.weights_sha256[:12] or 'random'}"
        for origin in trained
        if origin.run is not None
    }
    unnamed = [origin.source for origin in trained if origin.run is None]
    yield Answer(
        question="Are the weights named?",
        yes=bool(starts) and not unnamed,
        words=join_first(sorted(starts))
        if starts and not unnamed
        else f"not those of {join_first(unnamed or ['any run'])}",
    )
    # a published file's license is on its page and not in it, so no record has it
    yield Answer(
        question="Is their license named?",
        yes=False,
        words="not in the records; see where the weights were published",
    )


def _variance(comparison: Comparison) -> Iterator[Answer]:
    runs, scenes = min(comparison.setting.runs), comparison.setting.scenes
    yield Answer(
        question="Is there a variance?",
        yes=runs > 1 and scenes > 1,
        words=f"{pluralize(runs, 'seed')} of each arm, {pluralize(scenes, 'scene')}",
    )


def _harness(trained: Sequence[Provenance]) -> Iterator[Answer]:
    foreign = [origin.source for origin in trained if origin.run is None]
    yield Answer(
        question="Were all arms trained and scored by one harness?",
        yes=not foreign,
        words=f"trained elsewhere: {join_first(foreign)}" if foreign else "tim-finetune and tim-eval",
    )
    # a score holds the counts of its own forward pass; there is no way to enter a number
    yield Answer(
        question="Was every number computed here, and none copied?", yes=True, words="from counts.csv"
    )


def _controls(comparison: Comparison) -> Iterator[Answer]:
    none = comparison.setting.no_controls
    there = [arm.name for arm in comparison.arms[2:] if arm.name not in none]
    yield Answer(
        question="Are there controls?",
        yes=bool(there),
        words=join_first(there) if there else "none by its record",
    )
    dates = comparison.setting.study.dates
    yield Answer(
        question="Was the comparison declared before the trainings?",
        yes=bool(dates) and not comparison.setting.study.lacking,
        words=dates[0] if dates else "no",
    )


def _splits(trained: Sequence[Provenance]) -> Iterator[Answer]:
    records = [origin.run.data for origin in trained if origin.run is not None]
    shared = sorted({scene for data in records for scene in data.scene_overlap})
    pairs = sorted({pair for data in records for pair in data.shared_chips})
    words = "by scene, none of them in two splits" if records else "not recorded"
    if shared:
        words = f"scenes in two splits: {join_first(shared)}"
    elif pairs:
        words = f"ground in two splits: {join_first([' and '.join(pair) for pair in pairs])}"
    yield Answer(
        question="Are the splits geographic, not random?",
        yes=bool(records) and not shared and not pairs,
        words=words,
    )
