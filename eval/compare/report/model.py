"""The report as one typed model, from which it is written, read back, and its JSON schema generated.

Shares throughout, so 0.01 is one percentage point. A value out of its range (p = 2, an interval upside down, a negative
count) is refused on writing as on reading.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from eval.compare.arms import Difference
from eval.compare.inference import ClassEstimate, Estimate, NonNegative, SignedShare
from eval.compare.verdict import Verdict
from eval.score.metrics import FINITE, Metrics, Share
from eval.score.record import Provenance
from finetune.run.manifest import CostRecord

REPORT_VERSION: Final[Literal[8]] = 8

Sha256 = Annotated[str, Field(min_length=64, max_length=64)]


class Part(BaseModel):
    """A part of the report: unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(**FINITE, frozen=True, from_attributes=True)


class MetricEntry(Part):
    """One metric of the report, in the order of its tables."""

    key: str
    label: str
    policy: str = Field(description="Which classes it averages over; empty if none")
    by_class: bool
    interval: bool = Field(description="Whether differences have an interval")
    logged: str = Field(description="Name under which terratorch test logs it")


class Epoch(Part):
    """What was logged in one epoch of a training."""

    epoch: NonNegativeInt
    train_loss: float | None = None
    val_loss: float | None = None
    val_miou: Share | None = Field(None, description="As TerraTorch averages it")


class RunResult(Part):
    """One run of an arm; what its training cost is in the manifest that `origin` holds."""

    folder: str
    metrics: Metrics
    curve: list[Epoch] = Field(description="By epoch; empty where the run directory has no log")
    origin: Provenance


class ArmResult(Part):
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
    runs: list[RunResult] = Field(min_length=1)

    @property
    def costs(self) -> list[CostRecord]:
        """Return what the training of each run cost, for the runs that recorded it."""
        return [run.origin.run.cost for run in self.runs if run.origin.run is not None]


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


class ComparisonMethod(Part):
    """How the numbers were computed, and what the gate requires."""

    level: Share
    power: Share
    paired_by_seed: bool
    unpaired_because: str
    fewest_seeds: PositiveInt = Field(description="Paired seeds without which nothing is claimed")
    resolvable_with_twice_the_scenes: NonNegative | None
    resolvable_with_twice_the_seeds: NonNegative | None
    strong_above: Share = Field(description="Difference in mIoU above which a grade is strong")
    folds: NonNegativeInt = Field(description="Folds of a cross-validation over scenes; 0 for one test split")
    averages: str = Field(description="Why a run has two mIoUs")
    improvement_from: Share = Field(description="Difference in mIoU from which an improvement may be claimed")


class MultipleTesting(Part):
    """The study a comparison is part of: several questions asked of one test split."""

    study_sha256: Sha256 | None = Field(description="SHA-256 of the study's settings; null outside a study")
    declared: PositiveInt = Field(description="Comparisons the study declares")
    dates: list[str] = Field(description="When the study declared something; empty if nothing was declared")
    p_family: Share = Field(description="p of the difference in mIoU times their number (Bonferroni)")
    words: str


class SceneRow(Part):
    """MIoU of a scene with a reference over the pixels of all its chips, mean over runs."""

    scene: str
    chips: PositiveInt
    baseline: Share
    candidate: Share
    difference: SignedShare


class ChipRow(Part):
    """MIoU of a chip with a reference, mean over runs."""

    id: str
    scene: str
    baseline: Share
    candidate: Share
    difference: SignedShare


class LeftOut(Part):
    """The comparison again without one scene or one seed."""

    kind: Literal["scene", "seed"]
    name: str
    difference: Estimate
    words: str


class SlopeRow(Part):
    """How the gain goes with one covariate."""

    covariate: str
    level: Literal["chip", "scene"]
    before_labels: bool = Field(description="Whether it is known where there is no reference yet")
    spread: NonNegative = Field(description="Standard deviation of the covariate over chips or scenes")
    slope: ClassEstimate = Field(description="Gain in mIoU per standard deviation, as a share")


class UseRule(Part):
    """Where to use the map."""

    covariate: str
    above: bool = Field(description="Whether it is used from the threshold on, or up to it")
    threshold: float
    share: Share = Field(description="Share of the test chips where it is used")
    advantage: Estimate = Field(
        description="Gain in mean mIoU of chips over the better of always and never, in scenes left out"
    )


class WhenItHelps(Part):
    """What the gain goes with, by chip and by scene."""

    slopes: list[SlopeRow] = Field(
        description="p after Holm over all of them; empty with few scenes or seeds"
    )
    rule: UseRule | None = Field(description="Null unless it holds in scenes left out when it was made")
    words: list[str]


class Answer(Part):
    """One question of the checklist."""

    question: str
    yes: bool
    words: str


class Report(Part):
    """Report of `tim-eval compare`.

    Attributes:
        scenes: From most lost to most gained.
        chips: Likewise.
    """

    report_version: Literal[8]
    created: str = Field(description="ISO 8601 in UTC")
    verdict: Verdict
    metrics: list[MetricEntry]
    headline_metric: str = Field(description="Key of the metric used for verdict, seeds and chips")
    difference: Estimate = Field(description="Candidate minus baseline, in the headline metric")
    statistics: ComparisonMethod
    family: MultipleTesting
    test: Test
    seeds: list[SeedRow] = Field(description="Seeds with exactly one run each of baseline and candidate")
    baseline: ArmResult
    candidate: ArmResult
    controls: list[ArmResult]
    scenes: list[SceneRow]
    chips: list[ChipRow]
    left_out: list[LeftOut] = Field(
        description="Without the scene, and without the seed, on which the difference rests most; of three or more"
    )
    helps: WhenItHelps
    checklist: list[Answer] = Field(description="After arXiv 2605.12678")

    @property
    def compared_arms(self) -> tuple[ArmResult, ArmResult]:
        """Return the baseline and candidate."""
        return self.baseline, self.candidate

    @property
    def arms(self) -> tuple[ArmResult, ...]:
        """Return the baseline, candidate, then controls."""
        return (self.baseline, self.candidate, *self.controls)

    @property
    def hours_per_run(self) -> float | None:
        """Hours that a training took, mean over runs; None if none recorded it."""
        seconds = [cost.wall_seconds for arm in self.arms for cost in arm.costs]
        return sum(seconds) / len(seconds) / 3600 if seconds else None

    def compared(self) -> Difference:
        """Return the candidate's difference from the baseline, which every report has."""
        assert self.candidate.to_baseline is not None
        return self.candidate.to_baseline

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.candidate.to_baseline is None:
            raise ValueError("the candidate lacks its difference from the baseline")
        return self


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the report, draft 2020-12."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Report.model_json_schema()}
