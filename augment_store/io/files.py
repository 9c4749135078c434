"""Reading text within limits, and writing files and folders whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from filelock import lock_descriptor

from augment_store.errors import AugmentStoreError, OutputError, RemotePathError
from augment_store.io.remote import RemotePath, as_path, without_secrets

MAX_TEXT_BYTES: Final = 2**26
"""Bytes that a text file may have: a table of a million chips takes less."""


WRITABLE: Final = ("s3", "s3a", "gs", "gcs", "memory")
"""Protocols whose clients create an object only if there is none, in one step, as the lock of a store needs.

fsspec has that for every protocol, but its default first looks and then writes, and HTTP's ignores it.
"""

WRITE_LOCALLY: Final = (
    "a store is written to a local folder or to s3:// and gs://; write it locally, and copy it when it is complete, as "
    "rclone and tim-store publish --push do"
)
"""Remedy if a store would be made or changed at a URL where it cannot be locked."""

ZARR_METADATA: Final = ("zarr.json", ".zgroup", ".zarray")
"""Files that make a folder a Zarr group or array."""

OUTPUT_LOCALLY: Final = "a URL is only read; write to a local folder, and copy it there"
"""Remedy for every other output; `Path` would take a URL for a local folder called ``s3:``."""


def check_local(option: str, path: Path, remedy: str) -> None:
    """Make sure that a path is one on this machine.

    Args:
        option: The option it was given with, for the message.
        path: The path.
        remedy: What to do about it.

    Raises:
        RemotePathError: If it is a URL.
    """
    location = as_path(path)
    if isinstance(location, RemotePath):
        raise RemotePathError(f"{option} {location}: {remedy}")


def check_writable(option: str, path: Path) -> None:
    """Make sure that a store can be written at a path: on this machine, or in a folder of a bucket.

    Raises:
        RemotePathError: If it is a URL of another protocol, or of a bucket itself.
    """
    location = as_path(path)
    if not isinstance(location, RemotePath):
        return
    if location.protocol not in WRITABLE:
        raise RemotePathError(f"{option} {location}: {WRITE_LOCALLY}")
    if len(location.parts) < 3:  # the protocol, the bucket, and beside the folder there the lock
        raise RemotePathError(
            f"{option} {location}: a whole bucket; name a folder in it, as in {location}/store"
        )


def check_outside(out: Path, store: Path) -> None:
    """Make sure that what is made from a store is not written into it.

    Args:
        out: Where it is to be written.
        store: Folder of the store.

    Raises:
        OutputError: If `out` is the store or lies within it, links followed.
    """
    if out.resolve().is_relative_to(store.resolve()):
        raise OutputError(out, f"lies within the store {store}")


def check_outside_stores(path: Path) -> None:
    """Make sure that an output does not lie within any Zarr store, whose own files it could replace.

    Raises:
        OutputError: If a folder above `path`, links followed, is a Zarr group or array.
    """
    for folder in Path(os.path.realpath(path)).parents:
        if any((folder / name).is_file() for name in ZARR_METADATA):
            raise OutputError(path, f"lies within the Zarr store {folder}")


def read_text(path: Path) -> str:
    """Read the text of a file that a user or a stranger names.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a pipe or a device, which could block forever, too large, or not UTF-8.
    """
    # a file that is missing is left to `stat`, whose error says so
    if path.exists() and not path.is_file():
        raise ValueError("not a regular file")
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ValueError(f"{path.stat().st_size:,} bytes, at most {MAX_TEXT_BYTES:,} are read")
    return path.read_text(encoding="utf-8-sig")  # Excel and Notepad begin UTF-8 with a byte order mark


def printable(text: str) -> str:
    """Make text from a file safe for a terminal: control characters, which could move its cursor, are spelled out."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give the path of an empty draft beside `path`, and rename the draft to it at the end; missing folders are made.

    The draft has a random name and is flushed to disk before it is renamed, so that neither a kill nor a power cut
    leaves half a file. A link at `path` is replaced, not followed. Drafts of killed runs in the folder are deleted.

    Raises:
        OutputError: If the folder or file cannot be written; no draft is left behind.
        RemotePathError: If it is a URL.
    """
    check_local("output", path, OUTPUT_LOCALLY)
    with _as_output_errors(path):
        check_outside_stores(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _draft(path.parent, _new_file) as draft:
            yield draft
            # content before name, so that a power cut cannot leave the name of an empty file
            flush(draft)
            draft.replace(path)
            flush(path.parent)


def check_free(path: Path) -> None:
    """Make sure that a folder can be made.

    Raises:
        OutputError: If something is there already.
        RemotePathError: If it is a URL.
    """
    check_local("output", path, OUTPUT_LOCALLY)
    check_outside_stores(path)
    # `exists` follows links, so it does not see one that leads nowhere
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise OutputError(path, "exists and is not empty")


@contextlib.contextmanager
def atomic_folder(path: Path, *, replaces: bool = False) -> Iterator[Path]:
    """Give an empty draft folder beside `path`, which takes its name at the end: whole or not at all.

    Args:
        path: The folder to make.
        replaces: Whether it takes the place of a folder that is there, which is left as it is until then.

    Raises:
        OutputError: If something is there that it does not replace, or it cannot be written; no draft is left behind.
        RemotePathError: If it is a URL.
    """
    if replaces:
        check_local("output", path, OUTPUT_LOCALLY)
        check_outside_stores(path)
    else:
        check_free(path)
    with _as_output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _draft(path.parent, _new_folder) as draft:
            yield draft
            # from the inside out: each folder's names after what they stand for
            for folder, _, names in os.walk(draft, topdown=False):
                for name in names:
                    flush(Path(folder, name))
                flush(Path(folder))
            if replaces and path.exists():
                with _draft(path.parent, _new_folder) as replaced:
                    # whole, as files are deleted one by one, and a reader would take what is left for the folder
                    path.rename(replaced)
                    draft.rename(path)
            else:
                draft.rename(path)  # takes the place of an empty folder, in one step
            flush(path.parent)


@contextlib.contextmanager
def _as_output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    # among them OutputError, which is an OSError too
    except AugmentStoreError:
        raise
    except OSError as error:
        failed = OutputError(path, error.strerror or error)
        failed.errno = error.errno  # by which commands tell a full disk from a wrong path
        raise failed from error


_DRAFT: Final = re.compile(r"\.draft\.[0-9a-f]{16}")

_LOOKED_AT: Final = 1000
"""Entries of a folder that are searched for drafts at each write; all of them at a process's first write there."""

