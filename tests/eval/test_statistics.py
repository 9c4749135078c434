import numpy as np
import pytest
from scipy import stats

from eval.compare.inference import (
    BCA,
    NO_INTERVAL,
    PERCENTILE,
    STUDENT,
    PairedArms,
    compare,
    holm,
    measures,
    sign_flip,
    standard_errors,
)
from eval.compare.verdict import Grade, grade_of


def scene(first, second):
    """A scene of 100 + 100 pixels in two classes, with so many right; the rest is taken for the other class."""
    return [[first, 100 - first, 0], [100 - second, second, 0]]


def arms(baseline, candidate):
    make = lambda hits: np.array([[scene(*pair) for pair in hits]])  # noqa: E731
    return PairedArms(make(baseline), make(candidate))


def iou(*pairs):
    """mIoU and IoU of both classes of scenes pooled, by hand."""
    n, a, b = len(pairs), sum(p[0] for p in pairs), sum(p[1] for p in pairs)
    first, second = a / (100 * n + 100 * n - b), b / (100 * n + 100 * n - a)
    return np.array([(first + second) / 2, first, second])


def test_measures_by_hand():
    counts = np.array([[scene(80, 60), scene(50, 90)]])
    assert measures(counts, np.ones(2))[0] == pytest.approx(iou((80, 60), (50, 90)))
    weighted = measures(counts, np.array([[2.0, 0.0], [0.0, 1.0]]))[:, 0]
    assert weighted == pytest.approx(np.stack([iou((80, 60)), iou((50, 90))]))


def test_a_class_that_no_drawn_scene_has_makes_no_difference():
    without = [[0, 0, 0], [20, 80, 0]]
    pair = PairedArms(
        np.array([[scene(80, 60), without]]), np.array([[scene(90, 60), [[0, 0, 0], [0, 100, 0]]]])
    )
    assert pair.differences(np.array([0.0, 1.0])) == pytest.approx([0.2, 0.0, 0.2])


def test_a_single_scene_has_no_interval():
    miou, *_ = compare(arms([(80, 60)], [(90, 60)]), seed=0)
    assert miou.difference == pytest.approx((iou((90, 60)) - iou((80, 60)))[0])
    assert (miou.low, miou.high, miou.method) == (None, None, NO_INTERVAL)
    assert miou.p_value == 1.0
    assert miou.covers_zero


def test_jackknife_and_students_t_by_hand():
    base, cand = [(80, 60), (70, 50), (60, 80)], [(85, 66), (70, 55), (70, 80)]
    pair = arms(base, cand)
    left_out = [iou(*cand[:i], *cand[i + 1 :]) - iou(*base[:i], *base[i + 1 :]) for i in range(3)]
    error = np.sqrt(2 / 3 * ((left_out - np.mean(left_out, axis=0)) ** 2).sum(axis=0))
    assert standard_errors(pair)[0] == pytest.approx(error)
    miou = compare(pair, seed=0)[0]
    difference = (iou(*cand) - iou(*base))[0]
    assert miou.method == STUDENT
    assert (miou.low + miou.high) / 2 == pytest.approx(difference)
    assert miou.high - difference == pytest.approx(stats.t.ppf(0.975, 2) * error[0])
    assert miou.resolvable == pytest.approx((stats.t.ppf(0.975, 2) + stats.t.ppf(0.8, 2)) * error[0])


def test_exact_sign_flips_by_hand():
    """Better in all of four scenes: only the way seen and its mirror image are as extreme, 2 of 16."""
    better = arms([(60, 60)] * 4, [(61, 61), (70, 62), (66, 66), (64, 80)])
    assert sign_flip(better, seed=0)[0] == pytest.approx(2 / 16)
    assert sign_flip(arms([(60, 60)] * 5, [(60, 60)] * 5), seed=0).tolist() == [1.0, 1.0, 1.0]


def test_many_scenes_flip_at_random():
    rng = np.random.default_rng(0)
    hits = rng.integers(30, 70, (20, 2))
    pair = arms(hits, hits + 10)
    assert sign_flip(pair, seed=1)[0] == pytest.approx(1e-4)  # the way seen alone: 1 of 10,000
    assert np.array_equal(sign_flip(pair, seed=1), sign_flip(pair, seed=1))


