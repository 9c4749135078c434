"""One writing process per store, and per run directory, at a time."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from augment_store.errors import StoreError
from augment_store.files import OUTPUT_LOCALLY, check_local


class StoreBusyError(StoreError):
    """Another process is writing there."""


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Keeps other runs from writing to a folder; the operating system releases it however the process ends.

    The lock is a hidden file beside the folder, since the folder itself may not exist yet.

    Args:
        path: Folder of the store or the run.

    Raises:
        StoreBusyError: If another run holds it.
        OSError: If the folder above it cannot be written.
        RemotePathError: If it is a URL.
    """
    check_local("output", path, OUTPUT_LOCALLY)
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreBusyError(f"{path}: another run is writing here; wait for it to end") from error
        yield
