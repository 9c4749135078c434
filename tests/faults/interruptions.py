"""Each writing killed, or refused by the operating system, at every file operation; then repeated."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from augment_store.errors import AugmentStoreError
from tests.faults import operations
from tests.faults.scenarios import Scenario
from tests.faults.tally import Tally

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)


def kills(scenario: Scenario, folder: Path, every: int = 1, *, own_process: bool = True) -> Tally:
    """Kills a writing at every so many changes of the disk.

    Args:
        scenario: What is written.
        folder: An empty folder to work in.
        every: At every how many.
        own_process: Whether a process is killed, or an exception stands for the kill, which is faster.
    """
    tally = Tally(f"kill: {scenario.name}")
    end = _whole(scenario, folder)
    for at in range(0, _operations(scenario, folder, changes=True), every):
        path = _fresh(scenario, folder)
        if own_process:
            operations.killed(path, scenario.act, at)
        else:
            operations.stopped(path, scenario.act, at)
        tally.add(f"operation {at}", _recovered(scenario, path, end))
    return tally


def errors(scenario: Scenario, folder: Path, every: int = 1) -> Tally:
    """Has every so many operations fail with each of `ERRORS`."""
    tally = Tally(f"disk error: {scenario.name}")
    end = _whole(scenario, folder)
    for code in ERRORS:
        for at in range(0, _operations(scenario, folder, changes=code != errno.EIO), every):
            path = _fresh(scenario, folder)
            raised = operations.refused(path, scenario.act, at, code)
            wrong = _unexpected(raised)
            tally.add(f"operation {at}, {errno.errorcode[code]}", wrong or _recovered(scenario, path, end))
    return tally


def _unexpected(raised: BaseException | None) -> str:
    """An error of the disk ends as one of its own or of ours, which commands print as a line."""
    known = raised is None or isinstance(raised, AugmentStoreError | OSError)
    return "" if known else f"{type(raised).__name__}: {raised}"


def _recovered(scenario: Scenario, path: Path, end: Any) -> str:
    """Looks at what an interruption left, repeats the writing and compares its end."""
    steps: tuple[Callable[[], str], ...] = (
        lambda: scenario.between(path),
        lambda: scenario.act(path) or "",
        lambda: "" if scenario.state(path) == end else "another end than without interruption",
    )
    for step in steps:
        try:
            wrong = step()
        except Exception as error:  # noqa: BLE001 - any is a failure, to be counted
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            return wrong[:300]
    return "recovered"


def _fresh(scenario: Scenario, folder: Path) -> Path:
    """A folder as it is before the writing."""
    path, kept = folder / "path", folder / "kept"
    if not kept.exists():
        kept.mkdir(parents=True)
        scenario.prepare(kept / "path")
    shutil.rmtree(folder / "work", ignore_errors=True)
    shutil.copytree(kept, folder / "work")
    return folder / "work" / path.name


def _whole(scenario: Scenario, folder: Path) -> Any:
    path = _fresh(scenario, folder)
    scenario.act(path)
    return scenario.state(path)


def _operations(scenario: Scenario, folder: Path, *, changes: bool) -> int:
    return operations.count(_fresh(scenario, folder), scenario.act, changes=changes)
