import dataclasses
from pathlib import Path

import numpy as np
import pytest

from eval.compare.arms import Arm
from eval.compare.comparison import compare_arms
from eval.compare.controls import RULES_OUT
from eval.compare.inference import ClassEstimate, Estimate
from eval.compare.verdict import (
    NOT_DECLARED,
    ComparisonContext,
    Grade,
    StudyContext,
    decide,
    grade_of,
    points,
)
from eval.errors import EvaluationError
from eval.score.counts import Counts
from eval.score.metrics import IOU
from eval.score.record import Score
from tests.eval.scores import DIGESTS, SPLIT, make_counts, make_manifest, make_origin
from tests.worlds import make_spec


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


MAPS = {"encoding": ("onehot",), "fingerprint": "f" * 64}
"""What the candidate and its controls join."""

SHUFFLED = {**MAPS, "control": "shuffle"}


def declared(arms):
    """As if a study had declared just this before anything was trained."""
    return StudyContext("a" * 64, 1, ("2025-01-01T00:00:00+00:00",), ())


def compared(gain, controls=None, **given):
    """Baseline, candidate and controls by their gain, three seeds each."""
    arms = {"baseline": runs(**given), "candidate": runs(gain, luck=1, **MAPS, **given)}
    arms |= {name: runs(value, luck=2, **SHUFFLED, **given) for name, value in (controls or {}).items()}
    return compare_arms(arms, declared)


@pytest.mark.parametrize(
    ("difference", "grade"),
    [(0.0301, "strong"), (0.03, "acceptable"), (0.0, "acceptable"), (-0.0001, "negative")],
)
def test_grades(difference, grade):
    """Strong is what the lower end of the interval, here a point lower, says: 2.01 but not 2.00 points."""
    low, high = round(difference - 0.01, 6), round(difference + 0.01, 6)
    assert grade_of(Estimate(difference, low, high, 0.005, 9.0, 0.02, 0.01)) == grade


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
    arms = {"baseline": runs(), "candidate": runs(0.004, luck=1), "shuffle": runs(luck=2)}
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
        found.verdict.headline.partition(": ")[2]
        == f"mIoU {difference} [{ends[0]}, {ends[1]}], tim against phase2"
    )
    arms["candidate"] = [
        dataclasses.replace(s, folder=Path(f"elsewhere/phase2/seed_{n}"))
        for n, s in enumerate(arms["candidate"])
    ]
    assert compare_arms(arms).verdict.headline.endswith("candidate against baseline")


def test_nothing_is_inconclusive():
    found = compared(0.0, {"shuffle": 0.0})
    assert found.verdict.outcome in ("inconclusive", "no harm, and no claim of a gain")
    assert found.verdict.inconclusive
    assert "covers zero" in found.verdict.words[0]
    assert not found.verdict.claimed


def test_a_loss():
    found = compared(-0.1)  # controls explain gains; a loss needs none
    assert found.verdict.outcome == "harm"
    assert found.verdict.harmful
    assert not found.verdict.claimed


def test_a_loss_of_two_smoke_runs_is_no_claim_of_harm():
    for given in ({"smoke": True}, {"seeds": (1, 2)}):
        found = compared(-0.1, **given)
        assert found.verdict.outcome == "a loss, but no claim"
        assert not found.verdict.harmful
    undeclared = compare_arms({"baseline": runs(), "candidate": runs(-0.1, luck=1)})
    assert undeclared.verdict.outcome == "a loss, but no claim"


def test_no_harm_is_an_interval_above_minus_one_point():
    found = compared(0.0)
    low = found.differences["candidate"].miou.low
    assert found.verdict.harmless == (low > -0.01)
    assert ("A loss of more than 1.00 pp is excluded." in found.verdict.words) == (low > -0.01)
    close = Estimate(0.0, -0.009, 0.009, 0.004, 9.0, 0.01, 0.9)
    wide = dataclasses.replace(close, low=-0.0101)
    setting = ComparisonContext(12, (3, 3), study=declared(()))
    assert decide(close, {}, setting).outcome == "no harm, and no claim of a gain"
    assert decide(wide, {}, setting).outcome == "inconclusive"
    assert not decide(close, {}, dataclasses.replace(setting, smoke=True)).harmless


