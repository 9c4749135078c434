"""Metrics computed from confusion counts, aggregated once and divided once; `METRICS` is the one list of them.

A metric is one entry of `METRICS`: scores, reports, the page and model cards loop over it, and if the entry says so,
its difference between arms gets an interval.

Averages over classes come under two policies, and the policy is part of the name: *reference classes* are those with a
pixel in the reference; *seen classes* are those in the reference or in the prediction, which is what torchmetrics
averages over and `terratorch test` logs. They differ only if a class is predicted that is not in the reference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.dataclasses import dataclass
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

Shares = NDArray[np.float64]

Share = Annotated[float, Field(ge=0, le=1)]
"""A share of pixels, classes or probability, 0 to 1."""

FINITE: Final = ConfigDict(extra="forbid", allow_inf_nan=False)
"""For values that are written to files and read back: unknown keys, NaN and infinity are refused."""


def _parts(counts: NDArray[Any]) -> tuple[Shares, Shares, Shares]:
    """Return the hits, pixels in the reference and pixels in the prediction of each class, ``[…, class]``."""
    classes = counts.shape[-2]
    # pixels without a prediction, the last column, count as misses: in the reference, in no predicted class
    hits = np.diagonal(counts[..., :classes], axis1=-2, axis2=-1)
    return hits.astype(float), counts.sum(axis=-1).astype(float), counts[..., :classes].sum(-2).astype(float)


def _ratio(numerator: Shares, denominator: Shares) -> Shares:
    """Return the quotient; NaN if the denominator is 0."""
    # `divide` leaves `out` as it is where it does not divide, so NaN is put there beforehand
    undefined = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    quotient: Shares = np.divide(numerator, denominator, out=undefined, where=denominator > 0)
    return quotient


def class_iou(counts: NDArray[Any]) -> Shares:
    """Return the intersection over union of each class, Jaccard 1912: hits / (reference + prediction − hits).

    Args:
        counts: Confusion counts ``[…, class, class + 1]``.

    Returns:
        ``[…, class]`` in 0..1; NaN if a class is in neither the reference nor the prediction.
    """
    hits, reference, predicted = _parts(counts)
    return _ratio(hits, reference + predicted - hits)


def class_f1(counts: NDArray[Any]) -> Shares:
    """Return the F1 of each class, the harmonic mean of precision and recall: 2 · hits / (reference + prediction).

    Returns:
        ``[…, class]`` in 0..1; NaN where a class is in neither the reference nor the prediction.
    """
    hits, reference, predicted = _parts(counts)
    return _ratio(2 * hits, reference + predicted)


def over_reference_classes(values: Shares, counts: NDArray[Any]) -> Shares:
    """Average per-class values ``[…, class]`` over the classes in the reference; NaN without any."""
    present = counts.sum(axis=-1) > 0
    # `where`, as a product with the mask would keep NaN: 0 · NaN is NaN
    return _ratio(np.where(present, values, 0.0).sum(axis=-1), present.sum(axis=-1).astype(float))


def over_seen_classes(values: Shares) -> Shares:
    """Average per-class values ``[…, class]`` over the classes in reference or prediction; NaN without any."""
    # values by class are NaN just where a class is in neither reference nor prediction
    seen = np.isfinite(values)
    return _ratio(np.where(seen, values, 0.0).sum(axis=-1), seen.sum(axis=-1).astype(float))


def mean_iou(counts: NDArray[Any]) -> Shares:
    """Return the MIoU ``[…]``, macro over the classes in the reference."""
    return over_reference_classes(class_iou(counts), counts)


def pixel_accuracy(counts: NDArray[Any]) -> Shares:
    """Return the share ``[…]`` of the counted pixels whose class is right."""
    hits, reference, _ = _parts(counts)
    return _ratio(hits.sum(axis=-1), reference.sum(axis=-1))


def row_normalised(counts: NDArray[Any]) -> Shares:
    """Return each reference class' pixels as shares of its predictions; NaN in the rows of absent classes."""
    return _ratio(counts.astype(float), counts.sum(axis=-1, keepdims=True).astype(float))


