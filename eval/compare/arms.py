"""Comparing arms: baseline, candidate and controls on the same test chips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.compare.inference import Estimate, PairedArms, compare, holm
from eval.compare.verdict import SIGNIFICANT, Setting, Verdict, judge
from eval.errors import (
    ClassMismatchError,
    ComparisonError,
    MissingChipsError,
    NoReferenceError,
    SplitMismatchError,
)
from eval.score.counts import Confusion
from eval.score.metrics import mean_iou
from eval.score.record import Score

BASELINE: Final = "baseline"
CANDIDATE: Final = "candidate"


@dataclass(frozen=True)
class Arm:
    """Runs of one training configuration.

    Attributes:
        name: ``baseline``, ``candidate`` or the control's name.
        scores: Scores of its runs, one a seed, with the chips in one order.
    """

    name: str
    scores: tuple[Score, ...]

    @property
    def counts(self) -> Confusion:
        """Counts ``[seed, scene, class, class + 1]``."""
        return np.stack([score.counts.by_scene() for score in self.scores])

    @property
    def miou(self) -> NDArray[np.float64]:
        """MIoU of each run, macro over the classes in the reference."""
        return mean_iou(np.stack([score.counts.total for score in self.scores]))


@dataclass(frozen=True)
class Difference:
    """What sets one arm apart from another.

    Attributes:
        miou: Estimate of the difference in mIoU.
        classes: Estimate of the difference in IoU, by class in the reference.
        adjusted: p-values of the classes after Holm.
    """

    miou: Estimate
    classes: Mapping[str, Estimate]
    adjusted: Mapping[str, float]

    def differs(self, name: str) -> bool:
        """Whether a class differs by both accounts: its p-value after Holm, and its interval."""
        return self.adjusted[name] < SIGNIFICANT and not self.classes[name].covers_zero


@dataclass(frozen=True)
class Comparison:
    """Everything a report tells.

    Attributes:
        arms: Baseline, candidate, then controls.
        differences: Of each arm but the baseline to the baseline, by name.
        against: Of the candidate to each control, by the control's name.
        verdict: What follows.
        seed: Of what was drawn at random.
    """

    arms: tuple[Arm, ...]
    differences: Mapping[str, Difference]
    against: Mapping[str, Difference]
    verdict: Verdict
    seed: int

    @property
    def baseline(self) -> Arm:
        """The arm compared with."""
        return self.arms[0]

    @property
    def candidate(self) -> Arm:
        """The arm in question."""
        return self.arms[1]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by label."""
        return self.baseline.scores[0].counts.class_names

    @property
    def scenes(self) -> tuple[str, ...]:
        """Scenes of the test split."""
        return self.baseline.scores[0].counts.scenes


def compare_arms(arms: Mapping[str, Sequence[Score]], seed: int) -> Comparison:
    """Compares arms.

    Args:
        arms: Scores of the runs of each arm; ``baseline`` and ``candidate``, then controls.
        seed: Of what is drawn at random.

    Raises:
        ComparisonError: If the runs were not scored on the same chips, references, scenes and classes, the
            reference holds no class, a run stands twice, or runs of one arm were trained on different things.
    """
    _check_runs(arms)
    aligned = _align(arms)
    baseline, candidate, *controls = aligned
    differences = {arm.name: _difference(arm, baseline, seed) for arm in (candidate, *controls)}
    against = {control.name: _difference(candidate, control, seed) for control in controls}
    origins = [score.origin for arm in aligned for score in arm.scores]
    setting = Setting(
        scenes=baseline.counts.shape[1],
        runs=tuple(len(arm.scores) for arm in aligned if arm.scores[0].origin.kind != "zero-shot"),
        smoke=any(origin.smoke for origin in origins),
        overlap=tuple(sorted({scene for origin in origins for scene in origin.scene_overlap})),
        limited=any(origin.limited_to is not None for origin in origins),
    )
    verdict = judge(differences[CANDIDATE].miou, {n: d.miou for n, d in against.items()}, setting)
    return Comparison(aligned, differences, against, verdict, seed)


