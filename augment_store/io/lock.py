"""One writing process per store, and per run directory, at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Final, Self

from pydantic import ConfigDict

from augment_store.errors import AugmentStoreError, RemotePathError, StoreError
from augment_store.io.files import OUTPUT_LOCALLY, WRITE_LOCALLY, check_local, check_writable
from augment_store.io.objects import create, read_file, remove
from augment_store.io.remote import RemotePath, as_path
from augment_store.utils.text import utc_now
from augment_store.utils.validation import STRICT, ValidationError, load_json, parse


class StoreBusyError(StoreError):
    """Another process is writing there."""


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
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


@contextlib.contextmanager
def store_lock(path: Path, command: str) -> Iterator[None]:
    """`file_lock` for a store, which may be at a URL.

    There the lock is an object beside the store, which the server creates only if there is none. A process that is
    killed leaves it behind, and no run takes it over: only people know that a process of another machine is dead.

    Args:
        path: Folder of the store.
        command: The command that writes, for those who find the lock.

    Raises:
        StoreBusyError: If another run holds it, or it was deleted or replaced meanwhile.
        OSError: If the folder above a local store cannot be written.
        RemotePathError: If nothing at that URL can be locked, or the server does not answer.
    """
    place = as_path(path)
    if not isinstance(place, RemotePath):
        with file_lock(place):
            yield
        return
    check_writable("store", place)
    lock = place.with_name(f".{place.name}.lock")
    claim = LockInfo.here(command).written()
    _take(place, lock, claim)
    try:
        yield
    except BaseException:
        with contextlib.suppress(AugmentStoreError):  # what went wrong first is what has to be known
            _release(place, lock, claim)
        raise
    _release(place, lock, claim)


def _release(store: RemotePath, lock: RemotePath, claim: bytes) -> None:
    """Deletes a lock that still holds.

    Raises:
        StoreBusyError: If it was deleted or replaced.
        RemotePathError: If the server does not answer.
    """
    if read_file(lock) != claim:
        raise StoreBusyError(
            f"{lock}: deleted or replaced while this run was writing; make sure that no other run is, and look at "
            f"the store with python -m augment_store verify {store}"
        )
    remove(lock)


@dataclass(frozen=True)
class LockInfo:
    """Who holds the lock of a store at a URL, as the lock says.

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
        """This process, now."""
        return cls(socket.gethostname(), os.getpid(), command, utc_now(), secrets.token_hex(8))

    def written(self) -> bytes:
        """Content of its lock."""
        return json.dumps(asdict(self), indent=1).encode()

    def __str__(self) -> str:
        return f"{self.command} (process {self.process} on {self.host}, since {self.time})"


def _take(store: RemotePath, lock: RemotePath, claim: bytes) -> None:
    """Creates a lock, or raises what `store_lock` does.

    It is created twice: a server that refuses neither has no conditional writes, and would not refuse another run. If
    the client repeats a request whose answer was lost, the first is refused too; so the content decides who holds it.
    """
    try:
        first, second = create(lock, claim), create(lock, claim)
    except BaseException:
        with contextlib.suppress(AugmentStoreError):  # its answer may have been lost
            _release(store, lock, claim)
        raise
    if first and second:
        remove(lock)
        raise RemotePathError(
            f"{store}: its server cannot lock, as it overwrites what exists; {WRITE_LOCALLY}"
        )
    found = read_file(lock)
    if found != claim:
        raise StoreBusyError(
            f"{store}: another run is writing here: {_named(found)}. Wait for it to end; if it is dead, delete its "
            f"lock: {_DELETE.get(lock.protocol, 'the object')} {lock}"
        )


def _named(found: bytes | None) -> str:
    """Who a lock says holds it."""
    try:
        return str(parse(LockInfo, load_json(found or b"")))
    except (ValidationError, ValueError):
        return "its lock does not say which"


_DELETE: Final = {"s3": "aws s3 rm", "gs": "gcloud storage rm"}
"""The command that deletes an object, by protocol."""
