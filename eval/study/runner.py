"""Running a study's commands: a finished step is recorded with its command, and is not run again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pydantic import ConfigDict

from augment_store.cli.parser import run_guarded
from augment_store.io.files import atomic_write, read_text
from augment_store.io.lock import file_lock
from augment_store.io.remote import without_secrets
from augment_store.store.history import command_line as as_command_line
from augment_store.utils.validation import STRICT, ValidationError, load_json, parse
from eval.errors import EvaluationError
from eval.study.config import CommandArgs
from eval.study.plan import Step
from finetune.errors import RunError
from finetune.run.manifest import CHECKPOINTS, MANIFEST, RunManifest

DONE: Final = "done"
"""Folder of a study with a record per finished step."""


@dataclass(frozen=True)
class StepRecord:
    """A finished step.

    Attributes:
        words: Its command, as `Step.words`.
        seconds: How long it took.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    words: CommandArgs
    seconds: float


def missing_steps(out: Path, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps that are not done, or whose inputs an earlier missing step will remake.

    Args:
        out: Folder of the study.
        steps: In order.

    Raises:
        EvaluationError: If a costly step was done by another command than the study has now, or from something that is
            gone.
    """
    left: dict[str, Step] = {}
    for step in steps:
        if step.kind == "encode" and all(_is_done(out, reader) for reader in _readers(step, steps)):
            continue  # features that have served may be deleted
        # inputs that a step still to run will make again, so that this product would be of the old ones; features that
        # are made again are the same, as trainings find them by what they were made from
        anew = [name for name in step.after if name in left and left[name].kind != "encode"]
        done = _is_done(out, step)
        if done and anew and step.costly:
            raise EvaluationError(
                f"step {step.name} was done from what {anew[0]} made, which is no longer there; put it back, choose "
                f"another out, or remove {_record_path(out, step)} and {step.folder}"
            )
        if not done or anew:
            left[step.name] = step
    return tuple(left.values())


def _readers(encoding: Step, steps: Sequence[Step]) -> list[Step]:
    """Return the trainings that read features."""
    return [step for step in steps if step.kind == "fit" and str(encoding.folder) in step.words]


def forget(out: Path, steps: Sequence[Step]) -> None:
    """Remove the records of steps about to be run, so that an interruption leaves no record of a stale product."""
    for step in steps:
        _record_path(out, step).unlink(missing_ok=True)


def step_command(step: Step) -> str:
    """Return the command as a user would type it, with the checkpoint from which an interrupted training resumes."""
    module, *arguments = resuming_words(step)
    return as_command_line(module, arguments)


def run_step(out: Path, step: Step, find: Callable[[str], Callable[[Sequence[str]], int]]) -> int:
    """Run a command in this process and keep the record of a whole product.

    Args:
        out: Folder of the study.
        step: What to run.
        find: Gives the function behind a module.

    Returns:
        Its exit status; 1 if it says 0, but left no product or a training that is not complete.
    """
    # a job may wait for its turn for days, and another start of the study do its step meanwhile
    if is_recorded(out, step) and _is_whole(step):
        sys.stdout.write(f"step {step.name} is done already\n")
        return 0
    started, words = time.monotonic(), resuming_words(step)
    # unchanged words: there is no checkpoint, so what an interrupted start left is of no use
    fresh = step.checkpoint is not None and words == step.words
    if fresh and (status := run_guarded(lambda: _discard_unfinished(step.folder))):
        return status
    module, *arguments = words
    status = find(module)(arguments)
    if status == 0 and not _is_whole(step):
        sys.stderr.write(f"error: step {step.name} {_unfinished(step)}\n")
        return 1
    if status == 0:
        # last of all, so that a record stands for a whole product
        record = {"words": _kept(step), "seconds": round(time.monotonic() - started, 1)}
        atomic_write(_record_path(out, step), [json.dumps(record, indent=1).encode() + b"\n"])
    return status


def is_recorded(out: Path, step: Step) -> bool:
    """Return whether a step that was about to be run, hence forgotten, has been done since."""
    return _record_path(out, step).is_file()


def recorded_seconds(out: Path, steps: Sequence[Step]) -> dict[str, list[float]]:
    """Return how long the steps that are done took, by their kind."""
    found: dict[str, list[float]] = {}
    for step in steps:
        if is_recorded(out, step):
            found.setdefault(step.kind, []).append(_read_record(_record_path(out, step)).seconds)
    return found


def _is_whole(step: Step) -> bool:
    """Return whether a step's product is there, and a training finished: its exit status alone does not tell."""
    return step.product.exists() and (step.checkpoint is None or _is_complete(step.folder))


def _unfinished(step: Step) -> str:
    return "was interrupted before it was complete" if step.product.exists() else f"left no {step.product}"


def _is_complete(run: Path) -> bool:
    try:
        return RunManifest.read(run).complete
    except RunError:
        return False


def _discard_unfinished(run: Path) -> int:
    """Remove what a training left that was interrupted before it had a checkpoint to resume from; return 0.

    The manifest goes last, so that an interruption here is seen as the same state again.

    Raises:
        StoreBusyError: If that training still runs, as a job of a scheduler that has outlived its study.
    """
    if not (run / MANIFEST).is_file():
        return 0
    with file_lock(run):
        # a whole run was not made by this study: the training refuses to replace it
        if not _is_complete(run):
            for left in (run / CHECKPOINTS).glob("*.ckpt"):
                left.unlink()
            (run / MANIFEST).unlink(missing_ok=True)
    return 0


def resuming_words(step: Step) -> tuple[str, ...]:
    """Return the words of a step, with the checkpoint from which an interrupted training resumes."""
    if step.checkpoint is None or not step.checkpoint.is_file():
        return step.words
    words, kept = iter(step.words), []
    for word in words:
        if word == "--init":  # from which the run has started
            next(words, None)
        elif not word.startswith("--init="):
            kept.append(word)
    return (*kept, "--ckpt_path", str(step.checkpoint))


def _kept(step: Step) -> CommandArgs:
    """Return the words of a step as they are recorded: their URLs without secrets."""
    return tuple(map(without_secrets, step.words))


def _record_path(out: Path, step: Step) -> Path:
    return out / DONE / f"{step.name}.json"


def _read_record(record: Path) -> StepRecord:
    try:
        return parse(StepRecord, load_json(read_text(record)))
    except (ValueError, ValidationError) as error:
        raise EvaluationError(
            f"{record}: cannot be read ({error}); remove it to do the step again"
        ) from error


def _is_done(out: Path, step: Step) -> bool:
    record = _record_path(out, step)
    if not record.is_file() or not _is_whole(step):
        return False
    # a cheap step with another command counts as not done; a costly one is for the user to decide
    same = _read_record(record).words == _kept(step)
    if not same and step.costly:
        raise EvaluationError(
            f"step {step.name} was done by another command than {step_command(step)}; choose another out, or remove "
            f"{record} and what it made"
        )
    return same