def _check_runs(arms: Mapping[str, Sequence[Score]]) -> None:
    """No run stands twice within an arm or on both sides, and the runs of an arm differ by their seed alone."""
    for scores in (*arms.values(), [*arms[BASELINE], *arms[CANDIDATE]]):
        seen: dict[str, Score] = {}
        for score in scores:
            digest = score.origin.checkpoint_sha256
            if digest and digest in seen:
                raise ComparisonError(
                    f"{seen[digest].folder} and {score.folder} are the same weights; name each run once, on one side"
                )
            seen[digest] = score
    for name, scores in arms.items():
        for key in ("encoding", "control", "fingerprint"):
            first, other = (getattr(score.origin, key) for score in (scores[0], _odd(scores, key)))
            if first != other:
                raise ComparisonError(
                    f"{name}: {scores[0].folder} has {key} {first or 'none'}, {_odd(scores, key).folder} has "
                    f"{other or 'none'}; the runs of an arm differ by their seed alone"
                )


def _odd(scores: Sequence[Score], key: str) -> Score:
    """The first run that differs from the first in this, or the first."""
    first = getattr(scores[0].origin, key)
    return next((score for score in scores if getattr(score.origin, key) != first), scores[0])


def _difference(arm: Arm, other: Arm, seed: int) -> Difference:
    names = arm.scores[0].counts.class_names
    miou, *classes = compare(PairedArms(other.counts, arm.counts), seed)
    present = other.scores[0].counts.total.sum(axis=-1) > 0
    kept = {name: entry for name, entry, there in zip(names, classes, present, strict=True) if there}
    adjusted = holm(np.array([entry.p_value for entry in kept.values()]))
    return Difference(miou, kept, dict(zip(kept, map(float, adjusted), strict=True)))


def _align(arms: Mapping[str, Sequence[Score]]) -> tuple[Arm, ...]:
    """The arms with all chips in the order of the first run's, after making sure that they match."""
    first = next(iter(arms.values()))[0]
    if not first.counts.total.sum():
        raise NoReferenceError(
            f"{first.folder}: no reference pixel of any class in the test split; all of its masks are ignored"
        )
    for scores in arms.values():
        for score in scores:
            _check_same(first, score)
    ids = first.counts.chip_ids
    return tuple(
        Arm(name, tuple(Score(s.folder, s.counts.ordered(ids), s.origin) for s in scores))
        for name, scores in arms.items()
    )


def _check_same(first: Score, other: Score) -> None:
    """Both were scored on the same classes, chips, scenes and references."""
    if first.counts.class_names != other.counts.class_names:
        ours, theirs = (", ".join(score.counts.class_names) for score in (first, other))
        raise ClassMismatchError(
            f"{first.folder} has the classes {ours}; {other.folder} has {theirs}; compare runs of one class list"
        )
    _check_chips(first, other)
    scenes, placed = (
        dict(zip(score.counts.chip_ids, score.counts.scene_ids, strict=True)) for score in (first, other)
    )
    moved = sorted(chip_id for chip_id, scene in scenes.items() if placed[chip_id] != scene)
    if moved:
        raise SplitMismatchError(
            f"{first.folder} and {other.folder} put chip {moved[0]} in the scenes {scenes[moved[0]]!r} and "
            f"{placed[moved[0]]!r}; score them with one scene_pattern or scene_table"
        )
    if first.origin.masks_sha256 != other.origin.masks_sha256:
        raise SplitMismatchError(
            f"{first.folder} and {other.folder} were scored against different reference masks of the same chips; "
            "score both again on one chip set"
        )


def _check_chips(first: Score, other: Score) -> None:
    ours, theirs = set(first.counts.chip_ids), set(other.counts.chip_ids)
    if ours == theirs:
        return
    if ours & theirs and (ours < theirs or theirs < ours):
        short, missing = (other, ours - theirs) if theirs < ours else (first, theirs - ours)
        raise MissingChipsError(
            f"{short.folder} lacks {len(missing)} test chips ({_few(missing)}); score it on the whole split"
        )
    raise SplitMismatchError(
        f"{first.folder} and {other.folder} were scored on different test splits: {len(ours - theirs)} chips are "
        f"only in the first ({_few(ours - theirs)}), {len(theirs - ours)} only in the second "
        f"({_few(theirs - ours)}); score both on one split"
    )


def _few(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (" …" if len(names) > 3 else "")
