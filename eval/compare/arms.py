"""Comparing arms: baseline, candidate and controls on the same test chips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from eval.score.record import DATA_KEYS, Origin, Score

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
        setting: What it was made of.
    """

    arms: tuple[Arm, ...]
    differences: Mapping[str, Difference]
    against: Mapping[str, Difference]
    verdict: Verdict
    setting: Setting

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


def compare_arms(arms: Mapping[str, Sequence[Score]]) -> Comparison:
    """Compares arms.

    Args:
        arms: Scores of the runs of each arm; ``baseline`` and ``candidate``, then controls.

    Raises:
        ComparisonError: If the runs were not scored on the same chips, references, scenes and classes, the
            reference holds no class, a run or a seed appears twice, or runs of one arm were trained on different
            things.
    """
    _check_runs(arms)
    aligned, dropped = _align(arms)
    baseline, candidate, *controls = aligned
    differences = {arm.name: _difference(arm, baseline) for arm in (candidate, *controls)}
    against = {control.name: _difference(candidate, control) for control in controls}
    trained = [score.origin for arm in aligned for score in arm.scores if score.origin.kind != "zero-shot"]
    setting = Setting(
        scenes=baseline.counts.shape[1],
        runs=(len(baseline.scores), len(candidate.scores)),
        pairing=unpaired_because(baseline, candidate),
        smoke=any(origin.smoke for origin in trained),
        overlap=tuple(sorted({scene for origin in trained for scene in origin.scene_overlap})),
        limited=any(origin.limited_to is not None for origin in trained),
        data=(*_data_doubts(trained), *_start_doubts(aligned)),
        dropped=dropped,
    )
    verdict = judge(differences[CANDIDATE].miou, {n: d.miou for n, d in against.items()}, setting)
    return Comparison(aligned, differences, against, verdict, setting)


def unpaired_because(first: Arm, second: Arm) -> str:
    """Why runs of two arms are not paired by seed; empty where they are, whatever the numbers say.

    They are paired where every run's seed is known and both arms have the same seeds.
    """
    ours, theirs = ([score.origin.seed for score in arm.scores] for arm in (first, second))
    for arm, seeds in ((first, ours), (second, theirs)):
        if None in seeds:
            return f"the seed of a run of {arm.name} is not known"
    if set(ours) != set(theirs):
        listed = [", ".join(map(str, dict.fromkeys(seeds))) for seeds in (ours, theirs)]
        return f"{first.name} has the seeds {listed[0]}, {second.name} has {listed[1]}"
    return ""


def _data_doubts(origins: Sequence[Origin]) -> Iterator[str]:
    """What keeps trained arms from having provably read the same chips and masks, by split."""
    for key in DATA_KEYS:
        found = {origin.data.get(key, "") for origin in origins}
        if "" in found:
            yield f"the digest of the {key}, which the record of a run does not hold; train and score it again"
        elif len(found) > 1:
            yield f"the same {key} in every arm; their digests differ"


def _start_doubts(arms: Sequence[Arm]) -> Iterator[str]:
    """Arms that began with other weights than the baseline: a difference could be theirs."""
    starts = {arm.name: {score.origin.start for score in arm.scores} for arm in arms}
    zero_shot = {arm.name for arm in arms if arm.scores[0].origin.kind == "zero-shot"}
    for name, found in starts.items():
        if name not in zero_shot and found != starts[BASELINE]:
            shown = [", ".join(map(_short, sorted(group))) for group in (starts[BASELINE], found)]
            yield f"the same start of every arm: baseline began with {shown[0]}, {name} with {shown[1]} (--init)"


def _short(start: str) -> str:
    """A start with each of its digests cut short."""
    return " + ".join(word[:12] for word in start.split()) or "unknown"