_ABANDONED_SECONDS: Final = 86_400
"""Age at which a draft is given up for dead where no lock can tell."""

_swept: set[Path] = set()


@contextlib.contextmanager
def _draft(folder: Path, make: Callable[[Path], int]) -> Iterator[Path]:
    """Make a draft and delete it at the end if it still has its name.

    It is locked as long as its process lives, which is how others know that it is no leftover.

    Args:
        folder: Where it is.
        make: Makes it, fails if something has its name, and returns an open descriptor.
    """
    _sweep(folder)
    draft, descriptor = _reserve(folder, make)
    try:
        yield draft
    finally:
        try:
            _delete(draft)
        finally:
            os.close(descriptor)


def _reserve(folder: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Make a draft that is locked and has its name still: another process may have swept it away in between."""
    while True:
        draft = folder / f".draft.{secrets.token_hex(8)}"
        descriptor = make(draft)
        try:
            locked = lock_descriptor(descriptor, blocking=False)
        except OSError:  # a file system without locks
            return draft, descriptor
        if locked and draft.exists():
            return draft, descriptor
        os.close(descriptor)


def _new_file(draft: Path) -> int:
    # fails on whatever has the name; 0o666 is narrowed by the umask
    return os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)


def _new_folder(draft: Path) -> int:
    draft.mkdir()
    # opened for its lock alone
    return os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _delete(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        draft.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Delete drafts that killed processes left in a folder; those that live ones hold stay."""
    first = folder not in _swept
    _swept.add(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:  # writing there says what is wrong
        for entry in itertools.islice(entries, None if first else _LOOKED_AT):
            if _DRAFT.fullmatch(entry.name):
                _delete_abandoned(Path(entry.path))


def _delete_abandoned(draft: Path) -> None:
    with contextlib.suppress(OSError):  # renamed or deleted meanwhile
        # without waiting: a pipe of such a name would block
        descriptor = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            abandoned = lock_descriptor(descriptor, blocking=False)
        except OSError:
            abandoned = time.time() - os.fstat(descriptor).st_mtime > _ABANDONED_SECONDS
        finally:
            os.close(descriptor)
        if abandoned:
            _delete(draft)


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk.

    Raises:
        OSError: If the disk fails, or the path is a link.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(descriptor)


_NO_FSYNC: Final = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
"""Answers of file systems that cannot flush, mostly folders."""


def short_path(text: str) -> str:
    """Cut an absolute path or a URL down to its last two parts, for what leaves this machine."""
    if isinstance(as_path(text), RemotePath):
        text = urlsplit(without_secrets(text)).path or "/"  # not the host either
    # without the / in front, which would make it absolute again
    return "/".join(Path(text).parts[1:][-2:]) if Path(text).is_absolute() else text


def atomic_write(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file part by part.

    Raises:
        OutputError: If it cannot be written.
    """
    with atomic_path(path) as draft, draft.open("wb") as file:
        for part in parts:
            file.write(part)


def write_json(path: Path, value: Any) -> None:
    """Write plain values as JSON that people read: indented, in UTF-8.

    Raises:
        OutputError: If it cannot be written.
        ValueError: If a number is NaN or infinite, which JSON does not have.
    """
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    atomic_write(path, [f"{text}\n".encode()])
