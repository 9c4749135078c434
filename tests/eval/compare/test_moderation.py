"""What a gain goes with: slopes by hand, silence on noise, and a rule only where it holds."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from augment_store.errors import StoreError
from augment_store.store.writer import AugmentStore
from eval.cli.main import main
from eval.compare.comparison import compare_arms
from eval.compare.covariates import MEASURES, read_covariates
from eval.compare.inference import ClassEstimate
from eval.compare.moderation import (
    CHIP,
    Gains,
    Rule,
    _best_threshold,
    find_rule,
    find_slopes,
    slope_of,
)
from eval.compare.report import helps
from eval.score.record import Score
from tests.benchmarks.when_it_helps import draw_report
from tests.eval.scores import make_counts, make_origin, predict_world
from tests.worlds import lulc_of_labels, make_spec, make_world, store_of


def test_the_slope_of_a_gain_that_follows_exactly():
    """A gain of 2 points per unit, of a covariate whose SD is one half: 1 point per SD, in every scene and seed."""
    x = np.tile([0.0, 1.0], 6)
    found = slope_of(Gains(np.stack([0.02 * x + 0.01, 0.02 * x - 0.03]), np.repeat(np.arange(6), 2)), x[None])
    assert found.difference == pytest.approx(0.01)
    assert found.standard_error == pytest.approx(0.0, abs=1e-9)


def test_the_interval_leaves_out_one_scene_at_a_time():
    rng = np.random.default_rng(0)
    scenes, x, y = np.repeat(np.arange(6), 3), rng.normal(0, 2, 18), rng.normal(0, 0.02, (3, 18))
    found = slope_of(Gains(y, scenes), x[None])
    x = x / x.std()
    each = [np.polyfit(x, seed, 1)[0] for seed in y]
    without = [np.polyfit(x[scenes != scene], y.mean(axis=0)[scenes != scene], 1)[0] for scene in range(6)]
    # jackknife: (n − 1) / n times the sum of squares; of seeds: the variance of a mean of three
    variances = [np.var(without) * 5, np.var(each, ddof=1) / 3]
    assert found.difference == pytest.approx(np.mean(each))
    assert [part.variance for part in found.parts] == pytest.approx(variances)
    # a slope and a mean are estimated of six scenes: 4 degrees of freedom
    assert [part.units - 1 for part in found.parts] == [4, 2]
    folded = slope_of(Gains(y, scenes, folds=6), x[None])
    assert folded.parts[0].variance == pytest.approx(variances[0] * (1 + 6 / 5))


def test_a_covariate_that_hardly_varies_under_one_seed_makes_no_wild_slope():
    """The slope within seeds: sums over seeds of products and of squares, so that such a seed hardly counts."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(0, 1, (3, 48)), rng.normal(0, 0.2, (3, 48))
    x[0] *= 1e-6
    found = slope_of(Gains(y, np.repeat(np.arange(8), 6)), x)
    x /= x.mean(axis=0).std()
    centered = x - x.mean(axis=1, keepdims=True)
    assert found.difference == pytest.approx((centered * y).sum() / (centered**2).sum())
    assert abs(found.difference) < 0.1


def test_slopes_are_adjusted_together_and_one_without_spread_is_left_out():
    rng = np.random.default_rng(1)
    gains = {CHIP: Gains(rng.normal(0, 0.02, (3, 24)), np.repeat(np.arange(8), 3))}
    named = {"a": rng.normal(0, 1, (1, 24)), "b": rng.normal(0, 1, (1, 24)), "flat": np.full((1, 24), 0.1)}
    found = find_slopes(gains, {CHIP: named})
    assert list(found) == [(CHIP, "a"), (CHIP, "b")]
    low, high = sorted(found.values(), key=lambda entry: entry.p_value)
    assert low.p_holm == pytest.approx(min(1, 2 * low.p_value))
    assert high.p_holm == pytest.approx(max(low.p_holm, high.p_value))


