"""Scores and comparisons from Python: what the commands do, as objects that show themselves."""

import numpy as np
import pytest

from eval import Score, compare_runs, score_runs
from eval.errors import EvaluationError
from tests.eval.scores import make_score
from tests.worlds import write_tif


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    root = tmp_path_factory.mktemp("scored")
    for seed in (1, 2, 3):
        make_score(root / f"base_{seed}", seed=seed)
        make_score(root / f"tim_{seed}", gain=0.1, seed=seed)
    return root


def test_a_comparison_shows_its_verdict_and_writes_a_report_only_where_asked(scored, tmp_path):
    runs = [[scored / f"{arm}_{seed}" for seed in (1, 2, 3)] for arm in ("base", "tim")]
    compared = compare_runs(*runs)
    assert repr(compared) == f"<Comparison of {len(compared)} chips: {compared.verdict.headline}>"
    assert len(compared) == len(compared.baseline.scores[0].counts.chip_ids) > 0
    html = compared._repr_html_()
    assert "base (baseline)" in html
    assert "a control, so nothing rules out other explanations of a difference" in html
    before = set(scored.rglob("report.html"))
    assert not before
    assert compare_runs(*runs, out=tmp_path / "report", pictures=0).verdict == compared.verdict
    assert (tmp_path / "report" / "report.html").is_file()


def test_one_run_needs_no_list_and_a_study_its_comparison(scored):
    assert len(compare_runs(scored / "base_1", str(scored / "tim_1")).baseline.scores) == 1
    with pytest.raises(EvaluationError, match="'candidate' is the name of an arm"):
        compare_runs(scored / "base_1", scored / "tim_1", {"candidate": scored / "base_2"})
    with pytest.raises(EvaluationError, match="--study and --comparison go together"):
        compare_runs(scored / "base_1", scored / "tim_1", study=scored)


def test_a_score_shows_its_metrics_and_the_maps_that_are_there(scored):
    score = Score.read(scored / "base_1")
    miou = f"{100 * score.metrics.miou:.2f} %"
    assert repr(score) == f"<Score {scored / 'base_1'}: mIoU {miou}, {len(score)} chips>"
    html = score._repr_html_()
    assert miou in html
    assert "<img" not in html  # these scores were made without maps
    write_tif(score.prediction(score.counts.chip_ids[1]), np.zeros((1, 8, 8), np.int16))
    assert score._repr_html_().count("data:image/png") == 1
    assert all(name in html for name in score.counts.class_names)


def test_what_cannot_be_scored_is_refused_before_torch(tmp_path):
    with pytest.raises(EvaluationError, match=r"--checkpoint a\.ckpt: expected best or last"):
        score_runs(tmp_path, checkpoint="a.ckpt")
    with pytest.raises(EvaluationError, match="--samples al: expected first or all"):
        score_runs(tmp_path, samples="al")
