"""The report as one typed model, from which it is written, read back, and its JSON schema generated.

Shares throughout, so 0.01 is one percentage point. A value out of its range (p = 2, an interval upside down, a negative
count) is refused on writing as on reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from eval.score.metrics import BY_CLASS, INTERVALS, MIOU, OVERALL, Metric
from eval.score.record import Provenance
from finetune.run.manifest import CostRecord

REPORT_VERSION: Literal[5] = 5

Share = Annotated[float, Field(ge=0, le=1)]
SignedShare = Annotated[float, Field(ge=-1, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Sha256 = Annotated[str, Field(min_length=64, max_length=64)]


class Part(BaseModel):
    """A part of the report: unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, from_attributes=True)


@dataclass(frozen=True)
class Keyed:
    """Requires a dict to have a value for each of these metrics and no others, on reading and in the schema."""

    metrics: tuple[Metric, ...]

    @property
    def keys(self) -> list[str]:
        """Keys of the metrics."""
        return [metric.key for metric in self.metrics]

    def check(self, found: dict[str, Any]) -> dict[str, Any]:
        """The dict, after checking its keys."""
        if sorted(found) != sorted(self.keys):
            raise ValueError(f"has the metrics {sorted(found)}, expected {sorted(self.keys)}")
        return found

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "required": self.keys, "propertyNames": {"enum": self.keys}}


_COMPARED: Final = Keyed(tuple(metric for metric in INTERVALS if not metric.by_class))
_COMPARED_BY_CLASS: Final = Keyed(tuple(metric for metric in INTERVALS if metric.by_class))


class VariancePart(Part):
    """One source of a difference's variance: scenes, or seeds (of each arm, if runs are not paired by seed)."""

    name: str
    units: PositiveInt = Field(description="How many were sampled")
    variance: NonNegative


class Estimate(Part):
    """A difference and how certain it is, as in `eval.compare.inference.Estimate`."""

    difference: SignedShare
    low: float | None = Field(description="Lower end of the 95 % interval; null for a single scene")
    high: float | None
    standard_error: NonNegative | None = Field(description="Root of the sum of the parts' variances")
    degrees_of_freedom: NonNegative | None = Field(description="Degrees of freedom of Student's t")
    resolvable: NonNegative | None = Field(description="Smallest difference found with 80 % power at 5 %")
    p_value: Share = Field(description="Two-sided, of the same Student's t as the interval")
    parts: tuple[VariancePart, ...] = Field(description="Where the variance comes from")
    covers_zero: bool

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends or none")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class ClassEstimate(Estimate):
    """The difference in one class' value of a metric."""

    p_holm: Share = Field(description="p after Holm, over the classes")
    differs: bool = Field(description="p after Holm is below 0.05 and the interval excludes zero")


class Difference(Part):
    """How one arm differs from another: the first arm named minus the second."""

    overall: Annotated[dict[str, Estimate], _COMPARED]
    by_class: Annotated[dict[str, dict[str, ClassEstimate]], _COMPARED_BY_CLASS]

    @property
    def miou(self) -> Estimate:
        """Estimate of the headline metric."""
        return self.overall[MIOU.key]


class MetricEntry(Part):
    """One metric of the report, in the order of its tables."""

    key: str
    label: str
    policy: str = Field(description="Which classes it averages over; empty if none")
    by_class: bool
    interval: bool = Field(description="Whether differences have an interval")
    logged: str = Field(description="Name under which terratorch test logs it")


class Metrics(Part):
    """Metrics of a run, or their mean over runs, by the keys of the report's `metrics`."""

    overall: Annotated[dict[str, Share | None], Keyed(OVERALL)]
    by_class: Annotated[dict[str, dict[str, Share | None]], Keyed(BY_CLASS)] = Field(
        description="By class; null for a class that is not in the reference"
    )

    @property
    def miou(self) -> float | None:
        """The headline."""
        return self.overall[MIOU.key]


class Epoch(Part):
    """What was logged in one epoch of a training."""

    epoch: NonNegativeInt
    train_loss: float | None = None
    val_loss: float | None = None
    val_miou: Share | None = Field(None, description="As TerraTorch averages it")


class Run(Part):
    """One run of an arm; what its training cost is in the manifest that `origin` holds."""

    folder: str
    metrics: Metrics
    curve: list[Epoch] = Field(description="By epoch; empty where the run directory has no log")
    origin: Provenance


