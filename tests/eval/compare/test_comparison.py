import dataclasses
from pathlib import Path

import numpy as np
import pytest

from eval.compare.arms import Arm
from eval.compare.comparison import compare_arms
from eval.compare.inference import ClassEstimate
from eval.compare.verdict import Grade, grade_of, points
from eval.errors import ComparisonError, ScoreError
from eval.score.counts import Counts
from eval.score.metrics import IOU
from eval.score.record import Score
from tests.eval.scores import DIGESTS, SPLIT, make_counts, make_origin


def score(gain=0.0, seed=1, **given):
    """A run whose counts and record have this seed."""
    counts = given.pop("counts", None)
    sizes = {key: given.pop(key) for key in set(given) & {"scenes", "per_scene", "names"}}
    origin, counts = given, counts or make_counts(gain, seed=seed, **sizes)
    return Score(Path(f"run_{next(DIGESTS)}"), counts, make_origin(seed=seed, **origin))


def runs(gain=0.0, seeds=(1, 2, 3), luck=0, scenes=12, **origin):
    """An arm of several seeds; arms with another `luck` have other counts."""
    counts = {seed: make_counts(gain, seed=seed + 10 * luck, scenes=scenes) for seed in seeds}
    return [score(seed=seed, counts=counts[seed], **origin) for seed in seeds]


def compared(gain, controls=None, **given):
    """Baseline, candidate and controls by their gain, three seeds each."""
    arms = {"baseline": runs(**given), "candidate": runs(gain, luck=1, **given)}
    arms |= {name: runs(value, luck=2, **given) for name, value in (controls or {}).items()}
    return compare_arms(arms)


@pytest.mark.parametrize(
    ("difference", "grade"),
    [(0.0201, "strong"), (0.02, "acceptable"), (0.0, "acceptable"), (-0.0001, "negative")],
)
def test_grades(difference, grade):
    assert grade_of(difference) == grade


def test_grades_in_order():
    assert Grade.STRONG.reaches(Grade.ACCEPTABLE)
    assert Grade.ACCEPTABLE.reaches(Grade.ACCEPTABLE)
    assert not Grade.NEGATIVE.reaches(Grade.ACCEPTABLE)


def test_a_clear_gain():
    found = compared(0.1, {"shuffle": 0.0})
    assert found.verdict.outcome == "strong improvement"
    assert found.verdict.claimed
    assert found.verdict.lacking == ()
    assert found.differences["candidate"].miou.low > 0.05
    assert "does not cover zero" in found.verdict.words[0]
    assert found.verdict.words[1] == "Runs are paired by seed (3 seeds)."


@pytest.mark.parametrize(
    ("folders", "title"),
    [
        (["runs/tim_lulc/seed_1", "runs/tim_lulc/seed_2"], "tim_lulc"),
        (["runs/tim_seed1", "runs/tim_seed2"], "tim"),
        (["runs/tim_1", "runs/tim_12"], "tim"),
        (["runs/b1", "runs/b2"], "b"),
        (["runs/b1"], "b1"),
        (["runs/exp_2024"], "exp_2024"),
        (["runs/plain", "runs/other"], "plain, other"),
    ],
)
def test_an_arm_is_called_what_its_runs_are(folders, title):
    scores = tuple(dataclasses.replace(score(), folder=Path(folder)) for folder in folders)
    assert Arm("candidate", scores).title == title


def test_the_headline_says_what_was_compared_and_how_sure_it_is():
    arms = {"baseline": runs(), "candidate": runs(0.0, luck=1), "shuffle": runs(luck=2)}
    for name, title in (("baseline", "phase2"), ("candidate", "tim")):
        arms[name] = [
            dataclasses.replace(s, folder=Path(f"{title}/seed_{place}")) for place, s in enumerate(arms[name])
        ]
    found = compare_arms(arms)
    ends = [
        points(value)
        for value in (found.differences["candidate"].miou.low, found.differences["candidate"].miou.high)
    ]
    difference = points(found.differences["candidate"].miou.difference)
    assert (
        found.verdict.headline
        == f"Inconclusive: mIoU {difference} [{ends[0]}, {ends[1]}], tim against phase2"
    )
    arms["candidate"] = [
        dataclasses.replace(s, folder=Path(f"elsewhere/phase2/seed_{n}"))
        for n, s in enumerate(arms["candidate"])
    ]
    assert compare_arms(arms).verdict.headline.endswith("candidate against baseline")