@pytest.mark.parametrize(
    ("covariate", "gain", "threshold"),
    [
        ([3.0, 2.0, 1.0], [0.02, 0.01, -0.01], 2.0),
        # chips of one value are used together: 0.02 − 0.03 + 0.02 is more than nothing only with the last
        ([2.0, 2.0, 1.0], [0.02, -0.03, 0.02], 1.0),
        ([2.0, 1.0], [-0.01, -0.02], np.inf),
    ],
)
def test_the_threshold_that_gains_most(covariate, gain, threshold):
    assert _best_threshold(np.array(covariate), np.array(gain)) == threshold


def test_a_rule_holds_in_scenes_left_out():
    """Chips with a covariate of 1 gain 4 points and those of 0 lose 2, in each of eight scenes."""
    x, scenes = np.tile([0.0, 1.0], 8), np.repeat(np.arange(8), 2)
    gains = Gains(np.tile(0.06 * x - 0.02, (3, 1)), scenes)
    rule = find_rule(gains, {"x": x}, {(CHIP, "x"): sure(0.03)})
    assert (rule.above, rule.threshold, rule.share) == (True, 1.0, 0.5)
    # always gains 1 point a chip, the rule 2: it spares the loss of 2 points in every second chip
    assert rule.advantage.difference == pytest.approx(0.01)
    # turned round: use it where the covariate is at most −1
    turned = find_rule(gains, {"x": -x}, {(CHIP, "x"): sure(-0.03)})
    assert (turned.above, turned.threshold, turned.share) == (False, -1.0, 0.5)
    # a slope that does not pass makes no rule, nor does one where using it always is as good
    assert find_rule(gains, {"x": x}, {(CHIP, "x"): dataclasses.replace(sure(0.03), p_holm=0.2)}) is None
    assert find_rule(Gains(gains.values + 0.03, scenes), {"x": x}, {(CHIP, "x"): sure(0.03)}) is None


def sure(slope) -> ClassEstimate:
    return ClassEstimate(slope, slope - 0.01, slope + 0.01, 0.003, 5.0, 0.02, 0.001, p_holm=0.01)


@pytest.mark.slow
def test_silent_on_noise_and_not_where_there_is_an_effect():
    """Of 80 reports on noise 5 %, which are 4, may name a slope by chance; 10 are three standard errors above."""
    rng = np.random.default_rng(2)
    noise = [draw_report(rng, 0.0) for _ in range(80)]
    assert sum(any(entry.differs for entry in slopes.values()) for slopes, _ in noise) <= 10
    assert sum(rule is not None for _, rule in noise) <= 1
    effect = [draw_report(rng, 0.06) for _ in range(12)]
    named = [{name for (_, name), entry in slopes.items() if entry.differs} for slopes, _ in effect]
    assert sum("c0" in names for names in named) >= 9
    assert sum(rule is not None and rule.covariate == "c0" for _, rule in effect) >= 3


def test_the_baselines_luck_is_not_held_against_itself():
    """Two arms drawn alike: the gain falls with the baseline's own mIoU, but not with that of its other seeds."""
    rng = np.random.default_rng(3)
    own, others = [], []
    for _ in range(40):
        baseline, candidate = rng.normal(0.6, 0.05, (2, 3, 24))
        gains = Gains(candidate - baseline, np.repeat(np.arange(8), 3))
        own.append(slope_of(gains, baseline).difference)
        others.append(slope_of(gains, (baseline.sum(axis=0) - baseline) / 2).difference)
    assert stats.ttest_1samp(own, 0).pvalue < 1e-6
    assert stats.ttest_1samp(others, 0).pvalue > 0.01


def scores(gain, luck):
    return [
        Score(SimpleNamespace(), make_counts(gain, scenes=6, seed=seed + luck), make_origin(seed=seed))
        for seed in (1, 2, 3)
    ]


def test_what_is_known_of_the_baseline(tmp_path):
    arms = {
        name: [dataclasses.replace(score, folder=tmp_path / f"{name}{score.origin.seed}") for score in made]
        for name, made in (("baseline", scores(0.0, 0)), ("candidate", scores(0.05, 10)))
    }
    comparison = compare_arms(arms)
    found = {entry.name: entry for entry in read_covariates(comparison)}
    assert not found["mIoU of the baseline"].before_labels
    shares = [entry.values for name, entry in found.items() if name.startswith("share of ")]
    assert len(shares) == 5
    assert np.sum(shares, axis=0) == pytest.approx(np.ones((3, 12)))
    # of the first seed, by the second and third: the share of predictions that are water
    counts = [score.counts.values[0] for score in comparison.baseline.scores[1:]]
    water = np.mean([chip[:, 0].sum() / 1000 for chip in counts])
    assert found["share of water by the baseline"].values[0, 0] == pytest.approx(water)


