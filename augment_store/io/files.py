"""Reading text within limits, and writing files whole or not at all."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

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
    "rclone and python -m augment_store publish --push do"
)
"""Remedy if a store would be made or changed at a URL where it cannot be locked."""

OUTPUT_LOCALLY: Final = "a URL is only read; write to a local folder, and copy it there"
"""Remedy for every other output; `Path` would take a URL for a local folder called ``s3:``."""


def check_local(option: str, path: Path, remedy: str) -> None:
    """Makes sure that a path is one on this machine.

    Args:
        option: The option it was given with, for the message.
        path: The path.
        remedy: What to do about it.

    Raises:
        RemotePathError: If it is a URL.
    """
    place = as_path(path)
    if isinstance(place, RemotePath):
        raise RemotePathError(f"{option} {place}: {remedy}")


def check_writable(option: str, path: Path) -> None:
    """Makes sure that a store can be written at a path: on this machine, or in a folder of a bucket.

    Raises:
        RemotePathError: If it is a URL of another protocol, or of a bucket itself.
    """
    place = as_path(path)
    if not isinstance(place, RemotePath):
        return
    if place.protocol not in WRITABLE:
        raise RemotePathError(f"{option} {place}: {WRITE_LOCALLY}")
    if len(place.parts) < 3:  # the protocol, the bucket, and beside the folder there the lock
        raise RemotePathError(f"{option} {place}: a whole bucket; name a folder in it, as in {place}/store")


def check_outside(out: Path, store: Path) -> None:
    """Makes sure that what is made from a store is not written into it.

    Args:
        out: Where it is to be written.
        store: Folder of the store.

    Raises:
        OutputError: If `out` is the store or lies within it, links followed.
    """
    if out.resolve().is_relative_to(store.resolve()):
        raise OutputError(out, f"lies within the store {store}")


def read_text(path: Path) -> str:
    """Text of a file that a user or a stranger names.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a pipe or a device, which could block forever, too large, or not UTF-8.
    """
    if path.exists() and not path.is_file():
        raise ValueError("not a regular file")
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ValueError(f"{path.stat().st_size:,} bytes, at most {MAX_TEXT_BYTES:,} are read")
    return path.read_text(encoding="utf-8")


def printable(text: str) -> str:
    """Text from a file made safe for a terminal: control characters, which could move its cursor, are spelled out."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a draft's path beside `path` and renames the draft to it at the end; missing folders are made.

    Raises:
        OutputError: If the folder or file cannot be written; no draft is left behind.
        RemotePathError: If it is a URL.
    """
    check_local("output", path, OUTPUT_LOCALLY)
    draft = path.with_name(f".draft.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(path)
    except AugmentStoreError:
        raise
    except OSError as error:
        raise OutputError(path, error.strerror or error) from error
    finally:
        if draft.exists():
            draft.unlink()


def check_free(path: Path) -> None:
    """Makes sure that a folder can be made.

    Raises:
        OutputError: If something is there already.
        RemotePathError: If it is a URL.
    """
    check_local("output", path, OUTPUT_LOCALLY)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputError(path, "exists and is not empty")


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Gives an empty draft folder beside `path`, which takes its name at the end: whole or not at all.

    Raises:
        OutputError: If something is there already, or it cannot be written; no draft is left behind.
        RemotePathError: If it is a URL.
    """
    check_free(path)
    draft = path.with_name(f".draft.{path.name}")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        yield draft
        if path.is_dir():
            path.rmdir()  # empty; the draft takes its place
        draft.rename(path)
    except AugmentStoreError:
        raise
    except OSError as error:
        raise OutputError(path, error.strerror or error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def short_place(text: str) -> str:
    """An absolute path or a URL cut down to its last two parts, for what leaves this machine; other text as it is."""
    if isinstance(as_path(text), RemotePath):
        text = urlsplit(without_secrets(text)).path or "/"  # not the host either
    return "/".join(Path(text).parts[1:][-2:]) if Path(text).is_absolute() else text


def atomic_write(path: Path, parts: Iterable[bytes]) -> None:
    """Writes a file part by part.

    Raises:
        OutputError: If it cannot be written.
    """
    with atomic_path(path) as draft, draft.open("wb") as file:
        for part in parts:
            file.write(part)


def write_json(path: Path, value: Any) -> None:
    """Writes plain values as JSON that people read: indented, in UTF-8.

    Raises:
        OutputError: If it cannot be written.
        ValueError: If a number is NaN or infinite, which JSON does not have.
    """
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    atomic_write(path, [f"{text}\n".encode()])