def test_no_harm_among_several_declared_comparisons_takes_a_wider_interval():
    setting = ComparisonContext(12, (3, 3), study=dataclasses.replace(declared(()), comparisons=2))
    # t of 9 degrees of freedom at 1 - 0.05 / 2 / 2 is 2.685: lower ends of -0.0107 and -0.0081
    loose, close = (Estimate(0.0, -0.009, 0.009, error, 9.0, 0.01, 0.9) for error in (0.004, 0.003))
    assert loose.low_among(2) == pytest.approx(-0.01074, abs=1e-5)
    assert decide(loose, {}, setting).outcome == "inconclusive"
    assert decide(close, {}, setting).outcome == "no harm, and no claim of a gain"


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
        arms = {"baseline": runs(), "candidate": runs(gain, luck=1, **MAPS, **given)}
        shuffled = {key: value for key, value in given.items() if key == "seeds"}
        return lacks(compare_arms({**arms, "shuffle": runs(0.0, luck=2, **SHUFFLED, **shuffled)}, declared))

    assert lacking(0.005).startswith("a difference of at least +1.00 pp; it is +0")
    assert lacking(limited_to=4) == "whole splits; those of a run were cut down to some of their chips"
    assert lacking(smoke=True) == "full trainings; a run was a smoke run"
    assert lacking(scene_overlap=("queens", "bronx")).endswith(
        "where a run has them in two splits: bronx, queens"
    )
    assert lacking(shared_chips=(("a", "c"),)).endswith("where chips of two splits show the same: a and c")
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
        with pytest.raises(EvaluationError, match=message):
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
        with pytest.raises(EvaluationError, match="not whole numbers from 0"):
            dataclasses.replace(make_counts(), values=values)


def part(counts, kept):
    return Counts(counts.chip_ids[kept], counts.scene_ids[kept], counts.class_names, counts.values[kept])


def test_bad_input():
    whole = make_counts()

    def against(**given):
        return compare_arms({"baseline": [score()], "candidate": [score(**given)]})

    with pytest.raises(EvaluationError, match="lacks 2 test chips"):
        against(counts=part(whole, slice(2, None)))
    other = dataclasses.replace(whole, chip_ids=tuple(f"x{name}" for name in whole.chip_ids))
    with pytest.raises(EvaluationError, match="different test splits: 24 chips only in the first"):
        against(counts=other)
    with pytest.raises(EvaluationError, match=r"a, b.*one class list"):
        against(counts=make_counts(names=("a", "b")))
    with pytest.raises(EvaluationError, match="different reference masks"):
        against(test=dataclasses.replace(SPLIT, masks="x" * 64))
    with pytest.raises(EvaluationError, match="different reference pixels in chip s00_0_0"):
        against(counts=dataclasses.replace(whole, values=whole.values * 2))
    moved = dataclasses.replace(whole, scene_ids=("other", *whole.scene_ids[1:]))
    with pytest.raises(EvaluationError, match="put chip s00_0_0 in the scenes"):
        against(counts=moved)
    empty = dataclasses.replace(whole, values=np.zeros_like(whole.values))
    with pytest.raises(EvaluationError, match="no reference pixel of any class"):
        compare_arms({"baseline": [score(counts=empty)], "candidate": [score(counts=empty)]})


BASE = 64 * "b"


def test_arms_that_began_with_other_weights_claim_nothing():
    arms = {
        "baseline": runs(start=f"{BASE} {64 * chr(49)}"),
        "candidate": runs(0.1, luck=1, **MAPS, start=BASE),
    }
    arms["shuffle"] = runs(luck=2, **SHUFFLED, start=f"{BASE} {64 * chr(49)}")
    assert (
        "the same start for every arm: baseline started from bbbbbbbbbbbb + 111111111111, candidate from bbbbbbbbbbbb ("
        in lacks(compare_arms(arms, declared))
    )
    arms["candidate"] = runs(0.1, luck=1, **MAPS, start=f"{BASE} {64 * chr(49)}")
    assert compare_arms(arms, declared).verdict.claimed


def test_arms_that_were_trained_in_another_way_claim_nothing():
    """Twice the epochs, no class weights or another rule for the checkpoint may be all that a gain is."""
    usual = {"trainer.max_epochs": "20", "model.class_weights": "[1, 2]", "optimizer.lr": "0.001"}
    arms = {"baseline": runs(recipe=usual), "candidate": runs(0.1, luck=1, **MAPS, recipe=usual)}
    arms["shuffle"] = runs(luck=2, **SHUFFLED, recipe=usual)
    assert compare_arms(arms, declared).verdict.claimed
    longer = {"trainer.max_epochs": "40", "optimizer.lr": "0.001"}
    found = compare_arms({**arms, "candidate": runs(0.1, luck=1, **MAPS, recipe=longer)})
    assert not found.verdict.claimed
    assert (
        "the same training of every arm: model.class_weights is [1, 2] in baseline, default in candidate; "
        "trainer.max_epochs is 20 in baseline, 40 in candidate"
    ) in lacks(found)
    found = compare_arms({**arms, "shuffle": runs(luck=2, **SHUFFLED, recipe=longer)})
    assert "trainer.max_epochs is 20 in baseline, 40 in shuffle" in lacks(found)


