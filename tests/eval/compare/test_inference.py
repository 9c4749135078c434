import numpy as np
import pytest
from scipy import stats

from eval.compare import inference
from eval.compare.inference import (
    VarianceComponent,
    holm,
    measures,
    resolvable_difference,
    standard_error,
    variances,
)
from eval.compare.verdict import Grade, grade_of
from eval.score.metrics import IOU, MIOU

MEASURED = (MIOU, IOU)


def paired(baseline, candidate, by_seed=False):
    return inference.PairedArms(baseline, candidate, by_seed, MEASURED)


def compare(pair):
    """Estimates of mIoU and of each class' IoU, one after the other."""
    found = inference.compare(pair)
    return [*found[MIOU.key], *found[IOU.key]]


def scene(first, second):
    """A scene of 100 + 100 pixels in two classes, with so many right; the rest is taken for the other class."""
    return [[first, 100 - first, 0], [100 - second, second, 0]]


def arms(baseline, candidate):
    make = lambda hits: np.array([[scene(*pair) for pair in hits]])  # noqa: E731
    return paired(make(baseline), make(candidate))


def iou(*pairs):
    """mIoU and IoU of both classes of scenes pooled, by hand."""
    n, a, b = len(pairs), sum(p[0] for p in pairs), sum(p[1] for p in pairs)
    first, second = a / (100 * n + 100 * n - b), b / (100 * n + 100 * n - a)
    return np.array([(first + second) / 2, first, second])


def test_measures_by_hand():
    counts = np.array([[scene(80, 60), scene(50, 90)]])
    assert measures(MEASURED, counts.sum(axis=1))[0] == pytest.approx(iou((80, 60), (50, 90)))
    assert measures(MEASURED, counts[0]) == pytest.approx(np.stack([iou((80, 60)), iou((50, 90))]))


def test_a_class_that_no_drawn_scene_has_makes_no_difference():
    without = [[0, 0, 0], [20, 80, 0]]
    pair = paired(np.array([[scene(80, 60), without]]), np.array([[scene(90, 60), [[0, 0, 0], [0, 100, 0]]]]))
    assert pair.differences_without_each()[0] == pytest.approx([0.2, 0.0, 0.2])


def test_a_single_scene_has_no_interval():
    miou, *_ = compare(arms([(80, 60)], [(90, 60)]))
    assert miou.difference == pytest.approx((iou((90, 60)) - iou((80, 60)))[0])
    assert (miou.low, miou.high, miou.standard_error, miou.parts) == (None, None, None, ())
    assert miou.p_value == 1.0
    assert miou.covers_zero
    assert not miou.is_above_zero


def test_jackknife_and_students_t_by_hand():
    base, cand = [(80, 60), (70, 50), (60, 80)], [(85, 66), (70, 55), (70, 80)]
    left_out = [iou(*cand[:i], *cand[i + 1 :]) - iou(*base[:i], *base[i + 1 :]) for i in range(3)]
    error = np.sqrt(2 / 3 * ((left_out - np.mean(left_out, axis=0)) ** 2).sum(axis=0))
    for entry, expected, difference in zip(
        compare(arms(base, cand)), error, iou(*cand) - iou(*base), strict=True
    ):
        assert entry.standard_error == pytest.approx(expected)
        assert entry.degrees_of_freedom == pytest.approx(2)
        assert entry.difference == pytest.approx(difference)
        assert entry.high - difference == pytest.approx(stats.t.ppf(0.975, 2) * expected)
        assert difference - entry.low == pytest.approx(stats.t.ppf(0.975, 2) * expected)
        assert entry.p_value == pytest.approx(2 * stats.t.sf(difference / expected, 2))
        reach = stats.t.ppf(0.975, 2) + stats.t.ppf(0.8, 2)
        assert entry.resolvable == pytest.approx(reach * expected)


def test_interval_and_p_value_agree():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        hits = rng.integers(30, 70, (6, 2))
        found += compare(arms(hits, hits + rng.integers(-6, 10, (6, 2))))
    assert {entry.covers_zero for entry in found} == {True, False}
    assert all(entry.covers_zero == (entry.p_value >= 0.05) for entry in found)


