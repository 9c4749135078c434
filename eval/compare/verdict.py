"""The gate: a difference and its interval to a verdict in plain words."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from eval.compare.inference import LEVEL, Estimate

STRONG_ABOVE: Final = 0.02
IMPROVEMENT_FROM: Final = 0.01
"""Difference in mIoU from which a published bundle may claim an improvement."""

SIGNIFICANT: Final = 1 - LEVEL


class Grade(enum.StrEnum):
    """The gate's grades, from worst to best."""

    NEGATIVE = "negative"
    ACCEPTABLE = "acceptable"
    STRONG = "strong"

    def reaches(self, wanted: Grade) -> bool:
        """Whether this grade is at least `wanted`."""
        order = list(Grade)
        return order.index(self) >= order.index(wanted)


@dataclass(frozen=True)
class Setting:
    """What a comparison was made of, as far as it limits what can be said.

    Attributes:
        scenes: Number of test scenes.
        runs: Number of runs of each trained arm, baseline and candidate first.
        smoke: Whether one of the runs was cut down to a few steps.
        overlap: Scenes that are in two splits of one of the runs.
        limited: Whether the splits of one of the runs were cut down to some of their chips.
    """

    scenes: int
    runs: tuple[int, ...]
    smoke: bool
    overlap: tuple[str, ...] = ()
    limited: bool = False


@dataclass(frozen=True)
class Verdict:
    """What follows from a comparison.

    Attributes:
        grade: On the point estimate: strong above +2 points of mIoU, acceptable from 0, negative below.
        inconclusive: Whether the interval covers zero, or there is none.
        explained_by: Controls that do as well as the candidate, on the point estimate; none without a gain.
        not_told_apart: Controls that do worse on the point estimate, but whose interval to the candidate covers zero.
        words: The verdict as sentences.
    """

    grade: Grade
    inconclusive: bool
    explained_by: tuple[str, ...]
    not_told_apart: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The verdict in a few words."""
        doubts = ["inconclusive"] if self.inconclusive else []
        doubts += [f"explained by control {name}" for name in self.explained_by]
        return ", ".join([str(self.grade), *doubts])


def grade_of(difference: float) -> Grade:
    """Grade of a difference in mIoU, as a share."""
    if difference > STRONG_ABOVE:
        return Grade.STRONG
    return Grade.ACCEPTABLE if difference >= 0 else Grade.NEGATIVE


def judge(miou: Estimate, against: Mapping[str, Estimate], setting: Setting) -> Verdict:
    """Verdict on a candidate.

    Args:
        miou: Its difference in mIoU to the baseline.
        against: Its difference in mIoU to each control.
        setting: What the comparison was made of.
    """
    rivals = against if miou.difference > 0 else {}  # else there is no gain to explain
    explained = tuple(name for name, entry in rivals.items() if entry.difference <= 0)
    unclear = tuple(n for n, entry in rivals.items() if n not in explained and entry.covers_zero)
    words = [_result(miou), _interval(miou, setting.scenes)]
    words += [_resolution(miou, setting)] if miou.resolvable is not None else []
    words += [f"Explained by control {name}: it does as well as the candidate." for name in explained]
    words += [f"Not told apart from control {name}: that interval covers zero." for name in unclear]
    words += _limits(setting, controlled=bool(against))
    return Verdict(grade_of(miou.difference), miou.covers_zero, explained, unclear, tuple(words))


def _limits(setting: Setting, *, controlled: bool) -> list[str]:
    words = []
    if not controlled:
        words.append("No control was given, so nothing is said about what else could explain a difference.")
    if 1 in setting.runs:
        words.append(
            "With one run of an arm, how much its training varies by seed is in neither interval nor p-values: "
            "they hold for these seeds."
        )
    if setting.smoke:
        words.append(
            "A run was a smoke run of a few steps: these numbers show that the chain works, no more."
        )
    if setting.overlap:
        words.append(
            f"Scenes in two splits of a run, so that the test is too kind: {', '.join(setting.overlap)}."
        )
    if setting.limited:
        words.append(
            "A run's splits were cut down to some of their chips, so it is not what whole splits give."
        )
    return words


def points(share: float) -> str:
    """A share as percentage points with sign."""
    return f"{100 * share:+.2f} pp".replace("-", "−")


def _result(miou: Estimate) -> str:
    grade = grade_of(miou.difference)
    return f"{str(grade).capitalize()}: the candidate's mIoU differs from the baseline's by {points(miou.difference)}."


def _interval(miou: Estimate, scenes: int) -> str:
    if miou.low is None or miou.high is None:
        return "Inconclusive: all test chips are of a single scene, so there is no interval."
    span = f"95 % interval {points(miou.low)} to {points(miou.high)} ({miou.method}, {scenes} scenes)"
    if miou.covers_zero:
        return f"Inconclusive: the {span} covers zero, so no difference is just as compatible with the data."
    return f"The {span} does not cover zero."


def _resolution(miou: Estimate, setting: Setting) -> str:
    if not miou.resolvable:
        return "The difference is the same in every scene, so nothing tells how small a difference they could find."
    scenes, smallest = setting.scenes, 2.0 ** (1 - setting.scenes)
    text = (
        f"With {scenes} scenes the smallest difference found with 80 % power is about "
        f"{100 * miou.resolvable:.2f} pp."
    )
    if smallest > SIGNIFICANT and max(setting.runs[:2], default=1) == 1:
        text += f" An exact sign-flip test over {scenes} scenes cannot go below p = {smallest:.3f}."
    return text
