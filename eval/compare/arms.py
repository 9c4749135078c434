"""Comparing arms: baseline, candidate and controls on the same test chips."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from augment_store.words import counted, few
from eval.compare.inference import Estimate, PairedArms, compare, holm
from eval.compare.verdict import SIGNIFICANT, Setting, Verdict, judge
from eval.errors import ComparisonError
from eval.score.counts import Confusion
from eval.score.metrics import INTERVALS, MIOU
from eval.score.record import Origin, Score
from finetune.run.recipe import describe, differences

BASELINE: Final = "baseline"
CANDIDATE: Final = "candidate"

_SEED: Final = re.compile(r"[_-]?seed[_-]?\d+$|[_-]\d{1,3}$")
"""End of a run directory's name that distinguishes the runs of an arm."""


@dataclass(frozen=True)
class Arm:
    """Runs of one training configuration.

    Attributes:
        name: ``baseline``, ``candidate`` or the control's name.
        scores: Scores of its runs, one per seed, all with the chips in the same order.
    """

    name: str
    scores: tuple[Score, ...]

    @property
    def title(self) -> str:
        """Name of its run directories without the seed: ``tim_lulc`` for ``runs/tim_lulc/seed_1``."""
        titles = dict.fromkeys(_title(score) for score in self.scores)
        shared = dict.fromkeys(title.rstrip("0123456789") for title in titles)
        return (
            few(shared if len(shared) == 1 and "" not in shared else titles)
            if len(titles) > 1
            else few(titles)
        )

    @property
    def counts(self) -> Confusion:
        """Counts ``[seed, scene, class, class + 1]``."""
        return np.stack([score.counts.by_scene() for score in self.scores])


@dataclass(frozen=True)
class Difference:
    """How one arm differs from another.

    Attributes:
        overall: Estimates by the metric's key.
        by_class: Estimates by the metric's key, then by class in the reference.
        adjusted: p-values after Holm over the classes, by the same keys.
    """

    overall: Mapping[str, Estimate]
    by_class: Mapping[str, Mapping[str, Estimate]]
    adjusted: Mapping[str, Mapping[str, float]]

    @property
    def miou(self) -> Estimate:
        """Estimate of the headline metric."""
        return self.overall[MIOU.key]

    def differs(self, key: str, name: str) -> bool:
        """Whether a class differs by both its p-value after Holm and its interval."""
        return self.adjusted[key][name] < SIGNIFICANT and not self.by_class[key][name].covers_zero


@dataclass(frozen=True)
class Comparison:
    """Everything that goes into a report.

    Attributes:
        arms: Baseline, candidate, then controls.
        differences: Differences of every other arm from the baseline, by the arm's name.
        against: Differences of the candidate from each control, by the control's name.
        verdict: What follows from them.
        setting: How the comparison was made.
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
    trained = [score.origin for arm in aligned for score in arm.scores if score.origin.trained]
    records = [origin.run for origin in trained if origin.run is not None]
    setting = Setting(
        scenes=baseline.counts.shape[1],
        runs=(len(baseline.scores), len(candidate.scores)),
        pairing=unpaired_because(baseline, candidate),
        smoke=any(origin.smoke for origin in trained),
        overlap=tuple(sorted({scene for record in records for scene in record.data.scene_overlap})),
        limited=any(record.data.limited_to is not None for record in records),
        data=(
            *_data_doubts(trained),
            *_start_doubts(aligned),
            *_recipe_doubts(aligned),
            *_environment_doubts(trained),
        ),
        dropped=dropped,
        titles=titles(baseline, candidate),
    )
    verdict = judge(differences[CANDIDATE].miou, {n: d.miou for n, d in against.items()}, setting)
    return Comparison(aligned, differences, against, verdict, setting)


def titles(first: Arm, second: Arm) -> tuple[str, str]:
    """Titles of two arms; their roles if their directories do not distinguish them."""
    if first.title == second.title:
        return first.name, second.name
    return first.title, second.title


def _title(score: Score) -> str:
    folder = score.folder.absolute()
    return _SEED.sub("", folder.name) or folder.parent.name


def unpaired_because(first: Arm, second: Arm) -> str:
    """Why runs of two arms are not paired by seed; empty if they are. It never depends on the results.

    They are paired if every run's seed is known and both arms have the same seeds.
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
    """Reasons to doubt that the trained arms read the same chips and masks."""
    by_origin = [dict(origin.data()) for origin in origins]
    for key in by_origin[0] if by_origin else ():
        found = {digests[key] for digests in by_origin}
        if "" in found:
            yield f"the digest of the {key}, which the record of a run does not hold; train and score it again"
        elif len(found) > 1:
            yield f"the same {key} in every arm; their digests differ"