REFERENCE: Final = "mean over the classes in the reference"
SEEN: Final = "mean over the classes in the reference or the prediction"


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        key: Its name in files; an average over classes has its policy in it.
        label: Its name in tables.
        policy: Which classes it averages over; empty if none.
        function: From counts ``[…, class, class + 1]`` to ``[…]``, or ``[…, class]`` of a metric by class.
        by_class: Whether it has a value for each class.
        interval: Whether differences between arms get an interval and a p-value.
        logged: Name under which `terratorch test` logs the same number; empty if it does not.
        card: Kind of metric on Hugging Face, for model cards; empty if they leave it out.
    """

    key: str
    label: str
    policy: str
    function: Callable[[NDArray[Any]], Shares]
    by_class: bool = False
    interval: bool = False
    logged: str = ""
    card: str = ""


MIOU: Final = Metric(
    "miou_macro_reference_classes", "mIoU", REFERENCE, mean_iou, interval=True, card="mean_iou"
)
"""The headline metric, used for the verdict and the rows of seeds and chips."""

IOU: Final = Metric("iou_by_class", "IoU", "", class_iou, by_class=True, interval=True)

METRICS: Final = (
    MIOU,
    Metric(
        "miou_macro_seen_classes",
        "mIoU as TerraTorch",
        SEEN,
        lambda counts: over_seen_classes(class_iou(counts)),
        logged="test/mIoU",
    ),
    Metric(
        "f1_macro_reference_classes",
        "F1",
        REFERENCE,
        lambda counts: over_reference_classes(class_f1(counts), counts),
        card="f1",
    ),
    Metric(
        "f1_macro_seen_classes",
        "F1 as TerraTorch",
        SEEN,
        lambda counts: over_seen_classes(class_f1(counts)),
        logged="test/F1_Score",
    ),
    Metric(
        "pixel_accuracy", "pixel accuracy", "", pixel_accuracy, logged="test/Pixel_Accuracy", card="accuracy"
    ),
    IOU,
    Metric("f1_by_class", "F1", "", class_f1, by_class=True),
)

OVERALL: Final = tuple(metric for metric in METRICS if not metric.by_class)
BY_CLASS: Final = tuple(metric for metric in METRICS if metric.by_class)
INTERVALS: Final = tuple(metric for metric in METRICS if metric.interval)

TWO_AVERAGES: Final = (
    "TerraTorch averages over every class that occurs in the reference or the prediction, so that a class which is "
    "only predicted counts as 0; mIoU and F1 here are means over the classes in the reference."
)
"""Why a run has two mIoUs, and two F1s."""


@dataclasses.dataclass(frozen=True)
class Keyed:
    """Requires a dict to have a value for each of these metrics and no others, on reading and in the schema."""

    metrics: tuple[Metric, ...]

    @property
    def keys(self) -> list[str]:
        """Return the keys of the metrics."""
        return [metric.key for metric in self.metrics]

    def check(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the dict if it has these keys.

        Raises:
            ValueError: If it has others.
        """
        if sorted(found) != sorted(self.keys):
            raise ValueError(f"has the metrics {sorted(found)}, expected {sorted(self.keys)}")
        return found

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "required": self.keys, "propertyNames": {"enum": self.keys}}


@dataclass(frozen=True, config=FINITE)
class Metrics:
    """Every metric of one set of confusion counts; None for one that is undefined.

    Attributes:
        overall: By the key of `OVERALL`.
        by_class: By the key of `BY_CLASS`, then by class; None for a class that is not in the reference.
    """

    overall: Annotated[dict[str, Share | None], Keyed(OVERALL)]
    by_class: Annotated[dict[str, dict[str, Share | None]], Keyed(BY_CLASS)]

    @classmethod
    def of(cls, counts: NDArray[Any], class_names: Sequence[str]) -> Self:
        """Return the metrics of counts ``[class, class + 1]``."""
        referenced = counts.sum(axis=-1) > 0
        overall = {metric.key: known(metric.function(counts)) for metric in OVERALL}
        by_class = {}
        for metric in BY_CLASS:
            # a class that is only predicted would have 0; by class it counts as undefined
            values = np.where(referenced, metric.function(counts), np.nan)
            by_class[metric.key] = dict(zip(class_names, map(known, values), strict=True))
        return cls(overall, by_class)

    @property
    def miou(self) -> float | None:
        """Return the headline metric."""
        return self.overall[MIOU.key]


def known(value: float | Shares) -> float | None:
    """Return a plain number, None if undefined."""
    return float(value) if np.isfinite(value) else None
