"""Standard streams of a command, which may be closed, know ASCII alone, or lose their reader."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path


def prepare_streams() -> None:
    """Make stdout and stderr take any text, and send the output of closed ones nowhere."""
    if sys.stdout is None or sys.stderr is None:
        # a closed descriptor would be given to the next file opened, and libraries print to 1 and 2
        while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        # the loop has stopped at the first descriptor above stderr's, which is not needed
        os.close(opened)
        sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # notebooks and tests put others in their place
            # a locale of ASCII alone must not end a command at the first other letter
            stream.reconfigure(errors="backslashreplace")


def module_command(name: str) -> list[str]:
    """Return the words that run a module of ours in a process of its own, such as ``eval.study.worker``."""
    # -P: a predict.py in the working folder is not run in place of the package, unless that is a checkout of it
    safe = [] if Path(__file__).parents[2] == Path.cwd() else ["-P"]
    return [sys.executable, *safe, "-m", name]


@contextlib.contextmanager
def short_thread_errors() -> Iterator[None]:
    """Say in one line that a thread of a library failed at a file, as TensorBoard's writer does on a full disk."""
    before = threading.excepthook

    def tell(failed: threading.ExceptHookArgs) -> None:
        if isinstance(failed.exc_value, OSError):
            sys.stderr.write(f"warning: {failed.exc_value}\n")
        else:
            before(failed)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = before


def discard_output() -> None:
    """Send further output nowhere once its reader has gone, so that Python's last flush does not fail as well."""
    # a closed stdout raises ValueError, and one without a descriptor an OSError
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