def test_equal_arms_differ_by_nothing():
    hits = np.random.default_rng(0).integers(30, 70, (20, 2))
    miou = compare(arms(hits, hits))[0]
    assert (miou.difference, miou.low, miou.high, miou.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert miou.covers_zero


def lucky(*shares):
    """Runs of an arm whose mIoU are these shares in each of 20 scenes: IoU is hits / (200 − hits) of both classes."""
    hits = [200 * share / (1 + share) for share in shares]
    return np.array([[scene(hit, hit)] * 20 for hit in hits])


def test_unpaired_luck_by_hand():
    """MIoU of 50 and 60 % against 58 and 68 %, all scenes alike: the variance is 0.05² + 0.05²."""
    miou = compare(paired(lucky(0.5, 0.6), lucky(0.58, 0.68)))[0]
    assert [part.name for part in miou.parts] == ["scenes", "baseline seeds", "candidate seeds"]
    assert [part.variance for part in miou.parts] == pytest.approx([0, 0.05**2, 0.05**2], abs=1e-9)
    assert miou.degrees_of_freedom == pytest.approx(2**0.4)  # 1 / (2 · ½^1.4)
    reach = stats.t.ppf(0.975, 2**0.4) * np.sqrt(0.05**2 + 0.05**2)
    assert (miou.low, miou.high) == pytest.approx((0.08 - reach, 0.08 + reach), abs=1e-6)
    t = 0.08 / np.sqrt(0.05**2 + 0.05**2)
    assert miou.p_value == pytest.approx(2 * stats.t.sf(t, 2**0.4), abs=1e-6)


def test_luck_that_arms_share_cancels_where_paired_by_seed():
    """The same runs: differences of 0.07, 0.08 and 0.09 by seed, so the standard error is 0.01 / √3."""
    pair = paired(lucky(0.5, 0.6, 0.4), lucky(0.57, 0.68, 0.49), by_seed=True)
    miou = compare(pair)[0]
    assert [(part.name, part.units) for part in miou.parts] == [("scenes", 20), ("seeds", 3)]
    assert miou.standard_error == pytest.approx(0.01 / np.sqrt(3), abs=1e-6)
    assert miou.high - 0.08 == pytest.approx(4.302653 * 0.01 / np.sqrt(3), abs=1e-6)
    assert miou.is_above_zero
    assert compare(paired(pair.baseline, pair.candidate))[0].covers_zero


def test_scenes_and_seeds_add_up():
    rng = np.random.default_rng(0)
    hits = rng.integers(40, 60, (5, 2))
    runs = [np.array([[scene(*pair) for pair in hits + rng.integers(-3, 9, (5, 2))]]) for _ in range(6)]
    pair = paired(np.concatenate(runs[:3]), np.concatenate(runs[3:]), by_seed=True)
    scenes, seeds = variances(pair)
    kept = [[n for n in range(5) if n != gone] for gone in range(5)]
    mean, other = (
        np.array([measures(MEASURED, arm[:, rest].sum(axis=1)).mean(axis=0) for rest in kept])
        for arm in (pair.candidate, pair.baseline)
    )
    left_out = mean - other
    assert scenes[2] == pytest.approx(4 / 5 * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    ours, theirs = (measures(MEASURED, arm.sum(axis=1)) for arm in (pair.candidate, pair.baseline))
    by_seed = ours - theirs
    assert seeds[2] == pytest.approx(((by_seed - by_seed.mean(axis=0)) ** 2).sum(axis=0) / 2 / 3)
    assert compare(pair)[0].standard_error == pytest.approx(np.sqrt(scenes[2] + seeds[2])[0])


def test_degrees_of_freedom_by_hand():
    """Variances 3.6 and 0.4 of 4 and 2 degrees, shares 0.9 and 0.1: 1 / (0.9^1.4 / 4 + 0.1^1.4 / 2)."""
    error, freedom = standard_error([VarianceComponent("scenes", 5, 3.6), VarianceComponent("seeds", 3, 0.4)])
    assert (error, freedom) == (2.0, pytest.approx(1 / (0.862858 / 4 + 0.0398107 / 2), rel=1e-5))


def test_degrees_of_freedom_of_one_source_are_its_own():
    assert standard_error([VarianceComponent("scenes", 5, 4.0), VarianceComponent("seeds", 3, 0.0)]) == (
        2.0,
        4.0,
    )
    assert standard_error([VarianceComponent("scenes", 5, 0.0), VarianceComponent("seeds", 3, 0.0)]) == (
        0.0,
        4.0,
    )


def test_what_more_scenes_or_seeds_would_buy():
    rng = np.random.default_rng(0)
    hits = rng.integers(40, 60, (6, 2))
    runs = [np.array([[scene(*pair) for pair in hits + rng.integers(-3, 9, (6, 2))]]) for _ in range(6)]
    miou = compare(paired(np.concatenate(runs[:3]), np.concatenate(runs[3:]), by_seed=True))[0]
    scenes, seeds = miou.parts
    assert miou.resolvable_with() == pytest.approx(miou.resolvable)
    halved = [VarianceComponent("scenes", 12, scenes.variance / 2), seeds]
    assert miou.resolvable_with(scenes=12) == pytest.approx(resolvable_difference(halved))
    assert miou.resolvable_with(seeds=6) == pytest.approx(
        resolvable_difference([scenes, VarianceComponent("seeds", 6, seeds.variance / 2)])
    )
    assert compare(arms([(80, 60)], [(90, 60)]))[0].resolvable_with(scenes=4) is None


@pytest.mark.parametrize(
    ("baseline", "candidate", "expected"),
    [(0.60, 0.62, 0.02), (0.60, 0.61, 0.01), (0.57, 0.58, 0.01), (0.1 + 0.2, 0.3, 0.0)],
)
def test_differences_at_an_edge_are_the_edge(monkeypatch, baseline, candidate, expected):
    """In floating point 0.62 − 0.60 is above 0.02, 0.58 − 0.57 is below or above 0.01, and 0.3 − (0.1 + 0.2) is < 0."""
    monkeypatch.setattr(inference.PairedArms, "differences", lambda *_: np.full(3, candidate - baseline))
    assert candidate - baseline != expected
    miou = compare(arms([(80, 60)], [(90, 60)]))[0]
    assert miou.difference == expected
    assert np.copysign(1, miou.difference) == 1
    assert grade_of(miou) == Grade.ACCEPTABLE


def test_holm_by_hand():
    """Smallest times 3, next times 2, largest times 1, never falling: 0.03, 0.04 → 0.06, 0.05 → 0.06."""
    assert holm(np.array([0.03, 0.01, 0.05])) == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
