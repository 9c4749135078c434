"""How many scenes and seeds a claim would need."""

import numpy as np
import pytest
from scipy import stats

from eval.compare.inference import VarianceComponent, standard_error
from eval.compare.planner import Design, Spread, _reach, claim_power, claim_powers, next_experiment, spread_of

PARTS = (VarianceComponent("scenes", 12, 0.01**2 / 12), VarianceComponent("seeds", 3, 0.006**2 / 3))


def test_the_reach_is_that_of_an_estimate():
    variances = np.array([[part.variance for part in PARTS]])
    error, freedom = standard_error(PARTS)
    assert _reach(variances, np.array([12, 3]))[0] == pytest.approx(stats.t.ppf(0.975, freedom) * error)


def test_power_with_scenes_alone_is_that_of_a_t_test():
    """2 pp with an SD of 3 pp over 20 scenes, no control: t with 19 degrees of freedom, ncp = 2 / (3 / √20)."""
    ncp = 0.02 / (0.03 / np.sqrt(20))
    expected = stats.nct.sf(stats.t.ppf(0.975, 19), 19, ncp)
    assert claim_power(0.02, Design(20, 3, 0), Spread(0.03, 0.0)) == pytest.approx(expected, abs=0.02)


def test_a_gain_at_the_threshold_is_claimed_half_the_time_however_large_the_design():
    assert claim_power(0.01, Design(2000, 30, 0), Spread(0.01, 0.001)) == pytest.approx(0.5, abs=0.03)


def test_controls_cost_power_and_too_few_seeds_have_none():
    spread = Spread(0.03, 0.006)
    powers = [claim_power(0.02, Design(20, 6, controls), spread) for controls in (0, 1, 5)]
    assert powers[0] > powers[1] > powers[2]
    assert claim_power(0.5, Design(20, 2, 1), spread) == 0.0
    assert claim_power(0.5, Design(1, 6, 1), spread) == 0.0


def test_more_scenes_or_seeds_never_harm():
    powers = claim_powers(0.02, (6, 12, 24, 96, 384), (3, 4, 6, 12), 1, Spread(0.01, 0.02))
    assert (np.diff(powers, axis=0) >= 0).all()
    assert (np.diff(powers, axis=1) >= 0).all()


def test_the_spread_is_what_the_report_found():
    assert spread_of(PARTS) == Spread(pytest.approx(0.01), pytest.approx(0.006))
    # chi-squared of 11 degrees: 5.578 at 10 %, so the SD may be as large as 0.01 · √(11 / 5.578)
    assert spread_of(PARTS, 0.9).scenes == pytest.approx(0.01 * np.sqrt(11 / 5.5778), rel=1e-3)
    assert spread_of(PARTS[:1]) is None


def test_the_next_experiment_says_what_to_buy():
    lines = list(next_experiment(PARTS, 0.02, 1, 0.5))
    assert "To claim a true gain of 2.00 pp with 80% power against 1 control" in lines[0]
    first = lines[1]
    scenes, seeds = int(first.split()[1]), int(first.split("× ")[1].split()[0])
    assert claim_power(0.02, Design(scenes, seeds, 1), spread_of(PARTS)) >= 0.8
    assert f"{3 * seeds} runs, about {3 * seeds * 0.5:.1f} h of training" in first
    assert lines[-1].startswith("- of 12 scenes and 3 seeds, ")


def test_what_no_design_can_claim_is_said():
    (_, said) = next_experiment((PARTS[0], VarianceComponent("seeds", 3, 0.5**2 / 3)), 0.01, 1, None)
    assert "no design of up to 96 scenes and 30 seeds does" in said
    (unknown,) = next_experiment(PARTS[:1], 0.01, 1, None)
    assert "three paired seeds of each arm" in unknown