def test_nothing_is_inconclusive():
    found = compared(0.0, {"shuffle": 0.0})
    assert found.verdict.outcome == "inconclusive"
    assert found.verdict.inconclusive
    assert "covers zero" in found.verdict.words[0]
    assert not found.verdict.claimed


def test_a_loss():
    assert compared(-0.1, {"shuffle": 0.0}).verdict.outcome == "negative"


def lacks(found):
    assert not found.verdict.claimed
    assert "improvement" not in found.verdict.outcome
    return " · ".join(found.verdict.lacking)


def test_every_control_must_be_beaten():
    found = compared(0.1, {"random": 0.12, "shuffle": 0.0, "close": 0.0995})
    assert found.verdict.not_beaten == ("random", "close")
    assert "being better than control random: −" in lacks(found)
    assert "shuffle" not in lacks(found)
    assert found.verdict.outcome == "a difference, but no claim"
    assert found.against["shuffle"].miou.difference > 0.05
    assert "a control, so nothing rules out" in lacks(compared(0.1))


@pytest.mark.parametrize("gain", [-0.2, 0.0, 0.2])
def test_one_run_is_not_evidence(gain):
    arms = {"baseline": [score()], "candidate": [score(gain)], "shuffle": [score(-0.2)]}
    verdict = compare_arms(arms).verdict
    assert verdict.outcome == "one run is not evidence"
    assert "3 seeds an arm; there is 1" in verdict.lacking
    assert "says nothing about other seeds" in verdict.words[0]


def test_what_else_a_claim_lacks():
    def lacking(gain=0.1, **given):
        arms = {"baseline": runs(), "candidate": runs(gain, luck=1, **given), "shuffle": runs(0.0, luck=2)}
        return lacks(compare_arms(arms))

    assert lacking(0.005).startswith("a difference of at least +1.00 pp; it is +0")
    assert lacking(limited_to=4) == "whole splits; those of a run were cut down to some of their chips"
    assert lacking(smoke=True) == "full trainings; a run was a smoke run"
    assert lacking(scene_overlap=("queens", "bronx")).endswith(
        "where a run has them in two splits: bronx, queens"
    )
    other = dataclasses.replace(SPLIT, masks="x" * 64)
    assert lacking(train=other) == "the same train masks in every arm; their digests differ"
    unknown = dataclasses.replace(SPLIT, inputs="")
    assert "the digest of the train inputs, which the record of a run does not hold" in lacking(train=unknown)
    assert lacking(seeds=(1, 2, 4)).startswith(
        "runs paired by seed (baseline has the seeds 1, 2, 3, candidate has"
    )
    assert "3 seeds an arm; there are 2" in lacking(seeds=(1, 2))


def test_runs_are_paired_whatever_their_order():
    arms = {"baseline": runs(), "candidate": runs(0.1, luck=1)}
    turned = {"baseline": arms["baseline"], "candidate": arms["candidate"][::-1]}
    assert compare_arms(arms).differences == compare_arms(turned).differences
    shared = compare_arms({"baseline": runs(), "candidate": runs(0.1)}).differences["candidate"].miou
    apart = compare_arms({"baseline": runs(), "candidate": runs(0.1, seeds=(4, 5, 6))})
    assert apart.setting.pairing == "baseline has the seeds 1, 2, 3, candidate has 4, 5, 6"
    assert [part.name for part in shared.parts] == ["scenes", "seeds"]
    unknown = [*runs()[:2], score(counts=make_counts(seed=3), seed=None)]
    assert (
        "seed of a run of candidate is not known"
        in compare_arms({"baseline": runs(), "candidate": unknown}).setting.pairing
    )


def test_a_class_differs_by_p_value_and_interval():
    """p 0.04 with an interval over zero does not do, nor an interval clear of zero with p 0.06."""
    clear = ClassEstimate(0.1, 0.05, 0.15, 0.02, 9.0, 0.07, 0.01, p_holm=0.04)
    over, unsure = dataclasses.replace(clear, low=-0.01), dataclasses.replace(clear, p_holm=0.06)
    assert [entry.differs for entry in (clear, over, unsure)] == [True, False, False]


