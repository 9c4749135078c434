"""Records of a run, a score, a report and a study are read within the limits of `augment_store.io.files.read_text`."""

import json
import os

import pytest

from eval.compare.report.curves import read_curve
from eval.errors import EvaluationError
from eval.publish.report import read_report
from eval.score.record import Score
from eval.study.plan import Step
from eval.study.runner import missing_steps
from finetune.errors import RunError
from finetune.run.manifest import RunManifest


def read_done(out):
    product = out / "product"
    product.write_text("made")
    return missing_steps(out, [Step("fit", ("finetune", "fit"), product, (), costly=True)])


@pytest.mark.parametrize(
    ("file", "read", "error"),
    [
        ("manifest.json", RunManifest.read, RunError),
        ("score/score.json", Score.read, EvaluationError),
        ("report.json", read_report, EvaluationError),
        ("done/fit.json", read_done, EvaluationError),
        ("logs/fit_0/metrics.csv", read_curve, EvaluationError),
    ],
)
def test_a_file_that_is_too_large_is_refused_unread(tmp_path, monkeypatch, file, read, error):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"padding": "x" * 4096}))
    monkeypatch.setattr("augment_store.io.files.MAX_TEXT_BYTES", 4096)
    with pytest.raises(error, match=rf"{file}: .*4,111 bytes, at most 4,096 are read"):
        read(tmp_path)


def test_a_log_that_is_a_pipe_is_refused_not_waited_for(tmp_path):
    path = tmp_path / "logs" / "fit_0" / "metrics.csv"
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(EvaluationError, match=r"metrics.csv: .*not a regular file"):
        read_curve(tmp_path)
