"""Puts and deletions at a URL: counted, one of them refused, or the last that happens; the bucket is in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.faults.kills import Killed


@contextlib.contextmanager
def failing_at(put: int, reason: type[BaseException] = Killed) -> Iterator[SimpleNamespace]:
    """Fails at the put or deletion of that number, counted from 0; gives the count so far.

    Args:
        put: Which.
        reason: What it raises; after `Killed`, nothing else happens either.
    """
    seen = SimpleNamespace(puts=0)

    def gate(original):
        def run(self, *given, **named):
            place, seen.puts = seen.puts, seen.puts + 1
            if place == put or (reason is Killed and place > put):
                raise reason
            return original(self, *given, **named)

        return run

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
        for name in ("pipe_file", "rm_file", "rm"):
            patch.setattr(MemoryFileSystem, name, gate(getattr(MemoryFileSystem, name)))
        yield seen


def objects_under(url: str) -> dict[str, bytes]:
    """Content of every object, by its place below a folder."""
    files, root = fsspec.core.url_to_fs(url)
    found = files.find(root)
    return {name.removeprefix(root): files.cat_file(name) for name in found}
