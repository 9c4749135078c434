"""May these runs be compared? Errors where not, concerns where a difference could have another cause."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from augment_store.utils.text import join_first, pluralize
from eval.compare.arms import BASELINE, Arm
from eval.errors import EvaluationError
from eval.score.folds import FOLD
from eval.score.record import Provenance, Score, run_of
from finetune.errors import RunError
from finetune.run.manifest import MANIFEST, RunManifest
from finetune.run.recipe import describe, differences


def concerns(arms: Sequence[Arm]) -> tuple[str, ...]:
    """List what, other than what is asked, the trained arms may differ in; each is a sentence that a claim lacks."""
    scores = [score for arm in arms for score in arm.scores if score.origin.trained]
    trained = [score.origin for score in scores]
    # of each fold: what one fold differs in must not hide in the record of all
    trainings = [training.origin for score in scores for training in score.trainings]
    return (
        *_data_concerns(trained),
        *_start_concerns(arms),
        *_recipe_concerns(arms),
        *_environment_concerns(trainings),
        *_test_concerns(trainings),
        *_left_out(arms),
    )


def unpaired_because(first: Arm, second: Arm) -> str:
    """Explain why runs of two arms are not paired by seed; empty if they are. It never depends on the results.

    They are paired if every run's seed is known and both arms have the same seeds.
    """
    ours, theirs = ([score.origin.seed for score in arm.scores] for arm in (first, second))
    for arm, seeds in ((first, ours), (second, theirs)):
        if None in seeds:
            return f"the seed of a run of {arm.name} is not known"
    # as sets, since `comparison.paired` brings the runs into one order
    if set(ours) != set(theirs):
        listed = [", ".join(map(str, dict.fromkeys(seeds))) for seeds in (ours, theirs)]
        return f"{first.name} has the seeds {listed[0]}, {second.name} has {listed[1]}"
    return ""


def _data_concerns(origins: Sequence[Provenance]) -> Iterator[str]:
    """Find splits of which the trained arms may have read other chips or masks."""
    by_origin = [dict(origin.data()) for origin in origins]
    # every origin has the same keys; without a trained arm there is no origin to take them from
    for key in by_origin[0] if by_origin else ():
        found = {digests[key] for digests in by_origin}
        # before the comparison: two missing digests are equal, and would pass for the same data
        if "" in found:
            yield f"the digest of the {key}, which the record of a run does not hold; train and score it again"
        elif len(found) > 1:
            yield f"the same {key} in every arm; their digests differ"


def _start_concerns(arms: Sequence[Arm]) -> Iterator[str]:
    """Find arms that started from other weights than the baseline, which could explain a difference."""
    # of every fold: a pooled score has the first one's
    starts = {
        arm.name: {each.origin.start for score in arm.scores for each in score.trainings} for arm in arms
    }
    trained = {arm.name for arm in arms if arm.scores[0].origin.trained}
    for name, found in starts.items():
        # a zero-shot map was not trained, so it has no start to compare
        if name in trained and found != starts[BASELINE]:
            shown = [", ".join(map(_short_start, sorted(group))) for group in (starts[BASELINE], found)]
            yield f"the same start for every arm: baseline started from {shown[0]}, {name} from {shown[1]} (--init)"


def _recipe_concerns(arms: Sequence[Arm]) -> Iterator[str]:
    """Find arms that were trained in another way than the baseline, which could explain a difference."""
    baseline = arms[0].scores[0].origin.recipe
    for arm in arms[1:]:
        # one run speaks for its arm: `check_runs` has refused arms whose runs differ
        recipe = arm.scores[0].origin.recipe
        # an empty recipe is unknown (a bare checkpoint, a zero-shot map), which is not another one
        if baseline and recipe and (apart := describe(differences(baseline, recipe), BASELINE, arm.name)):
            yield f"the same training of every arm: {apart}"


def _environment_concerns(origins: Sequence[Provenance]) -> Iterator[str]:
    """Find devices and versions that are not those of all runs; another version may have other defaults."""
    known = [origin.environment for origin in origins if origin.run is not None]
    for key in dict.fromkeys(key for environment in known for key in environment):
        # a package that only some runs had is a difference too, so it counts as a value
        found = sorted({environment.get(key, "none") for environment in known})
        if len(found) > 1:
            yield f"one environment for all runs; {key} is {' or '.join(found)}"


def _test_concerns(origins: Sequence[Provenance]) -> Iterator[str]:
    """Find runs whose test split was another one when they were trained."""
    for origin in origins:
        then = None if origin.run is None else origin.run.data.splits.get("test")
        # the digest of the ids: as many chips as before may still be other chips
        if then is not None and then.ids != origin.test.ids:
            yield (
                f"the test split that there was at the training; {origin.source} was trained with "
                f"{pluralize(then.chips, 'test chip')}, and scored on {origin.test.chips}, which are others"
            )
            return


def _left_out(arms: Sequence[Arm]) -> Iterator[str]:
    """Find runs beside the named ones that belong to the same arm and were not named."""
    scores = (score for arm in arms for score in arm.scores)
    named = {run_of(training.folder.resolve()) for score in scores for training in score.trainings}
    for arm in arms:
        # siblings of the named runs: seeds of this arm, or other arms' runs too, which `_belongs` sorts out
        pattern = f"*/{FOLD}*/{MANIFEST}" if arm.scores[0].folds else f"*/{MANIFEST}"
        beside = sorted(
            {path for score in arm.scores for path in run_of(score.folder.resolve()).parent.glob(pattern)}
        )
        left = [path.parent for path in beside if path.parent not in named and _belongs(path.parent, arm)]
        if left:
            yield f"all runs of {arm.name}; left out: {join_first([str(path) for path in left])}"


def _belongs(run: Path, arm: Arm) -> bool:
    """Return whether a run that was not named is one of an arm: of its inputs, maps, network and recipe."""
    first = arm.scores[0].origin.run
    try:
        other = RunManifest.read(run)
    except RunError:
        return False
    # a smoke run that was left out holds back no result
    if first is None or other.smoke:
        return False
    return (
        other.recipe == first.recipe
        and other.start.architecture == first.start.architecture
        and other.data.modalities == first.data.modalities
        # without the folder of the store, which may have moved; its fingerprint is compared
        and dataclasses.replace(other.augment, store=None) == dataclasses.replace(first.augment, store=None)
    )


def _short_start(start: str) -> str:
    """Shorten the digests of a start."""
    return " + ".join(word[:12] for word in start.split()) or "unknown"


def check_runs(arms: Mapping[str, Sequence[Score]]) -> None:
    """Make sure that no run appears twice, no seed twice in an arm, and that an arm's runs differ only by seed.

    Raises:
        EvaluationError: Naming the two runs.
    """
    seen: dict[str, Score] = {}
    for score in (each for scores in arms.values() for whole in scores for each in whole.trainings):
        # by digest, to find a run that was copied, and by folder; a zero-shot map has no digest, hence − {""}
        weights = score.origin.checkpoint_sha256
        # the same weights on another generated sample, or on all of them, are no copy
        for mark in {weights and f"{weights} {score.origin.sample}", str(score.folder.resolve())} - {""}:
            if mark in seen:
                raise EvaluationError(
                    f"{seen[mark].folder} and {score.folder} are the same weights; name each run once, in one arm"
                )
            seen[mark] = score
    for name, scores in arms.items():
        _check_seeds(name, scores)
        _check_arm(name, [training for score in scores for training in score.trainings])


def _check_arm(name: str, scores: Sequence[Score]) -> None:
    """Make sure that the runs of an arm were trained on the same things."""
    first = scores[0]
    for other in scores[1:]:
        for key, value in first.origin.arm.items():
            theirs = other.origin.arm[key]
            if theirs != value:
                raise EvaluationError(
                    f"{name}: {first.folder} has {key} {value or 'none'}, {other.folder} has {theirs or 'none'}; the "
                    "runs of an arm may differ only by seed"
                )
        apart = describe(
            differences(first.origin.recipe, other.origin.recipe), str(first.folder), str(other.folder)
        )
        if apart:
            raise EvaluationError(f"{name}: {apart}; the runs of an arm may differ only by seed")


def _check_seeds(name: str, scores: Sequence[Score]) -> None:
    seeds: dict[int, Score] = {}
    for score in scores:
        seed = score.origin.seed
        # two unknown seeds may be different; `unpaired_because` asks for known ones
        if seed is None:
            continue
        if seed in seeds:
            raise EvaluationError(
                f"{name}: {seeds[seed].folder} and {score.folder} both have seed {seed}; a repeated run is not "
                "a second sample: train with another --seed"
            )
        seeds[seed] = score


def check_same_test(first: Score, other: Score) -> None:
    """Make sure that both were scored on the same classes, chips, scenes and references.

    Raises:
        EvaluationError: Naming the first difference.
    """
    if first.counts.class_names != other.counts.class_names:
        ours, theirs = (", ".join(score.counts.class_names) for score in (first, other))
        raise EvaluationError(
            f"{first.folder} has the classes {ours}; {other.folder} has {theirs}; compare runs of one class list"
        )
    # before scenes and references, which are looked up by chip: a chip that one lacks would be a KeyError
    _check_same_chips(first, other)
    _check_same_folds(first, other)
    scenes, others = (
        dict(zip(score.counts.chip_ids, score.counts.scene_ids, strict=True)) for score in (first, other)
    )
    moved = sorted(chip_id for chip_id, scene in scenes.items() if others[chip_id] != scene)
    if moved:
        raise EvaluationError(
            f"{first.folder} and {other.folder} put chip {moved[0]} in the scenes {scenes[moved[0]]!r} and "
            f"{others[moved[0]]!r}; train them with one --scenes, or with one store"
        )
    if first.origin.test.masks != other.origin.test.masks:
        raise EvaluationError(
            f"{first.folder} and {other.folder} were scored against different reference masks of the same chips; "
            "score both again on one chip set"
        )
    _check_references(first, other)


def _check_references(first: Score, other: Score) -> None:
    """Make sure that the reference pixels of each class in each chip are equal, as the digests of the masks are."""
    # [chip, class, class + 1] to reference pixels [chip, class], both in the first score's order of chips
    ours = first.counts.values.sum(axis=-1)
    theirs = other.counts.ordered(first.counts.chip_ids).values.sum(axis=-1)
    differing = np.flatnonzero((ours != theirs).any(axis=-1))
    if differing.size:
        chip = first.counts.chip_ids[differing[0]]
        raise EvaluationError(
            f"{first.folder} and {other.folder} count different reference pixels in chip {chip} though they name the "
            "same masks; one of the scores is damaged: score both again"
        )


def _check_same_folds(first: Score, other: Score) -> None:
    ours, theirs = ([set(fold.counts.chip_ids) for fold in score.folds] for score in (first, other))
    if ours != theirs:
        raise EvaluationError(
            f"{first.folder} and {other.folder} tested the same chips in different folds; train both on one dealing"
        )


def _check_same_chips(first: Score, other: Score) -> None:
    ours, theirs = set(first.counts.chip_ids), set(other.counts.chip_ids)
    if ours == theirs:
        return
    # the empty set is part of every set, yet no split that was merely cut short
    if ours & theirs and (ours < theirs or theirs < ours):
        short, missing = (other, ours - theirs) if theirs < ours else (first, theirs - ours)
        raise EvaluationError(
            f"{short.folder} lacks {pluralize(len(missing), 'test chip')} ({join_first(sorted(missing))}); score it on "
            "the whole split"
        )
    raise EvaluationError(
        f"{first.folder} and {other.folder} were scored on different test splits: "
        f"{pluralize(len(ours - theirs), 'chip')} only in the first ({join_first(sorted(ours - theirs))}), "
        f"{len(theirs - ours)} only in the second ({join_first(sorted(theirs - ours))}); score both on one split"
    )
