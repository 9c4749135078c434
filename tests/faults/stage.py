"""Processes in which commands run: forks of one that has imported what they need, so that they start at once."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from tests.faults.commands import Words, make_files, preparations
from tests.faults.preload import operations_seen

SECONDS: Final = 180
"""After which a command is taken to hang."""

SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
STATUSES: Final = {
    0,
    1,
    2,
    *(sign for number in (*SIGNALS, signal.SIGKILL) for sign in (128 + number, -number)),
}
"""How a command may end that was attacked: the second signal of two may come when the first has been dealt with."""


@dataclass
class Ended:
    """How a command ended.

    Attributes:
        status: Exit status; minus the signal's number if one ended it.
        told: What it printed.
    """

    status: int
    told: str

    def wrong(self) -> str:
        """Return what must not be, however the command was attacked."""
        if "Traceback" in self.told:
            return f"a traceback: {self.told[-400:]}"
        return "" if self.status in STATUSES else f"exit status {self.status}: {self.told[-300:]}"


class ForkedProcess:
    """Stands for `subprocess.Popen` of a study's worker: a fork, as a new one imports torch for ten seconds."""

    def __init__(self, command: Sequence[str], **_: Any) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os.close(writing)
            os.dup2(reading, 0)
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _end(lambda: importlib.import_module("eval.study.worker").main(command[-1:]))
        os.close(reading)
        self.stdin, self.returncode = os.fdopen(writing, "wb"), None

    def poll(self) -> int | None:
        """Return the exit status; None while it runs."""
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if found else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended."""
        until = time.monotonic() + (timeout or 1e9)
        while self.poll() is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("worker", timeout or 0)
            time.sleep(0.01)
        return self.returncode or 0


def _end(run: Callable[[], int]) -> None:
    """Run and end this process, as Python would end a script."""
    status = 1
    try:
        status = run()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - Python prints any
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


@dataclass
class Stage:
    """Where commands run.

    Attributes:
        folder: A folder of its own.
        world: What commands read.
    """

    folder: Path
    world: Path
    work: Path = field(init=False)
    outputs: dict[int, int] = field(default_factory=dict, init=False)
    statuses: dict[int, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.work = self.folder / "work"
        ctypes.CDLL(None).prctl(
            36, 1
        )  # PR_SET_CHILD_SUBREAPER: the orphans of a killed study are ours to wait for

    def start(self, module: str, words: Words, arm: Callable[[], None]) -> int:
        """Start a command in a fork; return its process."""
        # a pipe, which a limit of files does not reach; a command prints less than it holds
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 2**20)
        process = os.fork()
        if process:
            os.close(writing)
            self.outputs[process] = reading
            return process
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        main = importlib.import_module(f"{module}.__main__").main
        executors = importlib.import_module("eval.study.executors")
        executors.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": ForkedProcess})

        def run() -> int:
            arm()
            status = main(words)
            for number in SIGNALS:  # the command has ended, and what follows is the stage's own
                signal.signal(number, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            (self.folder / "seen").write_text(str(operations_seen()))
            (self.folder / "modules").write_text("\n".join(sys.modules))
            return int(status)

        _end(run)
        raise AssertionError

    def join(self, process: int) -> Ended:
        """Wait for a command, and for what it leaves running."""
        until = time.monotonic() + SECONDS
        while True:
            try:
                found, ended = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if found:
                self.statuses[found] = os.waitstatus_to_exitcode(ended)
            if not found:
                if time.monotonic() > until:
                    os.kill(process, signal.SIGKILL)
                    return Ended(99, "hangs")
                time.sleep(0.005)
        return Ended(self.statuses.get(process, 99), self.output_of(process))

    def output_of(self, process: int) -> str:
        """Return what a process that has ended has printed."""
        with os.fdopen(self.outputs.pop(process), "rb") as output:
            return output.read().decode(errors="replace")

    def import_what_it_needed(self) -> None:
        """Import here what the last command imported, so that the next ones need not."""
        for name in (self.folder / "modules").read_text().split("\n"):
            if name not in sys.modules and not name.endswith("__main__"):
                with contextlib.suppress(
                    ImportError, AttributeError
                ):  # modules of other names than their files
                    importlib.import_module(name)

    def run(self, module: str, words: Words, arm: Callable[[], None] = lambda: None) -> Ended:
        """Run a command to its end."""
        return self.join(self.start(module, words, arm))


def make_command_world(folder: Path) -> Path:
    """Make what commands read, by the commands themselves."""
    world = folder.resolve() / "world"
    make_files(world)
    stage = Stage(folder / "made", world)
    for module, words in preparations(world):
        ended = stage.run(module, words)
        if ended.status:
            raise RuntimeError(f"{module} {' '.join(words)}: {ended.told[-2000:]}")
    return world


def is_stopped(process: int) -> bool:
    """Wait until a process stops or ends; return whether it stopped."""
    found, status = os.waitpid(process, os.WUNTRACED)
    return bool(found) and os.WIFSTOPPED(status)


def status_within(process: int, seconds: float) -> int | None:
    """Return the exit status of a process; None if it still runs after so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None