SPLITS = {"train": ("t_0_0",), "val": ("v_0_0",), "test": tuple(f"s{n // 2}_0_{n % 2}" for n in range(12))}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Twelve chips of six scenes, three seeds an arm, and the store that the candidate names."""
    folder = tmp_path_factory.mktemp("helps")
    world = make_world(folder / "world", splits=SPLITS, size=16, timesteps=1)
    store_of(world.chips, folder / "store", make_spec(), given=lulc_of_labels(world))
    store = AugmentStore.open(folder / "store")
    joined = {"store": str(folder / "store"), "fingerprint": store.fingerprint}
    words = ["compare", "--pictures", "0", "--out", str(folder / "out")]
    for name, right, given in (("baseline", 0.5, {}), ("candidate", 0.7, joined)):
        runs = [predict_world(world, folder / f"{name}_{s}", right, s, **given) for s in (1, 2, 3)]
        words += [f"--{name}", *map(str, runs)]
    return folder, words, store


@pytest.mark.slow
def test_a_report_says_when_it_helps(compared, capsys):
    folder, words, store = compared
    assert main(words) == 0
    helps = json.loads((folder / "out/report.json").read_text())["helps"]
    rows = {(row["level"], row["covariate"]): row for row in helps["slopes"]}
    probability = [store.read(chip_id, "token_probability").mean() for chip_id in SPLITS["test"]]
    token = rows["chip", "token probability of the map"]
    assert token["spread"] == pytest.approx(np.std(probability))
    assert token["before_labels"]
    assert ("scene", "mIoU of the baseline") in rows
    # one sample has none to agree with
    assert f"damaged or none: {MEASURES[1]}" in helps["words"][-1]
    text = (folder / "out/report.md").read_text()
    assert "When does it help?" in text
    assert "| token probability of the map | chip |" in text


def test_a_rule_that_holds_is_in_the_report(compared, monkeypatch):
    folder, words, _ = compared
    rule = Rule(MEASURES[0], False, 0.25, 0.5, slope_of(Gains(np.ones((3, 6)), np.arange(6)), np.eye(1, 6)))
    monkeypatch.setattr(helps, "find_rule", lambda *_: rule)
    assert main(words) == 0
    found = json.loads((folder / "out/report.json").read_text())["helps"]
    assert (found["rule"]["covariate"], found["rule"]["threshold"]) == (MEASURES[0], 0.25)
    assert any(
        f"Use the map where the {MEASURES[0]} is at most 0.25 (50% of" in line for line in found["words"]
    )


def test_a_damaged_store_costs_its_covariates_alone(compared, monkeypatch):
    folder, words, _ = compared
    monkeypatch.setattr(AugmentStore, "read", lambda *_: (_ for _ in ()).throw(StoreError("damaged")))
    assert main(words) == 0
    found = json.loads((folder / "out/report.json").read_text())["helps"]
    assert f"damaged or none: {', '.join(MEASURES)}." in found["words"][-1]


def test_another_store_in_its_place_is_not_read(compared):
    folder, words, store = compared
    aside = folder / "aside"
    store.path.rename(aside)
    assert main(words) == 0
    aside.rename(store.path)
    helps = json.loads((folder / "out/report.json").read_text())["helps"]
    assert not any("of the map" in row["covariate"] for row in helps["slopes"])
    assert f"damaged or none: {', '.join(MEASURES)}." in helps["words"][-1]
    # too few seeds: nothing at all
    few = [word for word in words if not word.endswith(("_2", "_3"))]
    assert main(few) == 0
    helps = json.loads((folder / "out/report.json").read_text())["helps"]
    assert helps == {
        "slopes": [],
        "rule": None,
        "words": ["Nothing is told with fewer than 3 paired seeds and 6 scenes."],
    }
