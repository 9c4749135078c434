"""File operations of this process under a folder: counted, and one of them refused or the last that happens.

Python tells its audit hooks of every file that it opens, renames, removes or makes, before it does so. What libraries
written in C open, such as GDAL, is not seen, and neither is a write to a file that is open already.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHANGES = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
OTHERS = 2**62
"""An operation that is never reached: operations are only counted."""


class Killed(BaseException):
    """No `except Exception` sees it, as none sees a kill."""


@dataclass
class Trap:
    """What happens at an operation.

    Attributes:
        root: Folder that is watched.
        changes: Whether only operations that change something count, and not files opened to read.
        at: Which operation, counted from 0.
        spring: What happens there; it gets the file, and that which was last opened for writing.
        seen: Operations so far.
        written: File last opened for writing.
        busy: Thread in which it springs just now.
    """

    root: str
    changes: bool
    at: int
    spring: Callable[[str, str], None]
    seen: int = 0
    written: str = ""
    busy: int | None = None

    def meet(self, event: str, given: tuple[Any, ...]) -> None:
        """Looks at one event of Python's."""
        change = event in CHANGES or (event == "open" and bool(given[2] & WRITING))
        path = os.fsdecode(given[0]) if isinstance(given[0], str | bytes | os.PathLike) else ""
        if (
            self.busy == threading.get_ident()
            or not path.startswith(self.root)
            or (self.changes and not change)
        ):
            return
        place, self.seen = self.seen, self.seen + 1
        if place >= self.at:
            self.busy = threading.get_ident()  # what the trap does itself is no operation of the action's
            try:
                self.spring(path, self.written)
            finally:
                self.busy = None
        if event == "open" and change:
            self.written = path


_set: list[Trap] = []


def _listen(event: str, given: tuple[Any, ...]) -> None:
    if _set and (event in CHANGES or event == "open"):
        _set[0].meet(event, given)


sys.addaudithook(_listen)


@contextlib.contextmanager
def trapped(trap: Trap) -> Iterator[Trap]:
    """Sets a trap for the time of a `with`."""
    _set.append(trap)
    try:
        yield trap
    finally:
        _set.clear()


def count(root: Path, act: Callable[[Path], Any], *, changes: bool) -> int:
    """How many operations an action takes."""
    with trapped(Trap(str(root), changes, OTHERS, lambda path, written: None)) as trap:
        act(root)
    return trap.seen


def stopped(root: Path, act: Callable[[Path], Any], at: int) -> None:
    """Acts until a change of the disk, which does not happen, and neither does any after it."""

    def stop(path: str, written: str) -> None:
        raise Killed

    with contextlib.suppress(Killed), trapped(Trap(str(root), True, at, stop)):
        act(root)


def refused(root: Path, act: Callable[[Path], Any], at: int, code: int) -> BaseException | None:
    """Acts while an operation fails with an error of the operating system.

    An unreadable sector fails once (EIO); a full disk, or one that may not be written to, fails from then on at every
    change (ENOSPC, EACCES).

    The file last opened for writing is cut in half first, as a full disk leaves it.

    Returns:
        What the action raised, None where it came to its end.
    """

    def refuse(path: str, written: str) -> None:
        if code == errno.EIO:
            trap.at = OTHERS
        cut_short(path, written)
        raise OSError(code, os.strerror(code), path)

    trap = Trap(str(root), code != errno.EIO, at, refuse)
    with trapped(trap):
        try:
            act(root)
        except Exception as error:  # noqa: BLE001 - the caller judges it
            return error
    return None


def killed(root: Path, act: Callable[[Path], Any], at: int) -> bool:
    """Acts in a process of its own that gets SIGKILL at a change of the disk; False where it ended before."""
    process = multiprocessing.get_context("forkserver").Process(target=_die, args=(root, act, at))
    process.start()
    process.join()
    if process.exitcode not in {0, -signal.SIGKILL}:
        raise RuntimeError(f"the process ended with {process.exitcode}, not by the kill")
    return process.exitcode != 0


def _die(root: Path, act: Callable[[Path], Any], at: int) -> None:
    def die(path: str, written: str) -> None:
        cut_short(path, written)
        os.kill(os.getpid(), signal.SIGKILL)

    with trapped(Trap(str(root), True, at, die)):
        act(root)


def cut_short(path: str, written: str) -> None:
    """Halves a file that was being written.

    Zarr writes and renames its drafts in several threads, so one that another thread may be renaming is left alone.
    """
    if (written == path or not written.endswith(".partial")) and os.path.isfile(written):  # noqa: PTH113 - a path as Python's events give it
        os.truncate(written, os.path.getsize(written) // 2)  # noqa: PTH202