def _start_doubts(arms: Sequence[Arm]) -> Iterator[str]:
    """Arms that started from other weights than the baseline, which could explain a difference."""
    starts = {arm.name: {score.origin.start for score in arm.scores} for arm in arms}
    trained = {arm.name for arm in arms if arm.scores[0].origin.trained}
    for name, found in starts.items():
        if name in trained and found != starts[BASELINE]:
            shown = [", ".join(map(_short, sorted(group))) for group in (starts[BASELINE], found)]
            yield f"the same start for every arm: baseline started from {shown[0]}, {name} from {shown[1]} (--init)"


def _recipe_doubts(arms: Sequence[Arm]) -> Iterator[str]:
    """Arms that were trained in another way than the baseline, which could explain a difference."""
    baseline = arms[0].scores[0].origin.recipe
    for arm in arms[1:]:
        recipe = arm.scores[0].origin.recipe
        if baseline and recipe and (apart := describe(differences(baseline, recipe), BASELINE, arm.name)):
            yield f"the same training of every arm: {apart}"


def _environment_doubts(origins: Sequence[Origin]) -> Iterator[str]:
    """Devices and versions that are not those of all runs; another version may have other defaults."""
    known = [origin.environment for origin in origins if origin.run is not None]
    for key in dict.fromkeys(key for environment in known for key in environment):
        found = sorted({environment.get(key, "none") for environment in known})
        if len(found) > 1:
            yield f"one environment for all runs; {key} is {' or '.join(found)}"


def _short(start: str) -> str:
    """A start with its digests shortened."""
    return " + ".join(word[:12] for word in start.split()) or "unknown"


def _check_runs(arms: Mapping[str, Sequence[Score]]) -> None:
    """Makes sure that no run appears twice, no seed twice in an arm, and that an arm's runs differ only by seed."""
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
        _check_arm(name, scores)


def _check_arm(name: str, scores: Sequence[Score]) -> None:
    """Makes sure that the runs of an arm were trained on the same things."""
    first = scores[0]
    for other in scores[1:]:
        for key, value in first.origin.arm.items():
            theirs = other.origin.arm[key]
            if theirs != value:
                raise ComparisonError(
                    f"{name}: {first.folder} has {key} {value or 'none'}, {other.folder} has {theirs or 'none'}; the "
                    "runs of an arm may differ only by seed"
                )
        apart = describe(
            differences(first.origin.recipe, other.origin.recipe), str(first.folder), str(other.folder)
        )
        if apart:
            raise ComparisonError(f"{name}: {apart}; the runs of an arm may differ only by seed")


def _check_seeds(name: str, scores: Sequence[Score]) -> None:
    seeds: dict[int, Score] = {}
    for score in scores:
        seed = score.origin.seed
        if seed is None:
            continue
        if seed in seeds:
            raise ComparisonError(
                f"{name}: {seeds[seed].folder} and {score.folder} both have seed {seed}; a repeated run is not "
                "a second sample: train with another --seed"
            )
        seeds[seed] = score