def _check_runs(arms: Mapping[str, Sequence[Score]]) -> None:
    """No run appears twice, no seed appears twice in an arm, and the runs of an arm differ by their seed alone."""
    seen: dict[str, Score] = {}
    for score in (score for scores in arms.values() for score in scores):
        for mark in {score.origin.checkpoint_sha256, str(score.folder.resolve())} - {""}:
            if mark in seen:
                raise ComparisonError(
                    f"{seen[mark].folder} and {score.folder} are the same weights; name each run once, in one arm"
                )
            seen[mark] = score
    for name, scores in arms.items():
        _check_seeds(name, scores)
        for key in ("encoding", "control", "fingerprint"):
            first, other = (getattr(score.origin, key) for score in (scores[0], _odd(scores, key)))
            if first != other:
                raise ComparisonError(
                    f"{name}: {scores[0].folder} has {key} {first or 'none'}, {_odd(scores, key).folder} has "
                    f"{other or 'none'}; the runs of an arm differ by their seed alone"
                )


def _check_seeds(name: str, scores: Sequence[Score]) -> None:
    seeds: dict[int, Score] = {}
    for score in scores:
        seed = score.origin.seed
        if seed is None:
            continue
        if seed in seeds:
            raise ComparisonError(
                f"{name}: {seeds[seed].folder} and {score.folder} both have seed {seed}; a run repeated is no second "
                "draw: train with another --seed"
            )
        seeds[seed] = score


def _odd(scores: Sequence[Score], key: str) -> Score:
    """The first run that differs from the first in this, or the first."""
    first = getattr(scores[0].origin, key)
    return next((score for score in scores if getattr(score.origin, key) != first), scores[0])


def paired(arm: Arm, other: Arm) -> PairedArms:
    """Counts of two arms, `arm` as the candidate, their runs in the order of their seeds where they are paired."""
    if unpaired_because(other, arm):
        return PairedArms(other.counts, arm.counts)
    order = [score.origin.seed for score in other.scores]
    place = [[score.origin.seed for score in arm.scores].index(seed) for seed in order]
    return PairedArms(other.counts, arm.counts[place], by_seed=True)


def _difference(arm: Arm, other: Arm) -> Difference:
    names = arm.scores[0].counts.class_names
    miou, *classes = compare(paired(arm, other))
    present = other.scores[0].counts.total.sum(axis=-1) > 0
    kept = {name: entry for name, entry, there in zip(names, classes, present, strict=True) if there}
    adjusted = holm(np.array([entry.p_value for entry in kept.values()]))
    return Difference(miou, kept, dict(zip(kept, map(float, adjusted), strict=True)))


def _align(arms: Mapping[str, Sequence[Score]]) -> tuple[tuple[Arm, ...], tuple[str, ...]]:
    """The arms with all chips in the order of the first run's, and the scenes left out for having no reference."""
    first = next(iter(arms.values()))[0]
    if not first.counts.total.sum():
        raise NoReferenceError(
            f"{first.folder}: no reference pixel of any class in the test split; all of its masks are ignored"
        )
    for scores in arms.values():
        for score in scores:
            _check_same(first, score)
    referenced = first.counts.by_scene().sum(axis=(1, 2)) > 0
    empty = {scene for scene, there in zip(first.counts.scenes, referenced, strict=True) if not there}
    chips = zip(first.counts.chip_ids, first.counts.scene_ids, strict=True)
    ids = [chip_id for chip_id, scene in chips if scene not in empty]
    aligned = tuple(
        Arm(name, tuple(Score(s.folder, s.counts.ordered(ids), s.origin) for s in scores))
        for name, scores in arms.items()
    )
    return aligned, tuple(sorted(empty))


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
    _check_references(first, other)


def _check_references(first: Score, other: Score) -> None:
    """What a digest promises, the counts must hold: as many reference pixels of each class in each chip."""
    ours = first.counts.values.sum(axis=-1)
    theirs = other.counts.ordered(first.counts.chip_ids).values.sum(axis=-1)
    differing = np.flatnonzero((ours != theirs).any(axis=-1))
    if differing.size:
        chip = first.counts.chip_ids[differing[0]]
        raise SplitMismatchError(
            f"{first.folder} and {other.folder} count other reference pixels in chip {chip} though they name the same "
            "masks; one of the scores is damaged: score both again"
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
