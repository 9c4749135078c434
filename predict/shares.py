"""Shares of the work for processes side by side, each with a GPU of its own where there are GPUs."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from augment_store.cli.process import module_command
from finetune.errors import RunError
from predict.options import PredictOptions

Work = TypeVar("Work", bound=Sequence[object])


@dataclass(frozen=True)
class Share:
    """What one of several processes does.

    Attributes:
        index: Which of them it is, counted from 0.
        count: How many there are.
    """

    index: int
    count: int

    def of(self, work: Work) -> Work:
        """Return a part of a sequence, next to one another; the parts of all processes are the whole."""
        first, end = (len(work) * part // self.count for part in (self.index, self.index + 1))
        part: Work = work[first:end]  # type: ignore[assignment] # a slice of a sequence is of its kind
        return part


@contextmanager
def other_shares(options: PredictOptions | None) -> Iterator[Callable[[], None]]:
    """Let further processes do the other shares meanwhile, and wait for them; they end with this one.

    Args:
        options: What the user asks for; None for no further process.

    Yields:
        A function that raises the error as soon as one has failed, to be called now and then.

    Raises:
        RunError: If one fails, which has said why.
    """
    count = 1 if options is None else options.devices
    with ExitStack() as stack:
        started = [
            stack.enter_context(_start(options, Share(index, count)))
            for index in range(1, count)
            if options is not None
        ]

        def check() -> None:
            failed = sum(bool(process.poll()) for process in started)  # None of one that is at work
            if failed:
                raise RunError(
                    f"--devices: {failed} of {count} processes failed, as said above; mend it and run the same "
                    "command, which goes on"
                )

        yield check
        for process in started:
            while process.poll() is None:
                # not for ever, as one that is waited for later may fail first
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=1)
                check()
        check()


@contextmanager
def _start(options: PredictOptions, share: Share) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process; it is asked to end where this one leaves the block before it has ended."""
    text = json.dumps([dataclasses.asdict(options), dataclasses.asdict(share)], default=_plain)
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpu = str(share.index) if seen is None else ",".join(seen.split(",")[share.index : share.index + 1])
    process = subprocess.Popen(
        [*module_command("predict.share_worker"), text],
        stdin=subprocess.PIPE,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": gpu},
        # a session of its own: Ctrl-C reaches this process alone, which then ends the others
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        # it takes that for the end of its parent
        process.stdin.close()
        process.wait()


def _plain(value: object) -> object:
    """Return a number of NumPy as Python's, and a path as text."""
    return value.item() if isinstance(value, np.generic) else str(value)