def paired(arm: Arm, other: Arm) -> PairedArms:
    """Counts of two arms, `arm` as the candidate, their runs in the order of their seeds if they are paired."""
    if unpaired_because(other, arm):
        return PairedArms(other.counts, arm.counts)
    order = [score.origin.seed for score in other.scores]
    place = [[score.origin.seed for score in arm.scores].index(seed) for seed in order]
    return PairedArms(other.counts, arm.counts[place], by_seed=True)


def _difference(arm: Arm, other: Arm) -> Difference:
    names = arm.scores[0].counts.class_names
    present = other.scores[0].counts.total.sum(axis=-1) > 0
    overall, by_class, adjusted = {}, {}, {}
    found = compare(paired(arm, other))
    for metric in INTERVALS:
        estimates = found[metric.key]
        if not metric.by_class:
            (overall[metric.key],) = estimates
            continue
        kept = {name: entry for name, entry, there in zip(names, estimates, present, strict=True) if there}
        raised = holm(np.array([entry.p_value for entry in kept.values()]))
        by_class[metric.key] = kept
        adjusted[metric.key] = dict(zip(kept, map(float, raised), strict=True))
    return Difference(overall, by_class, adjusted)


def _align(arms: Mapping[str, Sequence[Score]]) -> tuple[tuple[Arm, ...], tuple[str, ...]]:
    """The arms with all chips in the order of the first run, and the scenes left out because they have no reference."""
    first = next(iter(arms.values()))[0]
    if not first.counts.total.sum():
        raise ComparisonError(
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
    """Makes sure that both were scored on the same classes, chips, scenes and references."""
    if first.counts.class_names != other.counts.class_names:
        ours, theirs = (", ".join(score.counts.class_names) for score in (first, other))
        raise ComparisonError(
            f"{first.folder} has the classes {ours}; {other.folder} has {theirs}; compare runs of one class list"
        )
    _check_chips(first, other)
    scenes, placed = (
        dict(zip(score.counts.chip_ids, score.counts.scene_ids, strict=True)) for score in (first, other)
    )
    moved = sorted(chip_id for chip_id, scene in scenes.items() if placed[chip_id] != scene)
    if moved:
        raise ComparisonError(
            f"{first.folder} and {other.folder} put chip {moved[0]} in the scenes {scenes[moved[0]]!r} and "
            f"{placed[moved[0]]!r}; train them with one --scenes, or with one store"
        )
    if first.origin.test.masks != other.origin.test.masks:
        raise ComparisonError(
            f"{first.folder} and {other.folder} were scored against different reference masks of the same chips; "
            "score both again on one chip set"
        )
    _check_references(first, other)


def _check_references(first: Score, other: Score) -> None:
    """If the digests of masks are equal, so must be the reference pixels of each class in each chip."""
    ours = first.counts.values.sum(axis=-1)
    theirs = other.counts.ordered(first.counts.chip_ids).values.sum(axis=-1)
    differing = np.flatnonzero((ours != theirs).any(axis=-1))
    if differing.size:
        chip = first.counts.chip_ids[differing[0]]
        raise ComparisonError(
            f"{first.folder} and {other.folder} count different reference pixels in chip {chip} though they name the "
            "same masks; one of the scores is damaged: score both again"
        )


def _check_chips(first: Score, other: Score) -> None:
    ours, theirs = set(first.counts.chip_ids), set(other.counts.chip_ids)
    if ours == theirs:
        return
    if ours & theirs and (ours < theirs or theirs < ours):
        short, missing = (other, ours - theirs) if theirs < ours else (first, theirs - ours)
        raise ComparisonError(
            f"{short.folder} lacks {counted(len(missing), 'test chip')} ({few(sorted(missing))}); score it on "
            "the whole split"
        )
    raise ComparisonError(
        f"{first.folder} and {other.folder} were scored on different test splits: "
        f"{counted(len(ours - theirs), 'chip')} only in the first ({few(sorted(ours - theirs))}), "
        f"{len(theirs - ours)} only in the second ({few(sorted(theirs - ours))}); score both on one split"
    )
