import json
import shutil

import numpy as np
import pytest
import torch
from torchmetrics.classification import BinaryCalibrationError

from eval.cli.main import main
from eval.errors import EvaluationError
from eval.score.calibration import Reliability, describe_reliability
from eval.score.temperature import describe_temperature, fit_temperature
from finetune.data.splits import digest_of_ids
from finetune.run.temperature import Temperature
from tests.eval.score.test_zero_shot import legend, score  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow


def test_reliability_by_hand():
    """Stated 0.15 (wrong), 0.25 (right), and 0.95 thrice, of which two are right."""
    stated = np.array([0.15, 0.25, 0.95, 0.95, 0.95])
    found = Reliability.of(stated, np.array([False, True, True, True, False]))
    assert [part.pixels for part in found.bins] == [0, 1, 1, 0, 0, 0, 0, 0, 0, 3]
    assert found.right == pytest.approx(0.6)
    assert found.stated == pytest.approx(3.25 / 5)
    assert found.error == pytest.approx((0.15 + 0.75 + 3 * abs(2 / 3 - 0.95)) / 5)


def test_parts_add_up_and_equal_torchmetrics():
    rng = np.random.default_rng(0)
    stated, right = rng.uniform(0.001, 0.999, 5000), rng.random(5000) < 0.4
    parts = Reliability.of(stated[:1000], right[:1000]) + Reliability.of(stated[1000:], right[1000:])
    metric = BinaryCalibrationError(n_bins=10, norm="l1")
    expected = float(metric(torch.from_numpy(stated), torch.from_numpy(right.astype(int))))
    assert parts.error == pytest.approx(expected, abs=1e-6)
    assert parts.error == pytest.approx(Reliability.of(stated, right).error)


def test_zero_shot_says_what_the_probabilities_are_worth(world, store, legend, tmp_path, capsys):  # noqa: F811
    """The maps of the fixture are right everywhere, whatever they state."""
    assert score(store, world, tmp_path / "out", "--legend", legend) == 0
    told = capsys.readouterr().out
    plain = json.loads((tmp_path / "out/score/calibration.json").read_text())
    counted = sum(int((world.labels(chip) >= 0).sum()) for chip in world.chips.splits["test"])
    for name in ("confidence", "token_probability"):
        assert plain[name]["right"] == pytest.approx(1.0)
        assert plain[name]["pixels"] == counted * 4  # timesteps
        assert plain[name]["expected_calibration_error"] == pytest.approx(1 - plain[name]["mean_stated"])
        assert f"{name}: states" in told
    told = next(iter(describe_reliability({"x": Reliability.of(np.array([0.5]), np.array([True]))})))
    assert told.startswith("x: states 50.0 %")


def test_the_temperature_by_hand():
    """Logits 2 apart, three of four right: σ(2 / T) = 3 / 4, so T = 2 / ln 3."""
    logits = np.tile([2.0, 0.0], (4, 1))
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(2 / np.log(3), rel=1e-5)


def test_a_run_is_calibrated_on_its_validation_split(tim, world, tmp_path, capsys):
    assert main(["score", str(tim), "--calibrate"]) == 0
    told = capsys.readouterr().out
    found = Temperature.read(tim)
    labeled = sum(int((world.labels(chip) >= 0).sum()) for chip in world.chips.splits["val"])
    assert found.pixels == labeled  # chips are small, so that all are taken
    assert f"  temperature {found.value:.4g}, by {labeled:,} validation pixels" in told
    plain = json.loads((tim / "score/calibration.json").read_text())
    # the likeliest class stays what it was, and only what is stated of it changes
    assert plain["as trained"]["right"] == pytest.approx(plain["calibrated"]["right"])
    assert (plain["as trained"]["mean_stated"] > plain["calibrated"]["mean_stated"]) == (found.value > 1)
    before, after = (100 * plain[name]["expected_calibration_error"] for name in ("as trained", "calibrated"))
    tested = world.chips.splits["test"]
    weights, ids = found.checkpoint_sha256, digest_of_ids(tested)
    sentence = describe_temperature(tim, weights, ids)
    assert sentence.startswith(f"Divided by {found.value:.4g}, a temperature fitted on the validation split")
    assert sentence.endswith(f"is {after:.1f} pp instead of {before:.1f} pp.")
    assert describe_temperature(tim, "another", ids) == ""
    with pytest.raises(EvaluationError, match="of other test chips than the report's"):
        describe_temperature(tim, weights, digest_of_ids(tested[1:]))
    edited = (tim / "score/calibration.json").read_text().replace(f"{after / 100}", "0.001", 1)
    with_edit = shutil.copytree(tim, tmp_path / "edited")
    (with_edit / "score/calibration.json").write_text(edited)
    with pytest.raises(EvaluationError, match=r"not the file that temperature\.json was written with"):
        describe_temperature(with_edit, weights, ids)
    assert main(["score", str(tim), "--calibrate", "--config", "a.yaml", "--checkpoint", "b.ckpt"]) == 2
    assert "--calibrate: a temperature is kept with a run" in capsys.readouterr().err


def test_no_temperature_is_fitted_on_a_chip_of_the_training(tim, world, tmp_path, capsys):
    root = shutil.copytree(world.chips.root, tmp_path / "chips")
    train, val = (root / "split" / f"impactmesh_flood_{name}.txt" for name in ("train", "val"))
    trained_on = train.read_text()
    train.write_text(val.read_text())
    val.write_text(trained_on)
    assert main(["score", str(tim), "--calibrate", "--chips", str(root)]) == 2
    assert "the validation split is not that of its training" in capsys.readouterr().err