def test_arms_scored_by_another_rule_for_the_checkpoint_claim_nothing():
    """By the name that was asked for: where the last epoch is the best, both files have the same digest."""
    arms = {"baseline": runs(), "candidate": runs(0.1, luck=1, **MAPS), "shuffle": runs(luck=2, **SHUFFLED)}
    assert compare_arms(arms, declared).verdict.claimed
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

    arms = {"baseline": runs(), "candidate": runs(0.1, luck=1, **MAPS), "shuffle": runs(luck=2, **SHUFFLED)}
    arms["candidate"][2] = elsewhere(arms["candidate"][2])
    found = lacks(compare_arms(arms))
    assert "one environment for all runs; the device of the score is cpu or cuda" in found
    assert "torch of the training is 2.0 or test" in found
    assert "numpy" not in found


# What a control is ------------------------------------------------------------------------------------


def spec(weights="checkpoint", seed=0, top_k=0, **changes):
    """Of a store; another network where the weights are random."""
    made = make_spec(weights=weights, **changes)
    digest = ("r" if weights == "random" else "c") * 64
    sampling = dataclasses.replace(made.sampling, seed=seed, top_k=top_k)
    return dataclasses.replace(made, network_sha256=digest, sampling=sampling)


def with_spec(scores, *specs):
    """Scores whose maps were generated by these, one for each or one for all."""
    return [
        dataclasses.replace(one, origin=dataclasses.replace(one.origin, spec=specs[place % len(specs)]))
        for place, one in enumerate(scores)
    ]


def ruled(name, control, **candidate):
    """The verdict with one control, which is far worse than the candidate."""
    arms = {"baseline": runs(), "candidate": runs(0.1, luck=1, **{**MAPS, **candidate}), name: control}
    return compare_arms(arms, declared).verdict


@pytest.mark.parametrize(
    ("control", "why_not"),
    [
        ({}, "its record is that of no control"),  # the baseline, trained again
        (MAPS, "its record is that of no control"),  # the candidate, trained again
        ({**MAPS, "fingerprint": "e" * 64}, "its record is that of no control"),  # another store
        ({**SHUFFLED, "encoding": ("index",)}, "its encoding is ('index',), the candidate's ('onehot',)"),
        ({**SHUFFLED, "fingerprint": "e" * 64}, "it was made from another store than the candidate"),
        ({**SHUFFLED, "seeds": (1,)}, "it has the seeds 1, the candidate 1, 2, 3"),
        ({**SHUFFLED, "seeds": (4, 5, 6)}, "it has the seeds 4, 5, 6, the candidate 1, 2, 3"),
        (
            {**SHUFFLED, "recipe": {"trainer.max_epochs": "1"}},
            "trainer.max_epochs is 1 in it, 3 in the candidate",
        ),
    ],
)
def test_what_is_no_control_by_its_record_rules_out_nothing(control, why_not):
    verdict = ruled("it", runs(luck=2, **control))
    assert not verdict.claimed
    assert (
        f"a control by its record, so nothing rules out other explanations of a difference (it: {why_not})"
        in (verdict.lacking)
    )
    assert f"No control: it, since {why_not}." in verdict.words


def test_a_zero_shot_map_alone_is_no_control():
    verdict = ruled("zero", [score(counts=make_counts(-0.2), kind="zero-shot")])
    assert not verdict.claimed
    assert "a zero-shot map is shown, but is no control by itself" in " ".join(verdict.lacking)


@pytest.mark.parametrize("kind", ["shuffle", "constant", "analytic-ndvi"])
def test_a_control_says_what_it_rules_out_and_what_is_still_open(kind):
    verdict = ruled("it", runs(luck=2, **MAPS, control=kind))
    assert verdict.claimed
    assert f"Ruled out {RULES_OUT[kind]} (control it)." in verdict.words
    (still,) = (words for words in verdict.words if words.startswith("Still open: "))
    assert {other for other in RULES_OUT if RULES_OUT[other] in still} == set(RULES_OUT) - {kind}


def test_a_generator_of_random_weights_is_a_control_if_nothing_else_of_its_store_differs():
    candidate = {"baseline": runs(), "candidate": with_spec(runs(0.1, luck=1, **MAPS), spec())}
    control = runs(luck=2, **{**MAPS, "fingerprint": "e" * 64})

    def verdict(of):
        return compare_arms({**candidate, "random": with_spec(control, of)}, declared).verdict

    assert verdict(spec("random")).claimed
    assert "(control random)" in " ".join(verdict(spec("random")).words)
    assert not verdict(spec("checkpoint")).claimed
    other = dataclasses.replace(
        spec("random"), sampling=dataclasses.replace(spec().sampling, temperature=0.5)
    )
    assert "differs from the candidate's in more than the weights: sampling.temperature: 0.5" in " ".join(
        verdict(other).lacking
    )


# Draws of the generator -------------------------------------------------------------------------------


