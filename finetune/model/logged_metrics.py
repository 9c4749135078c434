"""TerraTorch's logged metrics, to the same values in less time: they are updated in every step of a training."""

from __future__ import annotations

import functools
from typing import Any, Final

import torch
from terratorch.tasks import SemanticSegmentationTask
from terratorch.tasks.metrics import BoundaryMeanIoU
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric, MetricCollection

MAX_CLASSES: Final = 62
"""Classes that fit, with one bit for pixels of none, into a whole number of 64 bits."""


class OnePassBoundaryIoU(BoundaryMeanIoU):  # type: ignore[misc] # terratorch is untyped
    """Count the boundaries of all classes at once, where TerraTorch pools four times for each class."""

    @torch.no_grad()
    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch of predicted and reference labels, ``[B, H, W]`` each."""
        # TerraTorch lets a pixel of each image count as often as it is labeled in the whole batch, and so do we
        ignored = (
            torch.zeros_like(target[0]) if self.ignore_index is None else (target == self.ignore_index).sum(0)
        )
        weights = len(target) - ignored
        ours, theirs = self._boundaries(preds), self._boundaries(target)
        for label in range(0 if self.include_background else 1, self.num_classes):
            if label != self.ignore_index:
                for counted, found in ((self.intersections, ours & theirs), (self.unions, ours | theirs)):
                    counted[label] += (((found >> label) & 1).sum(0) * weights).sum()

    def _boundaries(self, labels: Tensor) -> Tensor:
        """Return the classes whose boundary is near each pixel as bits, ``[B, H, W]``."""
        classes = self.num_classes
        # whatever is no class is another one, whose border with a class is a boundary of that class
        bits = 1 << torch.where((labels >= 0) & (labels < classes), labels, classes)
        near, reach = bits, self.thickness
        for axis in (-2, -1):
            # zeros beyond the image are of no class; the last axis comes first in the pair of pads
            padded = functional.pad(near, [reach, reach] if axis == -1 else [0, 0, reach, reach])
            shifted = (padded.narrow(axis, shift, bits.shape[axis]) for shift in range(2 * reach + 1))
            near = functools.reduce(torch.bitwise_or, shifted)
        # a power of two is one class alone, without a boundary
        return torch.where(near & (near - 1) != 0, near, 0)


def lighten_metrics(task: SemanticSegmentationTask) -> None:
    """Let a task's metrics take less time for the same values."""
    for collection in (task.train_metrics, task.val_metrics, *task.test_metrics):
        _lighten(collection)


def _lighten(collection: MetricCollection) -> None:
    for name, metric in list(collection.items(keep_base=True, copy_state=False)):
        # a wrapper by class holds another
        inner: Any = getattr(metric, "metric", metric)
        if isinstance(inner, Metric) and hasattr(inner, "validate_args"):
            # it sorts all labels in each step to count them, and the survey of the chips has looked at them
            inner.validate_args = False
        if type(metric) is BoundaryMeanIoU and inner.num_classes <= MAX_CLASSES:
            known = ("num_classes", "thickness", "ignore_index", "average", "include_background")
            collection[name] = OnePassBoundaryIoU(**{key: getattr(metric, key) for key in known})
