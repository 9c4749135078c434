"""File operations at the C library: those of Python, GDAL, torch, Arrow and Rust, met by `preload.c` below a folder.

Only in processes that start with the library preloaded, by `preloaded_environment`; on Linux, with a C compiler.
"""

from __future__ import annotations

import ctypes
import enum
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("preload.c")


class Action(enum.IntEnum):
    """What happens at an operation; the numbers are those of `preload.c`."""

    COUNT = 0
    FAIL_ONCE = 1
    FAIL_FROM_THEN_ON = 2
    KILL = 3
    SIGNAL_TWICE = 4
    PAUSE = 5


def is_available() -> bool:
    """Return whether this machine can build and preload the library."""
    return sys.platform == "linux" and shutil.which("cc") is not None


def preloaded_environment(folder: Path) -> dict[str, str]:
    """Build the library in a folder, and return the environment in which processes have it."""
    library = folder / "preload.so"
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return {**os.environ, "LD_PRELOAD": str(library)}


def plan(
    root: Path, action: Action = Action.COUNT, at: int = 0, code: int = 0, *, reads: bool = False
) -> None:
    """Say what happens at an operation of this process, and of those that it forks from now on.

    Args:
        root: Folder whose files are watched, resolved.
        action: What happens.
        at: At which operation, counted from 0.
        code: The error, or the signal.
        reads: Whether opening a file to read is an operation too.
    """
    ctypes.CDLL(None).faults_plan(os.fsencode(root), ctypes.c_long(at), int(action), code, int(reads))


def operations_seen() -> int:
    """Return how many operations there were since `plan`."""
    seen = ctypes.CDLL(None).faults_seen
    seen.restype = ctypes.c_long
    return int(seen())
