"""Objects of a store: read in parts, from a local disk or a URL, and put at a URL whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from augment_store.errors import StoreError
from augment_store.io.remote import RemotePath

_KEPT_BYTES: Final = 2**16
"""The last bytes of an object are kept up to this many: the table of a shard, which every chip of it needs."""


class FileVersion(NamedTuple):
    """Values that change when a file is replaced or written to."""

    inode: int
    modified: int
    size: int


class RemoteObject:
    """An object of a store as it was when first looked at: only its own process writes to it meanwhile.

    Args:
        path: Where it is.

    Raises:
        FileNotFoundError: If it is not there.
    """

    def __init__(self, path: RemotePath) -> None:
        self._path = path
        self.stamp = FileVersion(0, 0, path.stat().st_size)
        self._end: tuple[int, bytes] | None = None

    def read(self, count: int, offset: int) -> bytes:
        """Return bytes from `offset`, fewer where the object ends before."""
        stop = min(offset + count, self.stamp.size)
        # HTTP has no range of no bytes
        if offset >= stop:
            return b""
        if self._end is not None and self._end[0] == offset and stop == self.stamp.size:
            return self._end[1]
        content = self._path.read_range(offset, stop)
        if len(content) == self.stamp.size:  # servers without ranges, as Python's http.server, send all of it
            content = content[offset:stop]
        if stop == self.stamp.size and count <= _KEPT_BYTES:
            self._end = offset, content
        return content


class OpenFile(NamedTuple):
    """A file of a local disk."""

    descriptor: int
    stamp: FileVersion

    def read(self, count: int, offset: int) -> bytes:
        """Return bytes from `offset`, fewer where the file ends before."""
        return os.pread(self.descriptor, count, offset)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[OpenFile | None]:
    """Open a file, None where there is none.

    Raises:
        StoreError: If something else lies there; reading a pipe would block forever.
    """
    try:
        # without O_NONBLOCK, opening a pipe would wait for a writer
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        yield None
        return
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{path}: not a regular file; the store is damaged there")
        yield OpenFile(file, FileVersion(found.st_ino, found.st_mtime_ns, found.st_size))
    finally:
        os.close(file)


def read_object(path: Path) -> bytes | None:
    """Return the content of a file of a store, None where there is none.

    Raises:
        StoreError: If something else than a file lies there.
        RemotePathError: If it is at a URL that does not answer.
    """
    if isinstance(path, RemotePath):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
    with opened(path) as file:
        return None if file is None else file.read(file.stamp.size, 0)


def put(path: RemotePath, content: bytes) -> None:
    """Write an object: readers see all of it or what was there before, which is what object stores promise.

    Raises:
        RemotePathError: If the server cannot be asked, or refuses.
    """
    path.ask("pipe_file", content, doing="written")


def create(path: RemotePath, content: bytes) -> bool:
    """Write an object unless there is one, which the server decides; return whether it did.

    Raises:
        RemotePathError: If the server cannot be asked, or refuses.
    """
    try:
        path.ask("pipe_file", content, doing="written", mode="create")
    except FileExistsError:
        return False
    return True


def remove(path: RemotePath) -> None:
    """Delete an object, if there is one.

    Raises:
        RemotePathError: If the server cannot be asked, or refuses.
    """
    with contextlib.suppress(FileNotFoundError):
        path.ask("rm_file", doing="deleted")