def test_bootstrap():
    rng = np.random.default_rng(0)
    hits = rng.integers(30, 70, (20, 2))
    gained = hits + rng.integers(-2, 12, (20, 2))
    miou, *classes = compare(arms(hits, gained), seed=3)
    assert miou.method == BCA
    assert 0 < miou.low < miou.difference < miou.high
    assert not miou.covers_zero
    half = (miou.high - miou.low) / 2
    assert half == pytest.approx(2.093 * miou.standard_error * np.sqrt(20 / 19), rel=0.15)
    assert compare(arms(hits, gained), seed=3)[0] == miou
    assert len(classes) == 2


def test_equal_arms_differ_by_nothing():
    hits = np.random.default_rng(0).integers(30, 70, (20, 2))
    miou = compare(arms(hits, hits), seed=0)[0]
    assert (miou.difference, miou.low, miou.high, miou.method) == (0.0, 0.0, 0.0, PERCENTILE)
    assert miou.covers_zero


@pytest.mark.parametrize("scenes", [5, 20])
def test_seeds_that_differ_widen_the_interval(scenes):
    rng = np.random.default_rng(0)
    hits = rng.integers(40, 60, (scenes, 2))
    one = arms(hits, hits + 5)
    lucky = [np.array([[scene(*pair) for pair in hits + shift]]) for shift in (-3, 5, 13)]
    several = PairedArms(one.baseline, np.concatenate(lucky))
    alone, together = compare(one, 0)[0], compare(several, 0)[0]
    assert together.standard_error > 3 * alone.standard_error
    assert together.high - together.low > 3 * (alone.high - alone.low)
    by_seed = measures(several.candidate, np.ones(scenes))[:, 0]
    expected = np.sqrt(by_seed.var(ddof=1) / 3)
    assert together.standard_error == pytest.approx(expected, rel=0.2)


def test_luck_of_the_seed_is_no_effect_of_the_arm():
    """Two runs of each arm, all scenes alike in what they gain: every scene favours the luckier arm.

    The runs' mIoU are 50 % and 60 %, and 58 % and 68 %; the standard error is √(0.05² + 0.05²) = 7.07 points, so
    t = 8 / 7.07 = 1.131 of two degrees of freedom, whose p is 1 − t / √(t² + 2) = 0.375.
    """
    make = lambda *hits: np.array([[scene(hit, hit)] * 20 for hit in hits])  # noqa: E731
    share = lambda hit: hit / (200 - hit)  # noqa: E731  # IoU of both classes
    baseline, candidate = ([100 * 2 * x / (1 + x) for x in pair] for pair in ((0.5, 0.6), (0.58, 0.68)))
    assert share(baseline[0]) == pytest.approx(0.5)
    pair = PairedArms(make(*baseline), make(*candidate))
    miou = compare(pair, seed=0)[0]
    assert miou.p_value == pytest.approx(1 - 1.1314 / np.sqrt(1.1314**2 + 2), abs=1e-3)
    assert sign_flip(pair, seed=0)[0] == pytest.approx(1e-4)
    reach = 4.3027 * np.sqrt(0.05**2 + 0.05**2)  # t of two degrees of freedom
    assert (miou.low, miou.high) == pytest.approx((0.08 - reach, 0.08 + reach), abs=1e-4)
    alone = PairedArms(pair.baseline[:1], pair.candidate[:1])
    assert compare(alone, seed=0)[0].p_value == sign_flip(alone, seed=0)[0]


@pytest.mark.parametrize(
    ("baseline", "candidate", "expected"),
    [(0.60, 0.62, 0.02), (0.60, 0.61, 0.01), (0.57, 0.58, 0.01), (0.1 + 0.2, 0.3, 0.0)],
)
def test_differences_at_an_edge_are_the_edge(monkeypatch, baseline, candidate, expected):
    """In floating point 0.62 − 0.60 is above 0.02, 0.58 − 0.57 is below or above 0.01, and 0.3 − (0.1 + 0.2) is < 0."""
    monkeypatch.setattr(PairedArms, "differences", lambda *_: np.full(3, candidate - baseline))
    monkeypatch.setattr("eval.compare.inference.sign_flip", lambda *_: np.ones(3))
    assert candidate - baseline != expected
    miou = compare(arms([(80, 60)], [(90, 60)]), seed=0)[0]
    assert miou.difference == expected
    assert np.copysign(1, miou.difference) == 1
    assert grade_of(miou.difference) == Grade.ACCEPTABLE


def test_holm_by_hand():
    """Smallest times 3, next times 2, largest times 1, never falling: 0.03, 0.04 → 0.06, 0.05 → 0.06."""
    assert holm(np.array([0.03, 0.01, 0.05])) == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