def test_one_draw_of_the_generator_is_said_and_a_store_per_seed_is_allowed():
    one = {"baseline": runs(), "candidate": with_spec(runs(0.1, luck=1, **MAPS), spec(seed=7))}
    assert "All of this is for one draw of the generator (seed 7)" in " ".join(
        compare_arms(one).verdict.words
    )
    several = runs(0.1, luck=1, **MAPS)
    for place, run in enumerate(several):
        joined = dataclasses.replace(run.origin.augment, fingerprint=str(place) * 64)
        several[place] = dataclasses.replace(run, origin=dataclasses.replace(run.origin, augment=joined))
    drawn = with_spec(several, *(spec(seed=seed) for seed in (1, 2, 3)))
    found = compare_arms({"baseline": runs(), "candidate": drawn})
    assert "have 3 draws of the generator" in " ".join(found.verdict.words)
    with pytest.raises(EvaluationError, match="the runs of an arm may differ only by seed"):
        compare_arms({"baseline": runs(), "candidate": with_spec(several, spec(), spec(top_k=5))})
    fixed = {"baseline": runs(), "candidate": with_spec(runs(0.1, luck=1, **MAPS), spec(top_k=1))}
    assert "draw" not in " ".join(compare_arms(fixed).verdict.words)


# Scenes -----------------------------------------------------------------------------------------------


def test_as_many_scenes_as_chips_is_said_and_claims_nothing():
    """An id that no rule matches makes every chip a scene of its own, and the interval too narrow."""
    counts = {seed: make_counts(0.1, seed=seed + 10, per_scene=1) for seed in (1, 2, 3)}
    arms = {
        "baseline": [score(seed=s, counts=make_counts(seed=s, per_scene=1)) for s in counts],
        "candidate": [score(seed=s, counts=c, **MAPS) for s, c in counts.items()],
        "shuffle": [score(seed=s, counts=make_counts(seed=s + 20, per_scene=1), **SHUFFLED) for s in counts],
    }
    verdict = compare_arms(arms, declared).verdict
    assert verdict.lacking == ("scenes of several chips; there are 12 chips of 12 scenes (--scenes)",)
    assert any(
        words.startswith("12 chips of 12 scenes: each chip counts as its own") for words in verdict.words
    )


# What was declared ------------------------------------------------------------------------------------


def test_nothing_is_claimed_that_was_not_declared():
    arms = {"baseline": runs(), "candidate": runs(0.1, luck=1, **MAPS), "shuffle": runs(luck=2, **SHUFFLED)}
    assert compare_arms(arms).verdict.lacking == (NOT_DECLARED,)


def test_p_must_hold_for_all_declared_comparisons_together():
    close = Estimate(0.015, 0.002, 0.028, 0.006, 9.0, 0.02, 0.018)
    setting = ComparisonContext(12, (3, 3), study=StudyContext("a" * 64, 20, ("2025",), ()))
    verdict = decide(close, {"shuffle": close}, setting)
    assert verdict.lacking == ("p below 0.05 for all 20 declared comparisons together; it is 0.360",)
    two = dataclasses.replace(setting, study=dataclasses.replace(setting.study, comparisons=2))
    assert decide(close, {"shuffle": close}, two).claimed


def test_a_test_split_that_changed_after_the_training_claims_nothing():
    """The worst scenes left out of the split: the chips trained on are the same, those tested are not."""
    arms = {"baseline": runs(), "candidate": runs(0.1, luck=1, **MAPS), "shuffle": runs(luck=2, **SHUFFLED)}
    for name, scores in arms.items():
        arms[name] = [dataclasses.replace(one, origin=_tested_before(one.origin)) for one in scores]
    (lacking,) = compare_arms(arms, declared).verdict.lacking
    assert lacking.startswith(
        "the test split that there was at the training; runs/x was trained with 9 test chips"
    )


def _tested_before(origin):
    splits = {**origin.run.data.splits, "test": dataclasses.replace(SPLIT, chips=9, ids="j" * 64)}
    data = dataclasses.replace(origin.run.data, splits=splits)
    return dataclasses.replace(origin, run=dataclasses.replace(origin.run, data=data))


def test_runs_beside_the_named_ones_are_listed(tmp_path):
    """Three of six seeds are named; the others lie beside them."""
    left = tmp_path / "tim/seed_4"
    make_manifest(seed=4).write(left)
    other = dataclasses.replace(make_manifest(seed=5), augment=make_origin(encoding=("onehot",)).augment)
    other.write(tmp_path / "tim/another_arm")
    named = [
        dataclasses.replace(one, folder=tmp_path / f"tim/seed_{place}")
        for place, one in enumerate(runs(0.1, luck=1))
    ]
    (lacking,) = (
        words
        for words in compare_arms({"baseline": runs(), "candidate": named}, declared).verdict.lacking
        if "left out" in words
    )
    assert lacking == f"all runs of candidate; left out: {left}"
