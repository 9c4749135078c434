"""Each writing command killed, refused, signalled, met by another, or on a full disk; then the same command again."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rasterio
from rasterio.errors import RasterioError

from tests.faults.commands import Words, WritingCommand, fresh
from tests.faults.preload import Action, plan
from tests.faults.stage import SIGNALS, Ended, Stage, is_stopped, status_within
from tests.faults.tally import Tally

LIMITS: Final = (0, 100, 700, 5_000, 40_000)
"""Bytes that a file may have on a full disk."""


@dataclass
class Attacked:
    """A command under attack.

    Attributes:
        command: Which.
        stage: Where it runs.
        share: Share of the attacks that are made.
    """

    command: WritingCommand
    stage: Stage
    share: float
    end: Any = None
    count: int = 0

    def tallies(self) -> Iterator[Tally]:
        """Make every kind of attack."""
        whole = self._whole()
        if whole:
            failed = Tally(f"undisturbed: {self.command.name}")
            failed.add("twice the same", whole)
            yield failed
            return
        yield self.kills()
        yield self.errors()
        yield self.signals()
        yield self.twice()
        yield self.full_disks()

    def kills(self) -> Tally:
        """Have the process that does an operation killed there."""
        tally = Tally(f"kill: {self.command.name}")
        for at in self._places(12):
            tally.add(f"operation {at}", self._attacked(lambda at=at: self._plan(Action.KILL, at)))
        return tally

    def errors(self) -> Tally:
        """Have operations fail: a full disk, one without permission, an unreadable sector."""
        tally = Tally(f"disk error: {self.command.name}")
        for code, action, times in (
            (errno.ENOSPC, Action.FAIL_FROM_THEN_ON, 6),
            (errno.EACCES, Action.FAIL_FROM_THEN_ON, 3),
            (errno.EIO, Action.FAIL_ONCE, 6),
        ):
            for at in self._places(times):
                name = f"operation {at}, {errno.errorcode[code]}"
                tally.add(name, self._attacked(lambda at=at, do=(action, code): self._plan(do[0], at, do[1])))
        return tally

    def signals(self) -> Tally:
        """Send each signal at an operation, and again at the next."""
        tally = Tally(f"signal twice: {self.command.name}")
        for number in SIGNALS:
            for at in self._places(3):
                arm = lambda at=at, number=number: self._plan(Action.SIGNAL_TWICE, at, number)  # noqa: E731
                tally.add(f"operation {at}, {number.name}", self._attacked(arm))
        return tally

    def full_disks(self) -> Tally:
        """Let files have so many bytes at most, by the limit of the operating system."""
        tally = Tally(f"full disk: {self.command.name}")
        chosen = LIMITS if self.share >= 1 else LIMITS[2:3]
        for size in chosen:

            def arm(size: int = size) -> None:
                # rasterio and torch are told as Python is: by an error, not by a signal
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

            tally.add(f"{size} bytes", self._attacked(arm))
        return tally

    def twice(self) -> Tally:
        """Hold a command at an operation, start the same, and let the first go on."""
        tally = Tally(f"two at once: {self.command.name}")
        for at in self._places(4):
            fresh(self.command, self.stage.world, self.stage.work)
            words = self._words()
            module = self.command.module
            first = self.stage.start(module, words, lambda at=at: self._plan(Action.PAUSE, at))
            if not is_stopped(first):
                continue  # it did nothing more by itself
            second = self.stage.start(module, words, lambda: None)
            status = status_within(second, 30 if self.command.costly else 8)
            os.kill(first, signal.SIGCONT)
            both = [self.stage.join(first)]
            if status is None:  # it has ended since
                status = self.stage.statuses[second]
            both.append(Ended(status, self.stage.output_of(second)))
            tally.add(f"operation {at}", self._judged_twice(both))
        return tally

    def _judged_twice(self, both: Sequence[Ended]) -> str:
        wrong = next((found for found in map(Ended.wrong, both) if found), "")
        if wrong:
            return wrong
        if all(ended.status for ended in both):
            return f"neither ended well: {[ended.told[-200:] for ended in both]}"
        return self._compared()

    def _attacked(self, arm: Callable[[], None]) -> str:
        """Attack once, repeat the command, and compare."""
        fresh(self.command, self.stage.world, self.stage.work)
        words = self._words()
        ended = self.stage.run(self.command.module, words, arm)
        wrong = ended.wrong() or self._damaged(ended)
        if wrong:
            return wrong
        before = self._state()
        again = self.stage.run(self.command.module, words)
        # what was finished is not made again, and some commands refuse to
        if again.status and before != self.end:
            return f"after {ended.status} ({ended.told[-150:]}) exit {again.status}: {again.told[-300:]}"
        return again.wrong() or self._compared()

    def _damaged(self, ended: Ended) -> str:
        """Return what under its final name is not whole."""
        if ended.status == 0 and self._state() != self.end:
            return f"exit status 0, and {self._difference(self._state())}"
        for path in self.stage.work.rglob("*"):
            hidden = any(part.startswith(".") for part in path.relative_to(self.stage.work).parts)
            wrong = "" if hidden or not path.is_file() else _broken(path)
            if wrong:
                return f"{path.name} is damaged: {wrong}"
        return ""

    def _compared(self) -> str:
        found = self._state()
        return "recovered" if found == self.end else self._difference(found)

    def _difference(self, found: Any) -> str:
        if not isinstance(found, dict):
            return f"no state: {found}"
        keys = [key for key in {**self.end, **found} if self.end.get(key, "") != found.get(key, "")]
        key = keys[0] if keys else ""
        return f"another end, in {len(keys)}, e.g. {key}: {str(self.end.get(key))[:80]} / {str(found.get(key))[:80]}"

    def _state(self) -> Any:
        try:
            return self.command.state(self.stage.work)
        except Exception as error:  # noqa: BLE001 - compared with what is whole, and shown
            return f"{type(error).__name__}: {error}"

    def _words(self) -> Words:
        return self.command.words(self.stage.world, self.stage.work)

    def _plan(self, action: Action, at: int, code: int = 0) -> None:
        plan(self.stage.work, action, at, code)

    def _places(self, times: int) -> list[int]:
        """Return operations evenly spread over all, the first and the last among them."""
        times = max(1, round(times * self.share * (0.5 if self.command.costly else 1)))
        if times == 1:
            return [self.count // 2]
        return sorted({round(step * (self.count - 1) / (times - 1)) for step in range(times)})

    def _whole(self) -> str:
        """Run the command twice undisturbed; return what differs."""
        for _ in range(2):
            fresh(self.command, self.stage.world, self.stage.work)
            ended = self.stage.run(self.command.module, self._words(), lambda: self._plan(Action.COUNT, 0))
            if ended.status:
                return ended.told[-600:]
            self.stage.import_what_it_needed()
            self.count, found = int((self.stage.folder / "seen").read_text()), self._state()
            if self.end is not None and found != self.end:
                return self._difference(found)
            self.end = found
        return ""


def _broken(path: Path) -> str:
    """Return what is wrong with a raster or a JSON file."""
    try:
        if path.suffix == ".tif":
            with rasterio.open(path) as source:
                source.read()
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    except (RasterioError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def attack_command(command: WritingCommand, world: Path, folder: Path, share: float) -> list[Tally]:
    """Attack a command in every way."""
    stage = Stage(folder, world)
    tallies = list(Attacked(command, stage, share).tallies())
    shutil.rmtree(folder, ignore_errors=True)
    return tallies
