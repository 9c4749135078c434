"""A process killed at its n-th write to a Zarr store: nothing after that reaches the disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from zarr.storage import LocalStore


class Killed(BaseException):
    """No `except Exception` sees it, as none sees a kill."""


@contextlib.contextmanager
def killed_at(write: int) -> Iterator[SimpleNamespace]:
    """Kills at the write of that number, counted from 0; gives the count of writes so far."""
    seen = SimpleNamespace(writes=0)

    def gate(original):
        async def run(self, *given, **named):
            seen.writes += 1
            if seen.writes > write:
                raise Killed
            return await original(self, *given, **named)

        return run

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
        for name in ("set", "set_if_not_exists", "delete", "delete_dir"):
            patch.setattr(LocalStore, name, gate(getattr(LocalStore, name)))
        yield seen
