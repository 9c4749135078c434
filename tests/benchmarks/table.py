"""One table of ratios, each measured side by side in one run: `python -m tests.benchmarks`.

A module of this package that has a `TABLE` adds them to the table. A ratio is the median over pairs of measurements
that take turns, so that whatever else the machine does meets both sides.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import tests.benchmarks

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: What it is called on the command line.
        what: What is measured.
        against: What it is divided by.
        measure: Measures pairs and returns the ratio of each.
        at_least: Smallest ratio that will do; None where there is no such bound.
        at_most: Largest ratio that will do; likewise.
    """

    name: str
    what: str
    against: str
    measure: Callable[[], Sequence[float]]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return f"≤ {self.at_most:g}" if self.at_most is not None else ""

    def holds(self, ratio: float) -> bool:
        """Whether a ratio is within the bound."""
        low = self.at_least is None or ratio >= self.at_least
        return low and (self.at_most is None or ratio <= self.at_most)


def find_rows() -> dict[str, Row]:
    """All rows of this package's modules, by name."""
    modules = (
        importlib.import_module(f"tests.benchmarks.{found.name}")
        for found in pkgutil.iter_modules(tests.benchmarks.__path__)
        if not found.name.startswith("__")
    )
    return {row.name: row for module in modules for row in getattr(module, "TABLE", ())}


def seconds(work: Callable[[], Any]) -> float:
    """How long work takes: processor time on a CPU, which other load disturbs least, and the clock on a device."""
    if DEVICE == "cpu":
        started = time.process_time()
        work()
        return time.process_time() - started
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def peak_memory() -> float:
    """Most memory used so far, in GB: the device's, or this process's on a CPU.

    `resource.getrusage` would not do: a process that is started by a large one counts that one's memory as its own.
    """
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def paired(one: Callable[[], Any], other: Callable[[], Any], repeats: int = 3) -> list[float]:
    """Seconds of `one` over seconds of `other`, by turns, after a turn of each that warms up."""
    one(), other()
    return [seconds(one) / seconds(other) for _ in range(repeats)]


def run(rows: Sequence[Row], into: Path, console: Console) -> bool:
    """Measures rows, prints the table, writes it as JSON, and tells whether every ratio is within its bound."""
    found = []
    for row in rows:
        console.print(f"measuring {row.name}")
        ratios = list(row.measure())
        found.append({"name": row.name, "ratio": median(ratios), "ratios": ratios, "bound": row.bound})
        found[-1]["holds"] = row.holds(median(ratios))
        into.write_text(
            json.dumps({**machine(), "rows": found}, indent=1) + "\n", encoding="utf-8"
        )  # kept if a row fails
    table = Table("row", "what", "against", "bound", "found", "spread", title=machine()["device"])
    for row, line in zip(rows, found, strict=True):
        spread = f"{min(line['ratios']):.3f} to {max(line['ratios']):.3f}"
        mark = "" if line["holds"] else " missed"
        table.add_row(row.name, row.what, row.against, row.bound, f"{line['ratio']:.3f}{mark}", spread)
    console.print(table)
    return all(line["holds"] for line in found)


def machine() -> dict[str, Any]:
    """What the figures are of."""
    cuda = torch.cuda.get_device_name() if DEVICE == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return {"device": cuda, "torch": torch.__version__, "python": platform.python_version()}
