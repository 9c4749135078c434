"""What a study declared before its results: seeds, controls, comparisons and the test split, in a file that only grows.

A declaration names what will be compared before anything is trained. A claim then cannot be bought by leaving out a
seed, a control or a comparison afterwards: what was declared once must all be there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pydantic import ConfigDict

from augment_store.io.files import atomic_write, read_text
from augment_store.utils.text import join_first
from augment_store.utils.validation import STRICT, ValidationError, load_json, parse
from eval.compare.arms import CANDIDATE, Arm
from eval.compare.verdict import StudyContext
from eval.errors import EvaluationError

FILE: Final = "declarations.jsonl"
"""File of a study's folder: a declaration a line, the oldest first."""


@dataclass(frozen=True)
class DeclaredTest:
    """The test split as it was before anything was trained.

    Attributes:
        ids: SHA-256 of the sorted chip ids.
        masks: SHA-256 over ids and masks in that order.
        scenes: SHA-256 of the chips' scenes in that order.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    ids: str
    masks: str
    scenes: str


@dataclass(frozen=True)
class DeclaredComparison:
    """One comparison by the names of its arms."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    baseline: str
    candidate: str
    controls: tuple[str, ...]


@dataclass(frozen=True)
class Declaration:
    """One state of a study's design.

    Attributes:
        created: When it was declared, ISO 8601 in UTC.
        study_sha256: Digest of the study's settings.
        seeds: Seeds that every arm is trained with.
        comparisons: Comparisons by name.
        thresholds: Thresholds of the verdict in force.
        test: The test split; None if there was no chip set yet.
        previous: SHA-256 of the lines before, so that none can be changed or removed unseen.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    created: str
    study_sha256: str
    seeds: tuple[int, ...]
    comparisons: Mapping[str, DeclaredComparison]
    thresholds: Mapping[str, float]
    test: DeclaredTest | None = None
    previous: str = ""


def read_declarations(folder: Path) -> tuple[Declaration, ...]:
    """Read what a study declared, the oldest first; empty if it has declared nothing.

    Raises:
        EvaluationError: If the file is damaged, or a line was changed or removed.
    """
    path = folder / FILE
    if not path.exists():
        return ()
    found, before = [], ""
    try:
        for line in read_text(path).splitlines():
            entry = parse(Declaration, load_json(line))
            if entry.previous != _chain_digest(before):
                raise ValueError("a line was changed or removed after it was written")
            found.append(entry)
            # a chain: each line holds the digest of all lines before it
            before += f"{line}\n"
    except (OSError, ValueError, ValidationError) as error:
        raise EvaluationError(
            f"{path}: not the declarations of a study ({error}); restore the file, or declare anew in another out"
        ) from error
    return tuple(found)


def declare(folder: Path, entry: Declaration) -> None:
    """Add a declaration to a study's folder, unless it is what was declared last.

    Raises:
        EvaluationError: If the earlier declarations cannot be read.
        OutputError: If the file cannot be written.
    """
    # a study that is run again declares nothing new: all but the date and the chain is the same
    earlier = read_declarations(folder)
    if earlier and dataclasses.replace(earlier[-1], created="", previous="") == dataclasses.replace(
        entry, created="", previous=""
    ):
        return
    before = read_text(folder / FILE) if earlier else ""
    line = json.dumps(
        dataclasses.asdict(dataclasses.replace(entry, previous=_chain_digest(before))), sort_keys=True
    )
    # the whole file anew: a crash while a line is appended would leave half of it
    atomic_write(folder / FILE, [f"{before}{line}\n".encode()])


def _chain_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def study_context(folder: Path, name: str, arms: Sequence[Arm]) -> StudyContext:
    """Hold a comparison against what its study declared.

    Args:
        folder: Folder of the study.
        name: Name of the comparison.
        arms: Baseline, candidate, then controls.

    Raises:
        EvaluationError: If there are no declarations, or they cannot be read.
    """
    made = read_declarations(folder)
    if not made:
        raise EvaluationError(
            f"{folder}: holds no {FILE}, so it is not the out folder of a study that has run"
        )
    return StudyContext(
        study_sha256=made[-1].study_sha256,
        # over all lines, so that a comparison dropped later still counts among the tests that were made
        comparisons=len({other for entry in made for other in entry.comparisons}),
        dates=tuple(entry.created for entry in made),
        lacking=tuple(_lacking(folder, name, made, arms)),
    )


def _lacking(folder: Path, name: str, made: Sequence[Declaration], arms: Sequence[Arm]) -> Iterator[str]:
    asked = [(entry, entry.comparisons[name]) for entry in made if name in entry.comparisons]
    if not asked:
        others = dict.fromkeys(other for entry in made for other in entry.comparisons)
        yield f"a declaration of comparison {name}; declared are {join_first(others)}"
        return
    # all that was ever declared counts: a later declaration must not take back what results made inconvenient
    seeds = sorted({seed for entry, _ in asked for seed in entry.seeds})
    controls = dict.fromkeys(control for _, entry in asked for control in entry.controls)
    yield from _undeclared_controls(controls, arms)
    for arm, known in zip(arms, _declared_names(asked[-1][1], arms), strict=True):
        yield from _undeclared_runs(folder, arm, known, seeds)
    yield from _declared_late(asked, arms)
    # the first declaration: a later one may have been made with results at hand
    yield from _other_test(asked[0][0].test, arms[0])


def _undeclared_controls(controls: Mapping[str, None], arms: Sequence[Arm]) -> Iterator[str]:
    missing = [control for control in controls if control not in {arm.name for arm in arms[2:]}]
    if missing:
        yield f"declared controls: {join_first(missing)}"


def _declared_names(comparison: DeclaredComparison, arms: Sequence[Arm]) -> tuple[str, ...]:
    """Return the study's own names of the arms: roles have names of their own."""
    return (comparison.baseline, comparison.candidate, *(arm.name for arm in arms[2:]))


