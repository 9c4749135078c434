"""Progress of long work on stderr: a bar on a terminal, a line from time to time elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from types import TracebackType
from typing import Final, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from augment_store.utils.text import pluralize

Item = TypeVar("Item")

LINE_SECONDS: Final = 30
"""Seconds after which a log is told again how far the work is."""

LINE_SHARE: Final = 0.05
MIN_LINE_SECONDS: Final = 5
"""A log gets a line earlier than `LINE_SECONDS` for this share of the work, but not more often than that."""


class _RateColumn(TextColumn):
    """Units per second since the start."""

    def __init__(self, unit: str) -> None:
        super().__init__("")
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return the rate as text."""
        # once the task is finished, its rate stands still
        seconds = task.finished_time or task.elapsed
        return Text(f"{format_rate(task.completed / seconds)} {self._unit}s/s" if seconds else "")


class ProgressReporter:
    """Report how far a piece of work is: count, rate and time left.

    On a terminal (and in a notebook with ipywidgets) it draws one bar; elsewhere, as in the log of a cluster's job, it
    writes a plain line every half minute, or every 5 % of the work if that is earlier. Work of a few seconds writes
    none.

    Args:
        task: What is done, for example ``verifying``.
        total: Units of work.
        unit: Noun of one unit.
        quiet: Report nothing.
        console: Where to report to (default: stderr).
        clock: Seconds of a clock that never goes back.

    Example:
        >>> with ProgressReporter("verifying", 2, quiet=True) as progress:
        ...     progress.advance()
    """

    def __init__(
        self,
        task: str,
        total: int,
        *,
        unit: str = "chip",
        quiet: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._task, self._total, self._unit, self._clock = task, total, unit, clock
        self._quiet = quiet or total == 0
        self._console = console or Console(file=sys.stderr)
        self._bar = None if self._quiet or not _can_draw(self._console) else self._new_bar()
        self._bar_task = None if self._bar is None else self._bar.add_task(task, total=total)
        self._done = self._shown = 0
        self._start = self._last = clock()

    def __enter__(self) -> Self:
        """Start the clock and draw the bar."""
        # anew, as work may begin long after the reporter was made
        self._start = self._last = self._clock()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar, so that what is printed next, an error for example, stands alone."""
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int = 1) -> None:
        """Add finished units, and report them if it is time to."""
        self._done += count
        if self._bar is not None and self._bar_task is not None:
            self._bar.advance(self._bar_task, count)
        elif not self._quiet and self._is_due():
            self._last, self._shown = self._clock(), self._done
            # past rich, which would wrap the line at its own width
            self._console.file.write(f"{self.line()}\n")
            self._console.file.flush()

    def line(self) -> str:
        """Return the progress as a line: ``verifying: 50 of 200 chips (25 %), 10/s, about 15 s left``."""
        seconds = self._clock() - self._start
        rate = self._done / seconds if seconds > 0 else 0.0
        left = f", about {format_duration((self._total - self._done) / rate)} left" if rate else ""
        of = f"{self._done:,} of {pluralize(self._total, self._unit)}"
        return f"{self._task}: {of} ({self._done / self._total:.0%}), {format_rate(rate)}/s{left}"

    def _is_due(self) -> bool:
        waited = self._clock() - self._last
        share = (self._done - self._shown) / self._total
        # the last unit is not reported: the command's own result follows at once
        return self._done < self._total and (
            waited >= LINE_SECONDS or (waited >= MIN_LINE_SECONDS and share >= LINE_SHARE)
        )

    def _new_bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _RateColumn(self._unit),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            # a redirected stdout must not be drawn above the bar, or it would never reach its file
            redirect_stdout=sys.stdout.isatty(),
            speed_estimate_period=120,
        )


def track(
    items: Iterable[Item], task: str, total: int, *, unit: str = "chip", quiet: bool = False
) -> Iterator[Item]:
    """Yield items and report each as done when the next one is asked for."""
    with ProgressReporter(task, total, unit=unit, quiet=quiet) as progress:
        for item in items:
            yield item
            progress.advance()


def format_rate(rate: float) -> str:
    """Return a rate with three significant digits, without an exponent: ``0.25``, ``12.5``, ``1,340``."""
    # digits before the point; decimals fill up to three
    whole = len(str(int(rate))) if rate >= 1 else 1
    return f"{rate:,.{max(0, 3 - whole)}f}"


def format_duration(seconds: float) -> str:
    """Return a duration as people say it: ``45 s``, ``12 min``, ``2 h 05 min``."""
    # up to 90 of the smaller unit, as the larger would be too coarse
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def _can_draw(console: Console) -> bool:
    """Return whether a bar can be drawn: in a notebook rich draws with ipywidgets, and without them warns."""
    return console.is_terminal or bool(console.is_jupyter and find_spec("ipywidgets"))
