"""Metrics worked out of confusion counts, aggregated once and divided once.

Averages over classes come under two policies, and the policy is part of the name: *reference classes* are those
with a pixel in the reference; *seen classes* are those in the reference or in the prediction, which is what
torchmetrics averages over and `terratorch test` logs. They differ only where a class that is not in the
reference is predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float64]


def _parts(counts: NDArray[Any]) -> tuple[Shares, Shares, Shares]:
    """Hits, pixels in the reference and pixels in the prediction of each class, ``[…, class]``."""
    classes = counts.shape[-2]
    hits = np.diagonal(counts[..., :classes], axis1=-2, axis2=-1)
    return hits.astype(float), counts.sum(axis=-1).astype(float), counts[..., :classes].sum(-2).astype(float)


def _ratio(numerator: Shares, denominator: Shares) -> Shares:
    """Quotient; NaN where the denominator is 0."""
    undefined = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    quotient: Shares = np.divide(numerator, denominator, out=undefined, where=denominator > 0)
    return quotient


def class_iou(counts: NDArray[Any]) -> Shares:
    """Intersection over union of each class, Jaccard 1912: hits / (reference + prediction − hits).

    Args:
        counts: Confusion counts ``[…, class, class + 1]``.

    Returns:
        ``[…, class]`` in 0..1; NaN where a class is in neither the reference nor the prediction.
    """
    hits, reference, predicted = _parts(counts)
    return _ratio(hits, reference + predicted - hits)


def class_f1(counts: NDArray[Any]) -> Shares:
    """F1 of each class, the harmonic mean of precision and recall: 2 · hits / (reference + prediction).

    Returns:
        ``[…, class]`` in 0..1; NaN where a class is in neither the reference nor the prediction.
    """
    hits, reference, predicted = _parts(counts)
    return _ratio(2 * hits, reference + predicted)


def over_reference_classes(values: Shares, counts: NDArray[Any]) -> Shares:
    """Mean ``[…]`` of per-class values ``[…, class]`` over the classes in the reference; NaN without any."""
    present = counts.sum(axis=-1) > 0
    return _ratio(np.where(present, values, 0.0).sum(axis=-1), present.sum(axis=-1).astype(float))


def mean_iou(counts: NDArray[Any]) -> Shares:
    """MIoU ``[…]``, macro over the classes in the reference."""
    return over_reference_classes(class_iou(counts), counts)


def pixel_accuracy(counts: NDArray[Any]) -> Shares:
    """Share ``[…]`` of the counted pixels whose class is right."""
    hits, reference, _ = _parts(counts)
    return _ratio(hits.sum(axis=-1), reference.sum(axis=-1))


def row_normalised(counts: NDArray[Any]) -> Shares:
    """Each reference class' pixels as shares of predictions; NaN in the rows of absent classes."""
    return _ratio(counts.astype(float), counts.sum(axis=-1, keepdims=True).astype(float))


@dataclass(frozen=True)
class Metrics:
    """Metrics of one set of confusion counts; see the module for the two averaging policies.

    Attributes:
        miou_macro_reference_classes: The headline mIoU.
        miou_macro_seen_classes: As torchmetrics and `terratorch test` (``test/mIoU``).
        f1_macro_reference_classes: Mean F1 likewise.
        f1_macro_seen_classes: As `terratorch test` (``test/F1_Score``).
        pixel_accuracy: As `terratorch test` (``test/Pixel_Accuracy``).
        iou_by_class: IoU by class name, None where a class is in neither reference nor prediction.
        f1_by_class: F1 likewise.
    """

    miou_macro_reference_classes: float | None
    miou_macro_seen_classes: float | None
    f1_macro_reference_classes: float | None
    f1_macro_seen_classes: float | None
    pixel_accuracy: float | None
    iou_by_class: dict[str, float | None]
    f1_by_class: dict[str, float | None]

    @classmethod
    def of(cls, counts: NDArray[Any], class_names: Sequence[str]) -> Self:
        """Metrics of counts ``[class, class + 1]``."""
        iou, f1 = class_iou(counts), class_f1(counts)
        return cls(
            miou_macro_reference_classes=known(over_reference_classes(iou, counts)),
            miou_macro_seen_classes=_over_seen_classes(iou),
            f1_macro_reference_classes=known(over_reference_classes(f1, counts)),
            f1_macro_seen_classes=_over_seen_classes(f1),
            pixel_accuracy=known(pixel_accuracy(counts)),
            iou_by_class=dict(zip(class_names, map(known, iou), strict=True)),
            f1_by_class=dict(zip(class_names, map(known, f1), strict=True)),
        )


def known(value: float | Shares) -> float | None:
    """A plain number, None where it is not defined."""
    return float(value) if np.isfinite(value) else None


def _over_seen_classes(values: Shares) -> float | None:
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if seen.size else None