def test_few_scenes_say_what_they_could_find():
    words = " ".join(compared(0.1, scenes=4).verdict.words)
    assert "smallest difference found with 80 % power" in words
    assert "with 8 scenes" in words
    assert "with 6 seeds" in words


def test_arms_that_predict_alike_say_nothing_of_power():
    same = make_counts()
    found = compare_arms({"baseline": [score(counts=same)], "candidate": [score(counts=same)]})
    assert "the same in every scene" in found.verdict.words[2]


def test_a_single_scene():
    found = compared(0.1, scenes=1)
    assert found.verdict.inconclusive
    assert "single scene, so there is no interval" in found.verdict.words[0]


def test_scenes_without_a_reference_are_dropped_and_said():
    whole = make_counts()
    values = whole.values.copy()
    values[[scene in ("s00", "s03") for scene in whole.scene_ids]] = 0
    holes = dataclasses.replace(whole, values=values)
    found = compare_arms({"baseline": [score(counts=holes)], "candidate": [score(counts=holes)]})
    assert found.setting.scenes == 10
    assert found.setting.dropped == ("s00", "s03")
    assert "no pixel has a reference: scenes s00, s03." in " ".join(found.verdict.words)


def test_chips_are_paired_whatever_their_order():
    counts = make_counts(0.1, seed=6)
    turned = counts.ordered(sorted(counts.chip_ids, reverse=True))
    found = [compare_arms({"baseline": [score()], "candidate": [score(counts=c)]}) for c in (counts, turned)]
    assert found[0].differences == found[1].differences


def test_classes_not_in_the_reference_are_left_out():
    counts = make_counts(0.0)
    values = counts.values.copy()
    values[:, 4] = 0
    made = dataclasses.replace(counts, values=values)
    found = compare_arms({"baseline": [score(counts=made)], "candidate": [score(counts=made)]})
    difference = found.differences["candidate"]
    assert set(difference.by_class[IOU.key]) == {"water", "developed", "forest", "herbaceous"}
    p = sorted(entry.p_value for entry in difference.by_class[IOU.key].values())
    smallest = min(entry.p_holm for entry in difference.by_class[IOU.key].values())
    assert smallest == pytest.approx(min(4 * p[0], 1))  # Holm over the four classes that are there


def test_runs_that_make_no_arms():
    def refused(baseline, candidate, message, **controls):
        with pytest.raises(ComparisonError, match=message):
            compare_arms({"baseline": baseline, "candidate": candidate, **controls})

    run, other = score(), score(0.1)
    refused([run, run], [other], "the same weights; name each run once, in one arm")
    refused([run], [run], "the same weights")
    refused([run], [other], "the same weights", control=[other])
    refused(
        [run, score(), score()],
        runs(),
        "baseline: .* both have seed 1; a repeated run is not a second sample",
    )
    mixed = lambda key, one, two: [score(**{key: one}), score(seed=2, **{key: two})]  # noqa: E731
    refused([run], mixed("encoding", ("onehot",), ()), r"candidate: .* has encoding \('onehot',\)")
    refused([run], mixed("control", None, "shuffle"), "has control none, run_.* has shuffle")
    refused([run], mixed("fingerprint", "a", "b"), "fingerprint a, run_.* has b")
    refused([run], mixed("new_columns", "zero", "random"), "new_columns zero, run_.* has random")
    longer = mixed("recipe", {"trainer.max_epochs": "3"}, {"trainer.max_epochs": "6"})
    refused(
        [run],
        longer,
        r"candidate: trainer.max_epochs is 3 in run_\d+, 6 in run_\d+; the runs of an arm may differ",
    )


def test_counts_that_are_none():
    for values in (-make_counts().values, make_counts().values / 2):
        with pytest.raises(ScoreError, match="not whole numbers from 0"):
            dataclasses.replace(make_counts(), values=values)


def part(counts, kept):
    return Counts(counts.chip_ids[kept], counts.scene_ids[kept], counts.class_names, counts.values[kept])


