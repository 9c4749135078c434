"""`python -m eval.study.worker`: the process of a study's job, which runs its steps one after another."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from augment_store.cli.parser import run_guarded
from augment_store.cli.process import module_command
from augment_store.io.signals import end_with_parent
from augment_store.utils.validation import load_json, parse
from eval.study.plan import Step
from eval.study.runner import resuming_words, run_step

EntryPoint = Callable[[Sequence[str]], int]
"""Takes the arguments of a command and returns its exit status."""


@dataclass(frozen=True)
class Work:
    """What a worker is to do; see `worker_command`."""

    out: Path
    steps: tuple[Step, ...]
    ends_with_parent: bool


def entry_point(module: str) -> EntryPoint:
    """Import the function behind ``python -m module``, which needs no process of its own."""
    return cast(EntryPoint, importlib.import_module(f"{module}.__main__").main)


def worker_command(out: Path, steps: Sequence[Step], *, ends_with_parent: bool) -> list[str]:
    """Return the command of a process that runs steps.

    Args:
        out: Folder of the study.
        steps: The steps, in order.
        ends_with_parent: Whether its standard input is a pipe, whose end says that the parent has ended.
    """
    work = Work(out, tuple(steps), ends_with_parent)
    text = json.dumps(dataclasses.asdict(work), default=str)
    return [*module_command("eval.study.worker"), text]


def run_steps(out: Path, steps: Sequence[Step], find: Callable[[str], EntryPoint] = entry_point) -> int:
    """Run steps one after another and record each that is done.

    Args:
        out: Folder of the study.
        steps: The steps, in order.
        find: Gives the function behind a module.

    Returns:
        0, or the exit status of the first step that failed.
    """
    for step in steps:
        if status := run_step(out, step, find):
            return status
        if step.checkpoint is not None:
            gc.collect()  # a training's network must not lie beside the one that is scored
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run the steps that `worker_command` wrote down; return the exit status."""
    (text,) = arguments
    work = parse(Work, load_json(text))
    if work.ends_with_parent:
        end_with_parent()
    if sys.flags.safe_path:
        # Lightning starts further processes of a training by this very command, but without its -P
        os.environ["PYTHONSAFEPATH"] = "1"
    if os.environ.get("LOCAL_RANK", "0") != "0":
        # such a process only trains: the first one clears, judges, records and scores
        module, *words = resuming_words(work.steps[0])
        return entry_point(module)(words)
    return run_guarded(lambda: run_steps(work.out, work.steps))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
