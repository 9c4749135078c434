"""What a control is, read from its record: what a run was trained on decides, not what it is called."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from augment_store.store.spec import GenerationSpec
from eval.compare.arms import Arm
from finetune.augment.controls import ANALYTIC_NDVI, CONSTANT, SHUFFLE
from finetune.run.recipe import describe, differences

RANDOM: Final = "random generator"

RULES_OUT: Final[Mapping[str, str]] = {
    SHUFFLE: "that any real map would do, whatever its chip",
    CONSTANT: "that a wider network would do, without a map",
    RANDOM: "that a generator which has learned nothing would do",
    ANALYTIC_NDVI: "that NDVI from the chip's own bands would do",
}
"""What beating each kind of control rules out."""


@dataclasses.dataclass(frozen=True)
class ControlRecord:
    """What an arm named as a control is.

    Attributes:
        name: Its name.
        kind: Key of `RULES_OUT`; empty if it is no control.
        why_not: Why it is no control; empty if it is one.
    """

    name: str
    kind: str
    why_not: str = ""


def control_record(control: Arm, candidate: Arm) -> ControlRecord:
    """Tell what an arm named as a control is; it counts only if it keeps all of the candidate but one thing."""
    if not control.scores[0].origin.trained:
        return ControlRecord(control.name, "", "a zero-shot map is shown, but is no control by itself")
    kind = _kind(control, candidate)
    why_not = _otherwise_different(control, candidate, kind) if kind else "its record is that of no control"
    return ControlRecord(control.name, "" if why_not else kind, why_not)


def _kind(control: Arm, candidate: Arm) -> str:
    ours, theirs = control.scores[0].origin, candidate.scores[0].origin
    # a candidate with the same control would be no contrast
    if ours.augment.control in RULES_OUT and theirs.augment.control != ours.augment.control:
        return ours.augment.control or ""
    if ours.spec is not None and ours.spec.weights == "random" and not _is_random(theirs.spec):
        return RANDOM
    return ""


def _is_random(spec: GenerationSpec | None) -> bool:
    return spec is not None and spec.weights == "random"


def _otherwise_different(control: Arm, candidate: Arm, kind: str) -> str:
    """Find what else sets a control apart from the candidate; empty if nothing does."""
    ours, theirs = control.scores[0].origin, candidate.scores[0].origin
    # as text: an unknown seed is None, which does not sort among numbers
    seeds = [sorted(str(score.origin.seed) for score in arm.scores) for arm in (control, candidate)]
    if seeds[0] != seeds[1]:
        return f"it has the seeds {', '.join(seeds[0])}, the candidate {', '.join(seeds[1])}"
    # what is left of `Provenance.arm`: the control must differ, and the fingerprint depends on its kind
    for key in ("encoding", "new_columns", "architecture", "sample"):
        if ours.arm[key] != theirs.arm[key]:
            return f"its {key} is {ours.arm[key] or 'none'}, the candidate's {theirs.arm[key] or 'none'}"
    # both replace the candidate's own maps; analytic NDVI needs no maps, random ones are in another store
    if kind in (SHUFFLE, CONSTANT) and ours.arm["fingerprint"] != theirs.arm["fingerprint"]:
        return "it was made from another store than the candidate"
    if kind == RANDOM and (other := _other_spec(ours.spec, theirs.spec)):
        return f"its store differs from the candidate's in more than the weights: {other}"
    return describe(differences(ours.recipe, theirs.recipe), control.name, "the candidate")


def _other_spec(one: GenerationSpec | None, other: GenerationSpec | None) -> str:
    """Name the first field in which two specs differ, weights and the seed of the draw aside."""
    if one is None or other is None:
        return "the candidate's spec is not recorded"
    # as if it had the other's weights and draw: what differs then is something else
    alike = dataclasses.replace(
        one,
        weights=other.weights,
        network_sha256=other.network_sha256,
        tokenizer_sha256=other.tokenizer_sha256,
        sampling=dataclasses.replace(one.sampling, seed=other.sampling.seed),
    )
    return next(iter(alike.differences(other)), "")


def control_words(records: Sequence[ControlRecord], beaten: Sequence[str]) -> tuple[str, ...]:
    """Say what the beaten controls rule out and what is still open.

    Args:
        records: What each named control is.
        beaten: Names of those that the candidate is better than.
    """
    # by kind: two controls of one kind rule out one explanation
    ruled = {entry.kind: entry.name for entry in records if entry.kind and entry.name in beaten}
    open_kinds = [kind for kind in RULES_OUT if kind not in ruled]
    words = [f"Ruled out {RULES_OUT[kind]} (control {name})." for kind, name in ruled.items()]
    words += [f"No control: {entry.name}, since {entry.why_not}." for entry in records if not entry.kind]
    if open_kinds:
        words.append(f"Still open: {'; '.join(f'{RULES_OUT[kind]} ({kind})' for kind in open_kinds)}.")
    return tuple(words)