def test_bad_input():
    whole = make_counts()

    def against(**given):
        return compare_arms({"baseline": [score()], "candidate": [score(**given)]})

    with pytest.raises(ComparisonError, match="lacks 2 test chips"):
        against(counts=part(whole, slice(2, None)))
    other = dataclasses.replace(whole, chip_ids=tuple(f"x{name}" for name in whole.chip_ids))
    with pytest.raises(ComparisonError, match="different test splits: 24 chips only in the first"):
        against(counts=other)
    with pytest.raises(ComparisonError, match=r"a, b.*one class list"):
        against(counts=make_counts(names=("a", "b")))
    with pytest.raises(ComparisonError, match="different reference masks"):
        against(test=dataclasses.replace(SPLIT, masks="x" * 64))
    with pytest.raises(ComparisonError, match="different reference pixels in chip s00_0_0"):
        against(counts=dataclasses.replace(whole, values=whole.values * 2))
    moved = dataclasses.replace(whole, scene_ids=("other", *whole.scene_ids[1:]))
    with pytest.raises(ComparisonError, match="put chip s00_0_0 in the scenes"):
        against(counts=moved)
    empty = dataclasses.replace(whole, values=np.zeros_like(whole.values))
    with pytest.raises(ComparisonError, match="no reference pixel of any class"):
        compare_arms({"baseline": [score(counts=empty)], "candidate": [score(counts=empty)]})


BASE = 64 * "b"


def test_arms_that_began_with_other_weights_claim_nothing():
    arms = {"baseline": runs(start=f"{BASE} {64 * chr(49)}"), "candidate": runs(0.1, luck=1, start=BASE)}
    arms["shuffle"] = runs(luck=2, start=f"{BASE} {64 * chr(49)}")
    assert (
        "the same start for every arm: baseline started from bbbbbbbbbbbb + 111111111111, candidate from bbbbbbbbbbbb ("
        in lacks(compare_arms(arms))
    )
    arms["candidate"] = runs(0.1, luck=1, start=f"{BASE} {64 * chr(49)}")
    assert compare_arms(arms).verdict.claimed


def test_arms_that_were_trained_in_another_way_claim_nothing():
    """Twice the epochs, no class weights or another rule for the checkpoint may be all that a gain is."""
    usual = {"trainer.max_epochs": "20", "model.class_weights": "[1, 2]", "optimizer.lr": "0.001"}
    arms = {"baseline": runs(recipe=usual), "candidate": runs(0.1, luck=1, recipe=usual)}
    arms["shuffle"] = runs(luck=2, recipe=usual)
    assert compare_arms(arms).verdict.claimed
    longer = {"trainer.max_epochs": "40", "optimizer.lr": "0.001"}
    found = compare_arms({**arms, "candidate": runs(0.1, luck=1, recipe=longer)})
    assert not found.verdict.claimed
    assert (
        "the same training of every arm: model.class_weights is [1, 2] in baseline, default in candidate; "
        "trainer.max_epochs is 20 in baseline, 40 in candidate"
    ) in lacks(found)
    found = compare_arms({**arms, "shuffle": runs(luck=2, recipe=longer)})
    assert "trainer.max_epochs is 20 in baseline, 40 in shuffle" in lacks(found)


def test_arms_scored_by_another_rule_for_the_checkpoint_claim_nothing():
    """By the name that was asked for: where the last epoch is the best, both files have the same digest."""
    arms = {"baseline": runs(), "candidate": runs(0.1, luck=1), "shuffle": runs(luck=2)}
    assert compare_arms(arms).verdict.claimed
    last = [
        dataclasses.replace(
            one, origin=dataclasses.replace(one.origin, checkpoint="runs/x/checkpoints/last.ckpt")
        )
        for one in arms["candidate"]
    ]
    assert "checkpoint is best in baseline, last in candidate" in lacks(
        compare_arms({**arms, "candidate": last})
    )


def test_runs_of_other_versions_or_devices_claim_nothing():
    """Another version may have other defaults, and scores of another device other roundings."""

    def elsewhere(one):
        run = dataclasses.replace(one.origin.run, versions={"torch": "2.0", "numpy": "1.0"})
        return dataclasses.replace(one, origin=dataclasses.replace(one.origin, run=run, device="cuda"))

    arms = {"baseline": runs(), "candidate": runs(0.1, luck=1), "shuffle": runs(luck=2)}
    arms["candidate"][2] = elsewhere(arms["candidate"][2])
    found = lacks(compare_arms(arms))
    assert "one environment for all runs; the device of the score is cpu or cuda" in found
    assert "torch of the training is 2.0 or test" in found
    assert "numpy" not in found
