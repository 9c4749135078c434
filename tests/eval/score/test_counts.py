import numpy as np
import pytest

from eval.errors import EvaluationError
from eval.score.counts import Counts, count_pixels


def test_counts_by_hand():
    reference = np.array([[0, 0, 1], [1, 1, -1]])
    predicted = np.array([[0, 1, 1], [1, -1, 0]])
    assert count_pixels(reference, predicted, 2).tolist() == [[1, 1, 0], [0, 2, 1]]


@pytest.mark.parametrize(
    ("reference", "predicted", "message"),
    [
        ([[0, 2]], [[0, 0]], "labels 0 to 2; expected 0 to 1"),
        ([[0, 1]], [[0, 5]], "labels 0 to 5; expected -1 to 1"),
        ([[0, 1]], [[0]], "differ in shape"),
    ],
)
def test_labels_that_cannot_be(reference, predicted, message):
    with pytest.raises(EvaluationError, match=message):
        count_pixels(np.array(reference), np.array(predicted), 2)


def make(chips=("b", "a"), scenes=("s2", "s1")):
    values = np.arange(len(chips) * 6).reshape(-1, 2, 3)
    return Counts(tuple(chips), tuple(scenes), ("water", "other"), values)


def test_written_counts_are_read_back(tmp_path):
    counts = make()
    counts.write(tmp_path / "counts.npz")
    again = Counts.read(tmp_path / "counts.npz")
    assert (again.chip_ids, again.scene_ids, again.class_names) == (
        counts.chip_ids,
        counts.scene_ids,
        counts.class_names,
    )
    assert np.array_equal(again.values, counts.values)


def test_order_and_sums_by_scene():
    counts = make(("b", "a", "c"), ("s2", "s1", "s2"))
    assert np.array_equal(counts.ordered(["a", "b", "c"]).values[0], counts.values[1])
    assert counts.scenes == ("s1", "s2")
    assert np.array_equal(counts.by_scene(), [counts.values[1], counts.values[0] + counts.values[2]])
    assert counts.total.sum() == counts.values.sum()


@pytest.mark.parametrize("damage", ["missing", "cut", "text"])
def test_damaged_counts(tmp_path, damage):
    path = tmp_path / "counts.npz"
    make().write(path)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100] if damage == "cut" else b"no")
    with pytest.raises(EvaluationError, match="score the run again"):
        Counts.read(path)


def test_a_chip_that_appears_twice():
    with pytest.raises(EvaluationError, match="appears twice"):
        make(("a", "a"))
