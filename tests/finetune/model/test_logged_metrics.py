"""Metrics that take less time have TerraTorch's values."""

import pytest
import torch
from terratorch.tasks.metrics import BoundaryMeanIoU

from finetune.model.logged_metrics import OnePassBoundaryIoU, lighten_metrics
from tests.finetune.model.test_monitors import task_with

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "options",
    [
        {"ignore_index": -1, "include_background": False},
        {"ignore_index": None, "average": "micro"},
        {"ignore_index": 1, "thickness": 1},
    ],
)
def test_boundaries_are_those_of_terratorch(options):
    theirs, ours = (kind(num_classes=4, **options) for kind in (BoundaryMeanIoU, OnePassBoundaryIoU))
    draw = torch.Generator().manual_seed(0)
    for sides in ((3, 20, 24), (2, 7, 5)):
        # blocks of 4 × 4 pixels, so that there are boundaries and insides
        preds, target = (
            torch.randint(lowest, 4, sides, generator=draw).repeat_interleave(4, 1).repeat_interleave(4, 2)
            for lowest in (0, -1 if options["ignore_index"] == -1 else 0)
        )
        for metric in (theirs, ours):
            metric.update(preds, target)
    assert torch.equal(ours.intersections, theirs.intersections)
    assert torch.equal(ours.unions, theirs.unions)
    assert ours.unions.sum() > 0
    assert ours.compute() == theirs.compute()


def test_a_boundary_by_hand():
    """Columns 0 0 0 0 1 1 1 1 of two rows: two columns on each side of the border are within two pixels of it."""
    labels = torch.tensor([[[0, 0, 0, 0, 1, 1, 1, 1]] * 2])
    metric = OnePassBoundaryIoU(num_classes=2)
    metric.update(labels, labels)
    assert metric.unions.tolist() == [8, 8]
    assert metric.compute() == 1


def test_a_task_logs_what_it_would_have_logged():
    theirs, ours = task_with("ce"), task_with("ce")
    lighten_metrics(ours)
    assert isinstance(ours.val_metrics._modules["Boundary_mIoU"], OnePassBoundaryIoU)
    draw = torch.Generator().manual_seed(0)
    for _ in range(3):
        preds, target = (torch.randint(2, (2, 12, 12), generator=draw) for _ in range(2))
        for task in (theirs, ours):
            task.val_metrics.update(preds, target)
    expected, found = (task.val_metrics.compute() for task in (theirs, ours))
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
