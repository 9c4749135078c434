import numpy as np
import pytest
import torch
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassJaccardIndex,
)

from eval.score.counts import count_pixels
from eval.score.metrics import Metrics, class_f1, class_iou, mean_iou, pixel_accuracy, row_normalised

pytestmark = pytest.mark.slow

# class 0: 3 hits of 4 reference and 5 predicted pixels; class 1: 4 of 6 and 5; class 2 only in one prediction;
# class 3 nowhere
COUNTS = np.array([[3, 1, 0, 0, 0], [2, 4, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
NAMES = ("a", "b", "c", "d")


def test_metrics_by_hand():
    metrics = Metrics.of(COUNTS, NAMES)
    assert metrics.by_class["iou_by_class"] == {"a": 3 / 6, "b": 4 / 8, "c": None, "d": None}
    assert metrics.by_class["f1_by_class"] == {"a": 6 / 9, "b": 8 / 12, "c": None, "d": None}
    assert metrics.overall["miou_macro_reference_classes"] == pytest.approx((3 / 6 + 4 / 8) / 2)
    assert metrics.overall["miou_macro_seen_classes"] == pytest.approx((3 / 6 + 4 / 8 + 0) / 3)
    assert metrics.overall["f1_macro_reference_classes"] == pytest.approx((6 / 9 + 8 / 12) / 2)
    assert metrics.overall["f1_macro_seen_classes"] == pytest.approx((6 / 9 + 8 / 12) / 3)
    assert metrics.overall["pixel_accuracy"] == pytest.approx(7 / 11)


def test_pixels_without_a_prediction_are_misses():
    counts = np.array([[2, 0, 2], [0, 1, 0]])
    assert class_iou(counts).tolist() == [0.5, 1.0]
    assert class_f1(counts).tolist() == [pytest.approx(4 / 6), 1.0]
    assert float(pixel_accuracy(counts)) == pytest.approx(3 / 5)


def test_classes_absent_everywhere():
    metrics = Metrics.of(np.zeros((2, 3), int), ("a", "b"))
    assert metrics.overall["miou_macro_reference_classes"] is None
    assert metrics.overall["pixel_accuracy"] is None
    assert metrics.by_class["iou_by_class"] == {"a": None, "b": None}


def test_rows_are_shares_of_the_reference():
    shares = row_normalised(COUNTS)
    assert shares[1].tolist() == pytest.approx([2 / 7, 4 / 7, 1 / 7, 0, 0])
    assert np.isnan(shares[2]).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("absent", [False, True])
def test_equal_to_torchmetrics(seed, absent):
    rng = np.random.default_rng(seed)
    reference = rng.integers(-1, 3 if absent else 5, (4, 16, 16))
    predicted = np.where(rng.random(reference.shape) < 0.5, rng.integers(0, 4, reference.shape), reference)
    predicted = np.where(predicted < 0, 0, predicted)
    counts = sum(count_pixels(r, p, 5) for r, p in zip(reference, predicted, strict=True))
    metrics = Metrics.of(counts, [*"abcde"])

    def theirs(kind, average):
        metric = kind(num_classes=5, ignore_index=-1, average=average)
        return metric(torch.tensor(predicted), torch.tensor(reference)).numpy()

    assert metrics.overall["miou_macro_seen_classes"] == pytest.approx(
        theirs(MulticlassJaccardIndex, "macro"), abs=1e-6
    )
    assert metrics.overall["f1_macro_seen_classes"] == pytest.approx(
        theirs(MulticlassF1Score, "macro"), abs=1e-6
    )
    assert metrics.overall["pixel_accuracy"] == pytest.approx(theirs(MulticlassAccuracy, "micro"), abs=1e-6)
    ious = [value or 0.0 for value in metrics.by_class["iou_by_class"].values()]
    assert ious == pytest.approx(theirs(MulticlassJaccardIndex, None), abs=1e-6)
    f1s = [value or 0.0 for value in metrics.by_class["f1_by_class"].values()]
    assert f1s == pytest.approx(theirs(MulticlassF1Score, None), abs=1e-6)
    if not absent:
        assert float(mean_iou(counts)) == pytest.approx(metrics.overall["miou_macro_seen_classes"])
