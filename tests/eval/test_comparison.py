import dataclasses

import numpy as np
import pytest

from eval.compare.arms import Difference, compare_arms
from eval.compare.inference import Estimate
from eval.compare.verdict import Grade, grade_of
from eval.errors import (
    ClassMismatchError,
    ComparisonError,
    MissingChipsError,
    NoReferenceError,
    SplitMismatchError,
)
from eval.score.counts import Counts
from eval.score.record import Origin, Score
from tests.eval.scores import make_counts, make_origin


def score(gain=0.0, **given):
    origin = {key: given.pop(key) for key in set(given) & set(Origin.__dataclass_fields__) - {"seed"}}
    return Score("run", given.pop("counts", None) or make_counts(gain, **given), make_origin(**origin))


def compared(gain, controls=None, **counts):
    arms = {"baseline": [score(seed=5, **counts)], "candidate": [score(gain, seed=6, **counts)]}
    arms |= {name: [score(value, seed=7, **counts)] for name, value in (controls or {}).items()}
    return compare_arms(arms, seed=0)


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
    found = compared(0.1)
    assert found.verdict.headline == "strong"
    assert found.differences["candidate"].miou.low > 0.05
    assert "does not cover zero" in found.verdict.words[1]
    assert "No control was given" in found.verdict.words[-2]
    assert "With one run of an arm" in found.verdict.words[-1]


def test_nothing_is_inconclusive():
    found = compared(0.0)
    assert found.verdict.inconclusive
    assert "covers zero" in found.verdict.words[1]


def test_a_loss():
    """There is no gain that the control could explain, though it does better."""
    assert compared(-0.1, {"shuffle": 0.0}).verdict.headline == "negative"


def test_controls():
    found = compared(0.1, {"random": 0.1 + 0.02, "shuffle": 0.0, "close": 0.0995})
    assert found.verdict.explained_by == ("random",)
    assert "shuffle" not in (*found.verdict.explained_by, *found.verdict.not_told_apart)
    assert found.verdict.not_told_apart == ("close",)
    assert any("Explained by control random" in words for words in found.verdict.words)
    assert found.against["shuffle"].miou.difference > 0.05


def test_a_class_differs_by_p_value_and_interval():
    """p 0.04 with an interval over zero does not do, nor an interval clear of zero with p 0.06."""
    clear = Estimate(0.1, 0.05, 0.15, "", 0.02, 0.07, 0.01)
    over = dataclasses.replace(clear, low=-0.01)
    classes = {"a": clear, "b": over, "c": clear}
    found = Difference(clear, classes, {"a": 0.04, "b": 0.04, "c": 0.06})
    assert [found.differs(name) for name in classes] == [True, False, False]


def test_few_scenes_say_what_they_cannot():
    words = " ".join(compared(0.1, scenes=4).verdict.words)
    assert "4 scenes cannot go below p = 0.125" in words
    assert "smallest difference found with 80 % power" in words


def test_arms_that_predict_alike_say_nothing_of_power():
    found = compare_arms({"baseline": [score()], "candidate": [score()]}, 0)
    assert found.verdict.headline == "acceptable, inconclusive"
    assert "the same in every scene" in found.verdict.words[2]


def test_a_single_scene():
    found = compared(0.1, scenes=1)
    assert found.verdict.inconclusive
    assert "single scene, so there is no interval" in found.verdict.words[1]


def test_chips_are_paired_whatever_their_order():
    counts = make_counts(0.1, seed=6)
    shuffled = counts.ordered(sorted(counts.chip_ids, reverse=True))
    arms = {"baseline": [score(seed=5)], "candidate": [score(counts=shuffled)]}
    assert compare_arms(arms, 0).differences == compared(0.1).differences


def test_classes_not_in_the_reference_are_left_out():
    counts = make_counts(0.0)
    values = counts.values.copy()
    values[:, 4] = 0
    made = dataclasses.replace(counts, values=values)
    found = compare_arms({"baseline": [score(counts=made)], "candidate": [score(counts=made)]}, 0)
    assert "other" not in found.differences["candidate"].classes
    assert set(found.differences["candidate"].adjusted) == {"water", "developed", "forest", "herbaceous"}


def test_runs_that_make_no_arms():
    def refused(baseline, candidate, message):
        with pytest.raises(ComparisonError, match=message):
            compare_arms({"baseline": baseline, "candidate": candidate}, 0)

    run = score()
    refused([run, run], [score()], "the same weights; name each run once")
    refused([run], [run], "the same weights")
    refused([score()], [score(encoding=("onehot",)), score()], r"candidate: .* has encoding \('onehot',\)")
    refused([score()], [score(), score(control="shuffle")], "has control none, run has shuffle")
    refused([score()], [score(fingerprint="a"), score(fingerprint="b")], "fingerprint a, run has b")


def test_a_control_limits_what_can_be_said():
    several = {name: [score(seed=n), score(seed=n + 1)] for n, name in ((1, "baseline"), (3, "candidate"))}
    limits = lambda control: " ".join(compare_arms({**several, "x": [control]}, 0).verdict.words)  # noqa: E731
    assert "With one run of an arm" in limits(score())
    assert "With one run of an arm" not in limits(score(kind="zero-shot"))
    assert "a smoke run" in limits(score(smoke=True))
    assert "the test is too kind: bronx, queens." in limits(score(scene_overlap=("queens", "bronx")))
    assert "cut down to some of their chips" in limits(score(limited_to=4))
    assert not {"kind", "cut"} & set(limits(score()).split())


def part(counts, kept):
    return Counts(counts.chip_ids[kept], counts.scene_ids[kept], counts.class_names, counts.values[kept])


def test_bad_input():
    whole = make_counts()
    baseline = [score()]

    def against(**given):
        return compare_arms({"baseline": baseline, "candidate": [score(**given)]}, 0)

    with pytest.raises(MissingChipsError, match="lacks 2 test chips"):
        against(counts=part(whole, slice(2, None)))
    other = dataclasses.replace(whole, chip_ids=tuple(f"x{name}" for name in whole.chip_ids))
    with pytest.raises(SplitMismatchError, match="different test splits: 24 chips are only in the first"):
        against(counts=other)
    with pytest.raises(ClassMismatchError, match=r"a, b.*one class list"):
        against(counts=make_counts(names=("a", "b")))
    with pytest.raises(SplitMismatchError, match="different reference masks"):
        against(masks_sha256="x" * 64)
    moved = dataclasses.replace(whole, scene_ids=("other", *whole.scene_ids[1:]))
    with pytest.raises(SplitMismatchError, match="put chip s00_0_0 in the scenes"):
        against(counts=moved)
    empty = dataclasses.replace(whole, values=np.zeros_like(whole.values))
    with pytest.raises(NoReferenceError, match="no reference pixel of any class"):
        compare_arms({"baseline": [score(counts=empty)], "candidate": [score(counts=empty)]}, 0)
