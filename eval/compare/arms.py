"""Arms of a comparison and what is estimated from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import pydantic.dataclasses

from augment_store.utils.notebook import to_html
from augment_store.utils.text import join_first, pluralize
from eval.compare.inference import ClassEstimate, Estimate
from eval.compare.verdict import ComparisonContext, Verdict, format_interval
from eval.score.counts import Confusion
from eval.score.metrics import FINITE, INTERVALS, MIOU, Keyed
from eval.score.record import Score, run_of

BASELINE: Final = "baseline"
CANDIDATE: Final = "candidate"

_COMPARED: Final = Keyed(tuple(metric for metric in INTERVALS if not metric.by_class))
_COMPARED_BY_CLASS: Final = Keyed(tuple(metric for metric in INTERVALS if metric.by_class))

# seed_1, tim-seed2 or tim_3; at most three digits after a separator, so that a year stays: lulc_2021
_SEED: Final = re.compile(r"[_-]?seed[_-]?\d+$|[_-]\d{1,3}$")
"""End of a run directory's name that distinguishes the runs of an arm."""


@dataclass(frozen=True)
class Arm:
    """Runs of one training configuration.

    Attributes:
        name: ``baseline``, ``candidate`` or the control's name.
        scores: Scores of its runs, one per seed, all with the chips in the same order.
    """

    name: str
    scores: tuple[Score, ...]

    @property
    def title(self) -> str:
        """Return the name of its run directories without the seed: ``tim_lulc`` for ``runs/tim_lulc/seed_1``."""
        titles = dict.fromkeys(_title(score) for score in self.scores)
        # names such as tim1 and tim2, which `_SEED` leaves whole, are one without their digits
        shared = dict.fromkeys(title.rstrip("0123456789") for title in titles)
        return (
            join_first(shared if len(shared) == 1 and "" not in shared else titles)
            if len(titles) > 1
            else join_first(titles)
        )

    @property
    def counts(self) -> Confusion:
        """Return the counts ``[seed, scene, class, class + 1]``."""
        return np.stack([score.counts.by_scene() for score in self.scores])


@pydantic.dataclasses.dataclass(frozen=True, config=FINITE)
class Difference:
    """How one arm differs from another: the first arm named minus the second.

    Attributes:
        overall: Estimates by the metric's key.
        by_class: Estimates by the metric's key, then by class in the reference.
    """

    overall: Annotated[dict[str, Estimate], _COMPARED]
    by_class: Annotated[dict[str, dict[str, ClassEstimate]], _COMPARED_BY_CLASS]

    @property
    def miou(self) -> Estimate:
        """Return the estimate of the headline metric."""
        return self.overall[MIOU.key]


@dataclass(frozen=True, repr=False)
class Comparison:
    """Everything that goes into a report.

    Attributes:
        arms: Baseline, candidate, then controls.
        differences: Differences of every other arm from the baseline, by the arm's name.
        against: Differences of the candidate from each control, by the control's name.
        verdict: What follows from them.
        setting: How the comparison was made.
    """

    arms: tuple[Arm, ...]
    differences: Mapping[str, Difference]
    against: Mapping[str, Difference]
    verdict: Verdict
    setting: ComparisonContext

    def __len__(self) -> int:
        """Return the number of test chips that were compared."""
        return len(self.baseline.scores[0])

    def __repr__(self) -> str:
        return f"<Comparison of {pluralize(len(self), 'chip')}: {self.verdict.headline}>"

    def _repr_html_(self) -> str:
        """Return the verdict and the difference of each arm from the baseline as a table."""
        rows = {
            f"{arm.title} ({arm.name})": "baseline"
            if arm.name == BASELINE
            else format_interval(self.differences[arm.name].miou)
            for arm in self.arms
        }
        rows |= {"lacks for a claim": "; ".join(self.verdict.lacking) or "nothing"}
        return to_html(self.verdict.headline, rows, {})

    @property
    def baseline(self) -> Arm:
        """Return the arm compared with."""
        return self.arms[0]

    @property
    def candidate(self) -> Arm:
        """Return the arm in question."""
        return self.arms[1]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes by label."""
        return self.baseline.scores[0].counts.class_names

    @property
    def scenes(self) -> tuple[str, ...]:
        """Return the scenes of the test split."""
        return self.baseline.scores[0].counts.scenes


def titles(first: Arm, second: Arm) -> tuple[str, str]:
    """Return the titles of two arms; their roles if their directories do not distinguish them."""
    if first.title == second.title:
        return first.name, second.name
    return first.title, second.title


def _title(score: Score) -> str:
    folder = score.folder.absolute()
    run = run_of(folder)
    # of seed_1 nothing is left: then the folder above has the name
    name = _SEED.sub("", run.name) or run.parent.name
    return name if run == folder else f"{name} {folder.name}"
