"""Standard streams and signals of a command: closed or ASCII-only streams, SIGTERM and SIGHUP."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final, NoReturn

SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
"""Signals by which a scheduler or a closed terminal stops a command; SIGUSR1 is left to Lightning's requeueing."""


class SignalInterrupt(KeyboardInterrupt):
    """A signal other than SIGINT asked the command to stop; cleaned up after like Ctrl-C.

    Attributes:
        signal: The signal.
        status: Exit status that shells give for it, 128 + its number.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        self.status = 128 + number
        super().__init__(self.signal.name)


@contextlib.contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """Raise `SignalInterrupt` in the main thread on SIGTERM or SIGHUP, so that locks are released.

    Signals that the caller ignores (``nohup``) or handles already stay so.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    owner = os.getpid()

    def handle(number: int, _frame: FrameType | None) -> NoReturn:
        if os.getpid() != owner:  # a forked worker inherits the handler, but has nothing to clean up
            signal.signal(number, signal.SIG_DFL)
            # sent again under the default action, it ends the worker as if there were no handler
            os.kill(os.getpid(), number)
        signal.signal(
            number, signal.SIG_IGN
        )  # coreutils' timeout sends it twice: cleaning up is not interrupted
        raise SignalInterrupt(number)

    ours = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in ours:
            # SIG_IGN was set by `handle`; a handler that other code has set since then stays
            if signal.getsignal(number) in (handle, signal.SIG_IGN):
                signal.signal(number, signal.SIG_DFL)


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


def discard_output() -> None:
    """Send further output nowhere once its reader has gone, so that Python's last flush does not fail as well."""
    # a closed stdout raises ValueError, and one without a descriptor an OSError
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