def _undeclared_runs(folder: Path, arm: Arm, name: str, seeds: Sequence[int]) -> Iterator[str]:
    """Find declared seeds that an arm lacks, and runs that are not the study's own."""
    if not arm.scores[0].origin.trained:
        return  # a zero-shot map has no seeds of training
    there = {score.origin.seed for score in arm.scores}
    missing = [str(seed) for seed in seeds if seed not in there]
    if missing:
        yield f"declared seeds: {arm.name} has no run of seed {join_first(missing)}"
    known = (folder / "runs" / name).resolve()
    strange = [score.folder for score in arm.scores if score.folder.resolve().parent != known]
    if strange:
        yield f"runs of the study: {strange[0]} of {arm.name} is not one in {folder / 'runs' / name}"
    undeclared = sorted(str(seed) for seed in there if seed is not None and seed not in seeds)
    if undeclared:
        yield f"seeds that were declared: seed {join_first(undeclared)} of {arm.name} was not"


def _declared_late(
    asked: Sequence[tuple[Declaration, DeclaredComparison]], arms: Sequence[Arm]
) -> Iterator[str]:
    """Find runs of the candidate that began before their seed was declared."""
    candidate = next(arm for arm in arms if arm.name == CANDIDATE)
    for score in candidate.scores:
        # lines are oldest first, so this is when the seed was first declared
        since = next((entry.created for entry, _ in asked if score.origin.seed in entry.seeds), None)
        began = None if score.origin.run is None else score.origin.run.created
        # both are ISO 8601 in UTC to the second, whose order as text is that in time
        if since is not None and began is not None and began < since:
            yield f"a declaration before the training: {score.folder} began {began}, it was declared {since}"
            return


def _other_test(declared: DeclaredTest | None, arm: Arm) -> Iterator[str]:
    if declared is None:
        yield "a test split that was recorded before the trainings; there was no chip set when it was declared"
        return
    counts, test = arm.scores[0].counts, arm.scores[0].origin.test
    now = DeclaredTest(
        test.ids, test.masks, digest_of_scenes(dict(zip(counts.chip_ids, counts.scene_ids, strict=True)))
    )
    differing = [
        what
        for what, key in (("chips", "ids"), ("masks", "masks"), ("scenes", "scenes"))
        if getattr(declared, key) != getattr(now, key)
    ]
    if differing:
        yield f"the test split that was declared; its {' and '.join(differing)} are others now"


def digest_of_scenes(scenes: Mapping[str, str]) -> str:
    """Return the SHA-256 of chips' scenes, in the order of the chips' ids."""
    return hashlib.sha256("\n".join(scenes[chip_id] for chip_id in sorted(scenes)).encode()).hexdigest()
