"""One writing process per store, and per run directory, at a time."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Final, Self

from filelock import FileLock, SoftFileLock, Timeout
from pydantic import ConfigDict

from augment_store.errors import AugmentStoreError, RemotePathError, StoreError
from augment_store.io.files import OUTPUT_LOCALLY, WRITE_LOCALLY, check_local, check_writable, printable
from augment_store.io.objects import create, read_object, remove
from augment_store.io.remote import RemotePath, as_path, without_secrets
from augment_store.io.signals import signals_ignored
from augment_store.utils.text import utc_now
from augment_store.utils.validation import STRICT, ValidationError, load_json, parse

_LOG: Final = logging.getLogger(__name__)


class StoreBusyError(StoreError):
    """Another process is writing there."""

    kind = "store_busy"


_NO_FLOCK: Final = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
"""Answers of file systems that have no locks, as some mounts of Lustre, NFS and FUSE."""


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Keep other runs from writing to a folder; the operating system releases it however the process ends.

    The lock is a hidden file beside the folder, since the folder itself may not exist yet. Where the file system has no
    locks, a file that only one process can create stands for it; a killed process leaves that behind.

    Args:
        path: Folder of the store or the run.

    Raises:
        StoreBusyError: If another run holds it.
        StoreError: If the lock file is a link.
        OSError: If the folder above it cannot be written.
        RemotePathError: If it is a URL.
    """
    check_local("output", path, OUTPUT_LOCALLY)
    # two ways to write a folder must give one lock
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f".{path.name}.lock")
    if file.is_symlink():  # that another puts there later is refused by the opening of the file
        raise StoreError(f"{file}: is a link, and links are not followed; delete it")
    with contextlib.ExitStack() as stack:
        try:
            # no fallback of filelock's own: the one below tells the user what to delete
            stack.enter_context(FileLock(file, timeout=0, fallback_to_soft=False))
        except Timeout as error:
            raise StoreBusyError(f"{path}: another run is writing here; wait for it to end") from error
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
            stack.enter_context(_exclusive_file(path))
        yield


@contextlib.contextmanager
def _exclusive_file(path: Path) -> Iterator[None]:
    """Create a file that must not exist, and delete it at the end."""
    file = path.with_name(f".{path.name}.lock.exclusive")
    _warn_once(str(path.parent))
    lock = SoftFileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise StoreBusyError(
            f"{path}: another run is writing here; wait for it to end, and if it is dead, delete {file}"
        ) from error
    try:
        yield
    finally:
        with signals_ignored():
            lock.release()


@functools.cache
def _warn_once(folder: str) -> None:
    _LOG.warning(
        "warning: the file system of %s has no locks; a lock file is created instead, which a killed run leaves behind",
        folder,
    )


@contextlib.contextmanager
def store_lock(path: Path, command: str) -> Iterator[None]:
    """Take `file_lock` for a store, which may be at a URL.

    There the lock is an object beside the store, which the server creates only if there is none. It is deleted at the
    end, and commands see to it that SIGTERM and SIGHUP raise. A process that is killed leaves it behind, and no run
    takes it over: only people know that a process of another machine is dead.

    Args:
        path: Folder of the store.
        command: The command that writes, for those who find the lock.

    Raises:
        StoreBusyError: If another run holds it, or it was deleted or replaced meanwhile.
        OSError: If the folder above a local store cannot be written.
        RemotePathError: If nothing at that URL can be locked, or the server does not answer.
    """
    store = as_path(path)
    if not isinstance(store, RemotePath):
        with file_lock(store):
            yield
        return
    check_writable("store", store)
    lock = store.with_name(f".{store.name}.lock")
    claim = LockInfo.here(command).written()
    released = False
    try:  # around the taking too: a signal may come as soon as the server has the lock
        _take(store, lock, claim)
        yield
        with signals_ignored():
            released = True
            _release(store, lock, claim)
    except BaseException:
        if not released:  # otherwise the error says that the lock is left
            with signals_ignored():
                _try_to_release(store, lock, claim)
        raise


def _try_to_release(store: RemotePath, lock: RemotePath, claim: bytes) -> None:
    """Delete a lock if it is this run's; only warn if that fails, since what went wrong first has to be known."""
    try:
        _release(store, lock, claim)
    except StoreBusyError:
        pass  # it is another run's, or was not taken yet
    except AugmentStoreError as error:
        _LOG.warning("warning: %s", printable(without_secrets(str(error))))


def _release(store: RemotePath, lock: RemotePath, claim: bytes) -> None:
    """Delete a lock that still holds.

    Raises:
        StoreBusyError: If it was deleted or replaced.
        RemotePathError: If the server does not answer, or the credentials have expired; the lock is left then.
    """
    try:
        found = read_object(lock)
        if found == claim:
            remove(lock)
            return
    except RemotePathError as error:
        raise RemotePathError(
            f"{error}. The lock of this run is left; delete it: {_deletion(lock)}"
        ) from error
    raise StoreBusyError(
        f"{lock}: deleted or replaced while this run was writing; make sure that no other run is, and look at "
        f"the store with tim-store verify {store}"
    )


@dataclass(frozen=True)
class LockInfo:
    """Holder of the lock of a store at a URL, as the lock says.

    Attributes:
        host: Name of the machine.
        process: Its process.
        command: What the process runs.
        time: When it took the lock.
        nonce: Tells two locks of the same process apart.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    host: str
    process: int
    command: str
    time: str
    nonce: str

    @classmethod
    def here(cls, command: str) -> Self:
        """Describe this process, now."""
        return cls(socket.gethostname(), os.getpid(), command, utc_now(), secrets.token_hex(8))

    def written(self) -> bytes:
        """Return the content of its lock."""
        return json.dumps(asdict(self), indent=1).encode()

    def __str__(self) -> str:
        return f"{self.command} (process {self.process} on {self.host}, since {self.time})"


def _take(store: RemotePath, lock: RemotePath, claim: bytes) -> None:
    """Create a lock, or raise what `store_lock` does.

    It is created twice: a server that refuses neither has no conditional writes, and would not refuse another run. If
    the client repeats a request whose answer was lost, the first is refused too; so the content decides who holds it.
    """
    first, second = create(lock, claim), create(lock, claim)
    if first and second:
        remove(lock)
        raise RemotePathError(
            f"{store}: its server cannot lock, as it overwrites what exists; {WRITE_LOCALLY}"
        )
    found = read_object(lock)
    if found != claim:
        raise StoreBusyError(
            f"{store}: another run is writing here: {_lock_holder(found)}. Wait for it to end; if it is dead, "
            f"delete its lock: {_deletion(lock)}"
        )


def _lock_holder(found: bytes | None) -> str:
    """Say who holds a lock, by what it holds."""
    try:
        return str(parse(LockInfo, load_json(found or b"")))
    except (ValidationError, ValueError):
        return "its lock does not say which"


def _deletion(lock: RemotePath) -> str:
    return f"{_DELETE.get(lock.protocol, 'the object')} {lock}"


_DELETE: Final = {"s3": "aws s3 rm", "gs": "gcloud storage rm"}
"""The command that deletes an object, by protocol."""
