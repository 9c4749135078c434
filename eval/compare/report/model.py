"""The report as one typed model: what is written, what is read back, and the JSON schema are all made of it.

Shares throughout, so 0.01 is one percentage point. A value out of its range (p = 2, an interval upside down, a negative
count) is refused on writing as on reading.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from eval.score.record import Origin

REPORT_VERSION: Literal[2] = 2

Share = Annotated[float, Field(ge=0, le=1)]
SignedShare = Annotated[float, Field(ge=-1, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Sha256 = Annotated[str, Field(min_length=64, max_length=64)]


class Part(BaseModel):
    """A part of the report: unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, from_attributes=True)


class VariancePart(Part):
    """One source of a difference's variance: scenes, or seeds (of each arm, where runs are not paired by seed)."""

    name: str
    units: PositiveInt = Field(description="How many were drawn")
    variance: NonNegative


class Estimate(Part):
    """A difference and how sure it is, as `eval.compare.inference.Estimate` has it."""

    difference: SignedShare
    low: float | None = Field(description="Lower end of the 95 % interval; null for a single scene")
    high: float | None
    standard_error: NonNegative | None = Field(description="Root of the sum of the parts' variances")
    degrees_of_freedom: NonNegative | None = Field(description="Of Student's t")
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
    """The difference in one class' IoU."""

    p_holm: Share = Field(description="p after Holm, over the classes")
    differs: bool = Field(description="p after Holm is below 0.05 and the interval excludes zero")


class Difference(Part):
    """What sets one arm apart from another: the first arm named minus the second."""

    miou: Estimate
    classes: dict[str, ClassEstimate]


class Metrics(Part):
    """Metrics of a run, or their mean over runs; see `eval.score.metrics` for the averaging policies."""

    miou_macro_reference_classes: Share | None = Field(description="Mean over classes in the reference")
    miou_macro_seen_classes: Share | None = Field(description="As terratorch test logs it")
    f1_macro_reference_classes: Share | None
    f1_macro_seen_classes: Share | None
    pixel_accuracy: Share | None
    iou_by_class: dict[str, Share | None]
    f1_by_class: dict[str, Share | None]


class Run(Part):
    """One run of an arm."""

    folder: str
    metrics: Metrics
    origin: Origin


class Arm(Part):
    """Runs of one training configuration."""

    name: str
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


class Verdict(Part):
    """What follows, as `eval.compare.verdict.Verdict` has it."""

    headline: str
    claimed: bool = Field(description="Whether an improvement is claimed; nothing is lacking then")
    grade: Literal["strong", "acceptable", "negative"] = Field(
        description="Of the point estimate alone: above 0.02, 0 to 0.02, below 0; no claim without `claimed`"
    )
    inconclusive: bool
    lacking: tuple[str, ...] = Field(description="What a claim needs and this comparison has not")
    not_beaten: tuple[str, ...] = Field(description="Controls that the candidate is not surely better than")
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
    """One seed: mIoU of baseline and candidate, where both have just one run of it."""

    seed: int
    baseline: Share
    candidate: Share
    difference: SignedShare


class Statistics(Part):
    """How numbers were worked out, and what the gate asks for."""

    level: Share
    power: Share
    paired_by_seed: bool
    unpaired_because: str
    fewest_seeds: PositiveInt = Field(description="Paired seeds without which nothing is claimed")
    resolvable_with_twice_the_scenes: NonNegative | None
    resolvable_with_twice_the_seeds: NonNegative | None
    strong_above: Share = Field(description="Difference in mIoU above which a grade is strong")
    improvement_from: Share = Field(description="Difference in mIoU from which an improvement may be claimed")


class Family(Part):
    """The study a comparison is part of: several questions asked of one test split."""

    study_sha256: Sha256 | None = Field(description="Of the study's settings; null outside a study")
    declared: PositiveInt = Field(description="Comparisons the study declares")
    p_family: Share = Field(description="p of the difference in mIoU times their number (Bonferroni)")
    words: str


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
        chips: From most lost to most gained.
    """

    report_version: Literal[2]
    created: str = Field(description="ISO 8601 in UTC")
    verdict: Verdict
    measure: Literal["miou_macro_reference_classes"]
    difference: Estimate = Field(description="Candidate minus baseline, in mIoU")
    statistics: Statistics
    family: Family
    test: Test
    seeds: list[SeedRow] = Field(description="Seeds that both baseline and candidate were run with, once")
    baseline: Arm
    candidate: Arm
    controls: list[Arm]
    chips: list[Chip]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Baseline, candidate, then controls."""
        return (self.baseline, self.candidate, *self.controls)

    def compared(self) -> Difference:
        """The candidate's difference to the baseline, which every report has."""
        assert self.candidate.to_baseline is not None
        return self.candidate.to_baseline

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.candidate.to_baseline is None:
            raise ValueError("the candidate lacks its difference to the baseline")
        return self


def schema() -> dict[str, Any]:
    """JSON Schema of the report, draft 2020-12."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Report.model_json_schema()}
