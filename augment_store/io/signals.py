"""Signals that end a command: raised as exceptions while it works, ignored while it cleans up."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
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
        # coreutils' timeout sends it twice: cleaning up is not interrupted
        signal.signal(number, signal.SIG_IGN)
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


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore requests to end, Ctrl-C among them, while something is cleaned up; the first one has raised already."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (*SIGNALS, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent(take: Callable[[str], None] = lambda line: None) -> None:
    """Send this process SIGTERM, as a scheduler would, once nobody holds the other end of its standard input.

    Args:
        take: Is given each line that comes from there, in another thread.
    """

    def wait() -> None:
        begun = b""
        # the descriptor itself: a buffered read would hold a lock that the interpreter's end asks for
        while part := os.read(0, 2**16):
            *lines, begun = (begun + part).split(b"\n")
            for line in lines:
                take(line.decode())
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
