"""Learning curves out of the logs that trainings leave."""

import pytest

from eval.compare.report.curves import read_curve
from eval.errors import EvaluationError

HEAD = "epoch,step,train/loss,val/loss,val/mIoU\n"


def write(run, rows, log="fit_0"):
    path = run / "logs" / log / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(HEAD + "".join(f"{row}\n" for row in rows))


def values(run):
    return [(entry.epoch, entry.train_loss, entry.val_loss, entry.val_miou) for entry in read_curve(run)]


def test_rows_of_an_epoch_are_joined(tmp_path):
    """Lightning writes training and validation of an epoch in rows of their own, and steps in between."""
    write(tmp_path, ["0,0,2.5,,", "0,1,2.0,,", "0,1,,1.5,0.25", "1,3,,1.25,0.5", "1,3,1.0,,"])
    assert values(tmp_path) == [(0, 2.0, 1.5, 0.25), (1, 1.0, 1.25, 0.5)]


def test_a_resumed_training_goes_on_in_the_next_log(tmp_path):
    write(tmp_path, ["0,1,,,0.25", "1,2,,,0.5"])
    write(tmp_path, ["2,3,,,1.0"], "fit_10")
    write(tmp_path, ["1,2,,,0.75", "2,3,,,0.5"], "fit_2")
    assert [(epoch, miou) for epoch, _, _, miou in values(tmp_path)] == [(0, 0.25), (1, 0.75), (2, 1.0)]


def test_what_diverged_is_left_out(tmp_path):
    write(tmp_path, ["0,1,nan,,0.25", "1,2,inf,,0.5"])
    assert values(tmp_path) == [(0, None, None, 0.25), (1, None, None, 0.5)]


def test_no_log_is_no_curve(tmp_path):
    assert read_curve(tmp_path) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,1,,,0.5", "epoch 'x'"),
        ("0,1,,,much", "val_miou 'much'"),
        ("0,1,,,1.5", "val_miou '1.5'"),
        (",1,,,0.5", "epoch ''"),
    ],
)
def test_a_damaged_log_is_one_line(tmp_path, row, message):
    write(tmp_path, [row])
    with pytest.raises(EvaluationError, match=message) as caught:
        read_curve(tmp_path)
    assert str(caught.value).endswith("remove the log to compare without learning curves")


def test_bytes_that_are_no_text(tmp_path):
    write(tmp_path, [])
    (tmp_path / "logs/fit_0/metrics.csv").write_bytes(HEAD.encode() + b"\xff\xfe\n")
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_curve(tmp_path)
