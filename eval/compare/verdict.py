"""The gate: turns a difference, its interval and how they were obtained into a verdict in plain words.

Grade and certainty are one sentence. An improvement is claimed only if `Verdict.lacking` is empty, and the list of
what a claim needs is fixed here, before any number is seen.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import pydantic.dataclasses

from augment_store.utils.text import join_first, pluralize
from eval.compare.inference import LEVEL, Estimate
from eval.score.metrics import FINITE

STRONG_ABOVE: Final = 0.02
IMPROVEMENT_FROM: Final = 0.01
"""Difference in mIoU from which an improvement may be claimed."""

MIN_SEEDS: Final = 3
"""Seeds, paired between the arms, that a claim needs."""

SIGNIFICANT: Final = 1 - LEVEL

NO_HARM_ABOVE: Final = -0.01
"""Difference in mIoU that the whole interval must lie above for a loss to be excluded (a non-inferiority margin)."""

ONE_RUN: Final = "one run is not evidence"

NOT_DECLARED: Final = "a declaration of seeds and controls before the trainings, as tim-eval study writes it"


class Grade(enum.StrEnum):
    """Grades of a difference, from worst to best: strong by the lower end of its interval, else by the estimate."""

    NEGATIVE = "negative"
    ACCEPTABLE = "acceptable"
    STRONG = "strong"

    def reaches(self, wanted: Grade) -> bool:
        """Return whether this grade is at least `wanted`."""
        order = list(Grade)
        return order.index(self) >= order.index(wanted)


@dataclass(frozen=True)
class StudyContext:
    """The study that a comparison is part of.

    Attributes:
        study_sha256: Digest of its settings, None for a comparison on its own.
        comparisons: Number of comparisons that it ever declared.
        dates: When it declared something, the oldest first; empty if nothing was declared.
        lacking: What was declared and is not there, a phrase each; a claim lacks it.
    """

    study_sha256: str | None = None
    comparisons: int = 1
    dates: tuple[str, ...] = ()
    lacking: tuple[str, ...] = (NOT_DECLARED,)


@dataclass(frozen=True)
class ComparisonContext:
    """How a comparison was made, as far as that limits its conclusions.

    Attributes:
        scenes: Number of test scenes.
        runs: Number of runs of baseline and candidate.
        pairing: Why runs are not paired by seed, empty if they are.
        smoke: Whether one of the runs was cut down to a few steps.
        overlap: Scenes that are in two splits of one of the runs.
        shared: Chips in pairs of which the ground or input is in two splits of one of the runs.
        limited: Whether the splits of one of the runs were cut down to some of their chips.
        data: Reasons to doubt that the trained arms differ only in what is asked, a sentence each.
        dropped: Test scenes left out because none of their pixels has a reference.
        titles: Titles of baseline and candidate.
        chips: Number of test chips; None if unknown.
        study: What was declared beforehand.
        no_controls: Arms that were named as controls and are none by their records, and why.
        control_words: What the controls rule out, and what is still open, a sentence each.
        draw: On how many draws of the generator the candidate rests; empty if it draws nothing.
        folds: Number of folds of a cross-validation over scenes, 0 for one test split.
    """

    scenes: int
    runs: tuple[int, int]
    pairing: str = ""
    smoke: bool = False
    overlap: tuple[str, ...] = ()
    shared: tuple[tuple[str, str], ...] = ()
    limited: bool = False
    data: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    titles: tuple[str, str] = ("baseline", "candidate")
    chips: int | None = None
    study: StudyContext = StudyContext()
    no_controls: Mapping[str, str] = field(default_factory=dict)
    control_words: tuple[str, ...] = ()
    draw: str = ""
    folds: int = 0

    @property
    def each_chip_is_a_scene(self) -> bool:
        """Return whether there are as many scenes as chips, so that no rule may have matched their ids."""
        # a single chip is a single scene by any rule
        return self.chips is not None and self.chips == self.scenes > 1


@pydantic.dataclasses.dataclass(frozen=True, config=FINITE)
class Verdict:
    """What follows from a comparison.

    Attributes:
        headline: The outcome with its difference and interval, and what was compared.
        outcome: The verdict in a few words.
        claimed: Whether an improvement is claimed; true if nothing is lacking.
        harmful: Whether a loss is claimed, by the same gate as a gain, controls aside.
        harmless: Whether a loss of more than one point is excluded, by that gate.
        grade: Strong if the whole interval is above +2 points of mIoU; else by the estimate: acceptable from 0,
            negative below.
        inconclusive: Whether the interval covers zero, or there is none.
        lacking: What a claim of an improvement needs and this comparison does not have.
        not_beaten: Controls that the candidate is not significantly better than.
        words: The verdict as sentences.
    """

    headline: str
    outcome: str
    claimed: bool
    harmful: bool
    harmless: bool
    grade: Grade
    inconclusive: bool
    lacking: tuple[str, ...]
    not_beaten: tuple[str, ...]
    words: tuple[str, ...]


def grade_of(miou: Estimate) -> Grade:
    """Return the grade of a difference in mIoU."""
    # by the lower end: an estimate above the threshold may owe it to luck
    if miou.low is not None and miou.low > STRONG_ABOVE:
        return Grade.STRONG
    return Grade.ACCEPTABLE if miou.difference >= 0 else Grade.NEGATIVE


def decide(miou: Estimate, against: Mapping[str, Estimate], setting: ComparisonContext) -> Verdict:
    """Decide what follows from a comparison.

    Every control must be beaten: an intersection–union test (Berger 1982), which needs no correction for their number.

    Args:
        miou: Its difference in mIoU from the baseline.
        against: Its difference in mIoU from each control.
        setting: How the comparison was made.
    """
    not_beaten = tuple(name for name, entry in against.items() if not entry.is_above_zero)
    # what a claim of harm needs as well; controls explain gains alone
    common = (*_lacking_runs(setting), *_lacking_design(setting), *setting.study.lacking)
    difference = (*common, *_lacking_family(miou, setting))
    lacking = (*_lacking_gain(miou), *difference, *_lacking_controls(against, setting))
    harmful = not difference and miou.high is not None and miou.high < 0
    # covering zero alone would not exclude a loss: a wide interval holds large losses as well
    low = miou.low_among(setting.study.comparisons)
    harmless = not common and low is not None and low > NO_HARM_ABOVE
    grade = grade_of(miou)
    outcome = _outcome(miou, grade, setting, claimed=not lacking, harmful=harmful, harmless=harmless)
    headline = f"{outcome.capitalize()}: mIoU {format_interval(miou)}, {setting.titles[1]} against {setting.titles[0]}"
    words = (_result(miou, setting), _pairing(setting), *_resolution(miou, setting), *_claimed(miou, lacking))
    words += (*_limits(setting, harmless=harmless), *setting.control_words)
    words += tuple(f"A claim lacks: {entry}." for entry in lacking)
    return Verdict(
        headline, outcome, not lacking, harmful, harmless, grade, miou.covers_zero, lacking, not_beaten, words
    )


def _claimed(miou: Estimate, lacking: tuple[str, ...]) -> Iterator[str]:
    if not lacking and miou.low is not None:
        yield (
            f"Claimed is a gain of at least {points(miou.low)}; the estimate of {points(miou.difference)} tends to be "
            "too high, since only a difference that came out large is claimed."
        )


def _limits(setting: ComparisonContext, *, harmless: bool) -> Iterator[str]:
    """Say what limits the conclusions."""
    if setting.each_chip_is_a_scene:
        yield (
            f"{setting.chips} chips of {setting.scenes} scenes: each chip counts as its own; if they were cut from "
            "fewer, this interval is too narrow."
        )
    if harmless:
        yield f"A loss of more than {points(-NO_HARM_ABOVE).removeprefix('+')} is excluded."
    if setting.folds:
        yield (
            f"Cross-validated: each scene was tested in one of {setting.folds} folds, by trainings on the others; "
            "the interval allows for the scenes that the trainings share."
        )
    if setting.draw:
        yield setting.draw
    if setting.dropped:
        yield f"Left out, since no pixel has a reference: scenes {', '.join(setting.dropped)}."
    if setting.smoke:
        yield "A run was a smoke run of a few steps: these numbers show that the chain works and nothing more."


def _outcome(
    miou: Estimate, grade: Grade, setting: ComparisonContext, *, claimed: bool, harmful: bool, harmless: bool
) -> str:
    if claimed:
        return "strong improvement" if grade is Grade.STRONG else "improvement"
    # before any look at the sign: the interval of a single run leaves out the luck of its seed
    if min(setting.runs) == 1:
        return ONE_RUN
    if harmful:
        return "harm"
    if miou.covers_zero:
        return "no harm, and no claim of a gain" if harmless else "inconclusive"
    # from here the interval excludes zero, so the sign of the difference means something
    return "a loss, but no claim" if grade is Grade.NEGATIVE else "a difference, but no claim"


def _lacking_gain(miou: Estimate) -> Iterator[str]:
    if miou.difference < IMPROVEMENT_FROM:
        yield f"a difference of at least {points(IMPROVEMENT_FROM)}; it is {points(miou.difference)}"
    if not miou.is_above_zero:
        yield f"an interval above zero with p below {SIGNIFICANT:.2f}"


def _lacking_runs(setting: ComparisonContext) -> Iterator[str]:
    seeds = min(setting.runs)
    if setting.pairing:
        yield f"runs paired by seed ({setting.pairing})"
    if seeds < MIN_SEEDS:
        yield f"{MIN_SEEDS} seeds an arm; there {'is' if seeds == 1 else 'are'} {seeds}"


def _lacking_family(miou: Estimate, setting: ComparisonContext) -> Iterator[str]:
    count = setting.study.comparisons
    # Bonferroni rather than Holm: it needs no p-values of the others, which may not have been made yet, and
    # holds however the comparisons depend on each other
    if count > 1 and miou.p_value * count >= SIGNIFICANT:
        family = min(1.0, miou.p_value * count)
        yield f"p below {SIGNIFICANT:.2f} for all {count} declared comparisons together; it is {family:.3f}"


def _lacking_design(setting: ComparisonContext) -> Iterator[str]:
    if setting.smoke:
        yield "full trainings; a run was a smoke run"
    if setting.overlap:
        shared = join_first(setting.overlap)
        yield f"scenes in one split only; the test is too easy where a run has them in two splits: {shared}"
    if setting.shared:
        pairs = join_first([f"{one} and {other}" for one, other in setting.shared])
        yield f"ground in one split only; the test is too easy where chips of two splits show the same: {pairs}"
    if setting.limited:
        yield "whole splits; those of a run were cut down to some of their chips"
    if setting.each_chip_is_a_scene:
        yield f"scenes of several chips; there are {setting.chips} chips of {setting.scenes} scenes (--scenes)"
    yield from setting.data


def _lacking_controls(against: Mapping[str, Estimate], setting: ComparisonContext) -> Iterator[str]:
    if not against:
        yield "a control, so nothing rules out other explanations of a difference"
    # all arms named as controls are none by their records
    elif len(setting.no_controls) == len(against):
        reasons = "; ".join(f"{name}: {why}" for name, why in setting.no_controls.items())
        yield f"a control by its record, so nothing rules out other explanations of a difference ({reasons})"
    for name, entry in against.items():
        if not entry.is_above_zero:
            yield f"being better than control {name}: {format_interval(entry)}"


def points(share: float) -> str:
    """Format a share as percentage points with sign."""
    return f"{100 * share:+.2f} pp".replace("-", "−")


def format_p(p_value: float) -> str:
    """Format a p-value, which is never exactly zero."""
    # below 0.0005, three decimals would print 0.000
    return "p < 0.001" if p_value < 0.0005 else f"p = {p_value:.3f}"


def format_interval(entry: Estimate) -> str:
    """Format a difference with its interval."""
    if entry.low is None or entry.high is None:
        return f"{points(entry.difference)} (no interval)"
    return f"{points(entry.difference)} [{points(entry.low)}, {points(entry.high)}]"


def _result(miou: Estimate, setting: ComparisonContext) -> str:
    baseline, candidate = setting.titles
    begin = f"The mIoU of {candidate} differs from that of {baseline} by {points(miou.difference)}"
    if miou.low is None or miou.high is None:
        return f"{begin}; all test chips are of a single scene, so there is no interval."
    ends = f"95 % interval {points(miou.low)} to {points(miou.high)}, {format_p(miou.p_value)}"
    zero = "covers zero" if miou.covers_zero else "does not cover zero"
    luck = "; it says nothing about other seeds" if min(setting.runs) == 1 else ""
    return f"{begin} ({ends}, {pluralize(setting.scenes, 'scene')}); the interval {zero}{luck}."


def _pairing(setting: ComparisonContext) -> str:
    if setting.pairing:
        return f"Runs are not paired by seed: {setting.pairing}."
    if min(setting.runs) == 1:
        return "Both arms have one run, of the same seed."
    return f"Runs are paired by seed ({setting.runs[0]} seeds)."


def _resolution(miou: Estimate, setting: ComparisonContext) -> Iterator[str]:
    if miou.resolvable is None or miou.standard_error is None:
        return
    # also keeps the shares below from dividing by a variance of 0
    if not miou.standard_error:
        yield "The difference is the same in every scene, so their power cannot be estimated."
        return
    total = sum(part.variance for part in miou.parts)
    shares = ", ".join(f"{100 * part.variance / total:.0f} % {part.name}" for part in miou.parts)
    # doubling each shows which of the two is worth adding
    scenes, seeds = (2 * setting.scenes, 2 * min(setting.runs))
    text = f"The smallest difference found with 80 % power is about {100 * miou.resolvable:.2f} pp"
    text += f" (variance: {shares}); with {scenes} scenes {_pp(miou.resolvable_with(scenes=scenes))}"
    # with one run there is no part of the seeds, so the formula would promise nothing from more of them
    yield text + (
        f", with {seeds} seeds {_pp(miou.resolvable_with(seeds=seeds))}." if len(miou.parts) > 1 else "."
    )


def _pp(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} pp"
