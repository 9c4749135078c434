"""How far a study is: a line for each step that is done, and a live table of jobs side by side on a terminal."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from augment_store.utils.progress import format_duration
from eval.study.jobs import Job
from eval.study.plan import Step
from eval.study.runner import step_command

EPOCH: Final = re.compile(rb"^epoch (\d+(?: of \d+)?):", re.MULTILINE)
"""Beginning of the line that a training writes after each epoch."""

TAIL_BYTES: Final = 4096
"""Bytes at the end of a log in which the last epoch is looked for."""


@dataclass
class _Running:
    """A job that runs.

    Attributes:
        job: The job.
        device: Its device, empty if it has none of its own.
        log: File of its output.
        since: When its present step began, by the clock.
        done: Number of its steps that are done.
    """

    job: Job
    device: str
    log: Path | None
    since: float
    done: int = 0

    @property
    def step(self) -> Step:
        """Return the step that it is at."""
        return self.job.steps[min(self.done, len(self.job.steps) - 1)]


@dataclass
class StudyProgress:
    """Tells how far a study is; see `eval.study.jobs.JobProgress`.

    Attributes:
        left: Steps that are to be run.
        total: Number of steps of the study, with those that were done before.
        places: Number of jobs at a time.
        seconds: How long steps took that were done before, by kind.
        clock: Seconds of a clock that never goes back.
        console: Where the table is drawn; None if jobs write to the terminal themselves.
    """

    left: Sequence[Step]
    total: int
    places: int = 1
    seconds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    console: Console | None = None

    def __post_init__(self) -> None:
        self._left = {step.name: step for step in self.left}
        self._took = {kind: list(found) for kind, found in self.seconds.items()}
        self._running: dict[str, _Running] = {}
        self._live: Live | None = None

    @contextlib.contextmanager
    def drawn(self) -> Iterator[StudyProgress]:
        """Draw the table while the study runs, where there is a terminal to draw on."""
        if self.console is None or not self.console.is_terminal:
            yield self
            return
        with Live(
            console=self.console, get_renderable=self.table, refresh_per_second=1, transient=True
        ) as live:
            self._live = live
            yield self

    def started(self, job: Job, device: str, log: Path | None) -> None:
        """Print the commands of a job."""
        self._running[job.name] = _Running(job, device, log, self.clock())
        for step in job.steps:
            self._print(step_command(step))
        if log is not None:
            where = f" on {device}" if device else ""
            self._print(f"# {job.steps[0].title} runs{where}; its output: {log}")

    def finished(self, step: Step) -> None:
        """Print how long a step took and how much time is left: ``[3/15] fit tim seed 2 … 58 s, about 9 min left``."""
        running = next(entry for entry in self._running.values() if step in entry.job.steps)
        seconds = self.clock() - running.since
        running.done, running.since = running.done + 1, self.clock()
        if running.done == len(running.job.steps):
            del self._running[running.job.name]
        self._took.setdefault(step.kind, []).append(seconds)
        del self._left[step.name]
        left = self.seconds_left()
        tail = "" if left is None or not self._left else f", about {format_duration(left)} left"
        done = self.total - len(self._left)
        self._print(f"[{done}/{self.total}] {step.title} … {format_duration(seconds)}{tail}")

    def stopped(self, job: Job) -> None:
        """Print that a job failed or was interrupted, and how long it had run; nothing if its steps are done."""
        running = self._running.pop(job.name, None)
        if running is None:
            return
        text = f"{running.step.title} … stopped after {format_duration(self.clock() - running.since)}"
        self._print(f"[–/{self.total}] {text}")

    def seconds_left(self) -> float | None:
        """Estimate the time left from the means of the steps done; None while a costly kind has none."""
        # copies, as the table asks from a thread of its own, while steps end
        took, left, running = list(self._took.items()), [*self._left.values()], [*self._running.values()]
        means = {kind: fmean(found) for kind, found in took}
        if any(step.costly and step.kind not in means for step in left):
            return None
        # scores and reports take little: until there is one, they count as nothing
        work = sum(means.get(step.kind, 0.0) for step in left)
        spent = [min(self.clock() - entry.since, means.get(entry.step.kind, 0.0)) for entry in running]
        return (work - sum(spent)) / min(self.places, max(1, len(left)))

    def table(self) -> RenderableType:
        """Return the jobs that run, one a row, above the count of steps and the time left."""
        rows = Table("step", "device", "epoch", "time", "left", box=None, pad_edge=False)
        for entry in list(self._running.values()):
            took, spent = self._took.get(entry.step.kind), self.clock() - entry.since
            rest = "" if took is None else format_duration(max(0.0, fmean(took) - spent))
            rows.add_row(
                entry.step.title, entry.device or "–", last_epoch(entry.log), format_duration(spent), rest
            )
        left = self.seconds_left()
        tail = "" if left is None else f", about {format_duration(left)} left"
        return Group(rows, f"{self.total - len(self._left)} of {self.total} steps are done{tail}")

    def _print(self, line: str) -> None:
        # above the table, if there is one; rich would else wrap the line at its own width
        if self._live is not None:
            self._live.console.print(line, soft_wrap=True, markup=False, highlight=False)
            return
        sys.stdout.write(f"{line}\n")
        # a job is another process with the same output: unflushed, this line would come after its own
        sys.stdout.flush()


def last_epoch(log: Path | None) -> str:
    """Return the last epoch that a training's log tells of, as ``3 of 20``; empty if there is none."""
    if log is None or not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        found = EPOCH.findall(file.read())
    return found[-1].decode() if found else ""