class Arm(Part):
    """Runs of one training configuration."""

    name: str = Field(description="baseline, candidate, or the control's name")
    title: str = Field(description="Name of its run directories")
    metrics: Metrics = Field(description="Mean over runs")
    miou_without_class: dict[str, Share | None] = Field(
        description="mIoU over the other classes in the reference, mean over runs"
    )
    to_baseline: Difference | None = Field(description="This arm minus the baseline")
    candidate_to_this: Difference | None = Field(description="The candidate minus this control")
    confusion: list[list[NonNegativeInt]] = Field(
        description="Pixels, reference by prediction, summed over runs; the last column is without a prediction"
    )
    confusion_row_normalised: list[list[Share | None]]
    runs: list[Run] = Field(min_length=1)

    @property
    def costs(self) -> list[CostRecord]:
        """What the training of each run cost, for the runs that recorded it."""
        return [run.origin.run.cost for run in self.runs if run.origin.run is not None]


class Verdict(Part):
    """What follows, as in `eval.compare.verdict.Verdict`."""

    headline: str = Field(description="The outcome with its difference and interval, and what was compared")
    outcome: str
    claimed: bool = Field(description="Whether an improvement is claimed; nothing is lacking then")
    grade: Literal["strong", "acceptable", "negative"] = Field(
        description="Of the point estimate alone: above 0.02, 0 to 0.02, below 0; no claim without `claimed`"
    )
    inconclusive: bool
    lacking: tuple[str, ...] = Field(description="What a claim needs and this comparison does not have")
    not_beaten: tuple[str, ...] = Field(
        description="Controls that the candidate is not significantly better than"
    )
    words: tuple[str, ...]


class Test(Part):
    """The test split."""

    chips: PositiveInt
    scenes: list[str] = Field(min_length=1)
    dropped_scenes: list[str] = Field(description="Scenes without a reference pixel, left out")
    classes: list[str] = Field(description="By label")
    scenes_by_class: dict[str, NonNegativeInt] = Field(description="Scenes whose reference holds the class")
    ids_sha256: str = Field(description="SHA-256 of the sorted chip ids")
    masks_sha256: str = Field(description="SHA-256 over ids and masks in that order")


class SeedRow(Part):
    """One seed: mIoU of baseline and candidate, if each has exactly one run with it."""

    seed: int
    baseline: Share
    candidate: Share
    difference: SignedShare


class Statistics(Part):
    """How the numbers were computed, and what the gate requires."""

    level: Share
    power: Share
    paired_by_seed: bool
    unpaired_because: str
    fewest_seeds: PositiveInt = Field(description="Paired seeds without which nothing is claimed")
    resolvable_with_twice_the_scenes: NonNegative | None
    resolvable_with_twice_the_seeds: NonNegative | None
    strong_above: Share = Field(description="Difference in mIoU above which a grade is strong")
    averages: str = Field(description="Why a run has two mIoUs")
    improvement_from: Share = Field(description="Difference in mIoU from which an improvement may be claimed")


class MultipleTesting(Part):
    """The study a comparison is part of: several questions asked of one test split."""

    study_sha256: Sha256 | None = Field(description="SHA-256 of the study's settings; null outside a study")
    declared: PositiveInt = Field(description="Comparisons the study declares")
    p_family: Share = Field(description="p of the difference in mIoU times their number (Bonferroni)")
    words: str


class SceneRow(Part):
    """MIoU of a scene with a reference over the pixels of all its chips, mean over runs."""

    scene: str
    chips: PositiveInt
    baseline: Share
    candidate: Share
    difference: SignedShare


class Chip(Part):
    """MIoU of a chip with a reference, mean over runs."""

    id: str
    scene: str
    baseline: Share
    candidate: Share
    difference: SignedShare


class Report(Part):
    """Report of `python -m eval compare`.

    Attributes:
        scenes: From most lost to most gained.
        chips: Likewise.
    """

    report_version: Literal[5]
    created: str = Field(description="ISO 8601 in UTC")
    verdict: Verdict
    metrics: list[MetricEntry]
    headline_metric: str = Field(description="Key of the metric used for verdict, seeds and chips")
    difference: Estimate = Field(description="Candidate minus baseline, in the headline metric")
    statistics: Statistics
    family: MultipleTesting
    test: Test
    seeds: list[SeedRow] = Field(description="Seeds with exactly one run each of baseline and candidate")
    baseline: Arm
    candidate: Arm
    controls: list[Arm]
    scenes: list[SceneRow]
    chips: list[Chip]

    @property
    def compared_arms(self) -> tuple[Arm, Arm]:
        """Baseline and candidate."""
        return self.baseline, self.candidate

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Baseline, candidate, then controls."""
        return (self.baseline, self.candidate, *self.controls)

    def compared(self) -> Difference:
        """The candidate's difference from the baseline, which every report has."""
        assert self.candidate.to_baseline is not None
        return self.candidate.to_baseline

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.candidate.to_baseline is None:
            raise ValueError("the candidate lacks its difference from the baseline")
        return self


def schema() -> dict[str, Any]:
    """JSON Schema of the report, draft 2020-12."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Report.model_json_schema()}
