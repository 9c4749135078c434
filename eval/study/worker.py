"""`python -m eval.study.worker`: a process that runs the steps of a study's jobs one after another."""

from __future__ import annotations

import dataclasses
import functools
import gc
import importlib
import json
import os
import queue
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
    """What a worker is to do; see `work_for`."""

    out: Path
    steps: tuple[Step, ...]
    log: Path | None = None
    ready: int | None = None


def entry_point(module: str) -> EntryPoint:
    """Import the function behind ``python -m module``, which needs no process of its own."""
    return cast(EntryPoint, importlib.import_module(f"{module}.__main__").main)


def work_for(out: Path, steps: Sequence[Step], log: Path | None = None, ready: int | None = None) -> str:
    """Write down as a line what a worker is to do.

    Args:
        out: Folder of the study.
        steps: The steps, in order.
        log: File that its output is added to; None for where it goes already.
        ready: Pipe to which the worker writes a byte when its steps are done and it waits for another line on its
            standard input, whose end says that the parent has ended; None for one that ends after its steps.
    """
    return json.dumps(dataclasses.asdict(Work(out, tuple(steps), log, ready)), default=str)


def worker_command(work: str) -> list[str]:
    """Return the command of a process that begins with work, as `work_for` wrote it down."""
    return [*module_command("eval.study.worker"), work]


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
        gc.collect()  # a training's network must not lie beside the one that is scored
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run the steps of `work_for`, and those of further lines on standard input; return the exit status."""
    (text,) = arguments
    if sys.flags.safe_path:
        # Lightning starts further processes of a training by this very command, but without its -P
        os.environ["PYTHONSAFEPATH"] = "1"
    work = parse(Work, load_json(text))
    if os.environ.get("LOCAL_RANK", "0") != "0":
        # such a process only trains: the first one clears, judges, records and scores
        module, *words = resuming_words(work.steps[0])
        return entry_point(module)(words)
    lines, ready = queue.SimpleQueue[str](), work.ready
    if ready is not None:
        end_with_parent(lines.put)
    environment, path = dict(os.environ), list(sys.path)
    while True:
        status = run_guarded(functools.partial(run_steps, work.out, work.steps))
        # modules of a user's own, whose names those of another arm may have
        if status or ready is None or sys.path != path:
            return status
        # where a training of several processes left that it runs, and any training how it should compute
        os.environ.clear()
        os.environ.update(environment)
        _reset_torch()
        os.write(ready, b".")
        text = lines.get()
        work = parse(Work, load_json(text))
        sys.argv[1:] = [text]  # what Lightning starts further processes by
        if work.log is not None:
            _write_to(work.log)


def _reset_torch() -> None:
    """Take back what a trainer sets for its whole process, and leave a GPU's memory to processes beside this one."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = False
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _write_to(log: Path) -> None:
    """Send what this process and its libraries write to the end of a file."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
