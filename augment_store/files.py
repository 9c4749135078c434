"""Writing output files whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from augment_store.errors import AugmentStoreError, OutputError, RemotePathError, StoreError
from augment_store.remote import RemotePath, as_path

LONGEST_NAME: Final = 200
"""Bytes of a chip or scene id, so that a suffix still fits the 255 that file systems take."""


LARGEST_TEXT: Final = 2**26
"""Bytes of a text file that are read: a table of a million chips takes less."""


def check_name(what: str, name: str) -> None:
    """Makes sure that an id read from a file can be part of a file name, and of a line in a terminal.

    Args:
        what: What it names, for the message.
        name: The id.

    Raises:
        StoreError: If it is empty, too long, not printable, or holds a path separator.
    """
    if not name or name in {".", ".."} or "/" in name or "\\" in name or not name.isprintable():
        reason = "it is empty, . or .., not printable, or holds a path separator"
    elif len(name.encode(errors="replace")) > LONGEST_NAME:
        reason = f"it is longer than {LONGEST_NAME} bytes"
    else:
        return
    raise StoreError(f"{what} {name[:60]!r} is invalid: {reason}")


WRITE_LOCALLY: Final = (
    "a store is written to a local folder; copy it when it is complete, as aws s3 sync, rclone and python -m "
    "augment_store publish --push do"
)
"""Remedy where a store at a URL is to be made or changed."""

OUTPUT_LOCALLY: Final = "a URL is only read; write to a local folder, and copy it there"
"""Remedy for whatever else is to be written; to `Path` a URL would be a local folder called ``s3:``."""


def check_local(option: str, path: Path, remedy: str) -> None:
    """Makes sure that a path is one of this machine.

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


def check_outside(out: Path, store: Path) -> None:
    """Makes sure that what is made of a store does not go into it.

    Args:
        out: Where it is to be written.
        store: Folder of the store.

    Raises:
        OutputError: If `out` is the store or lies within it, by whatever links.
    """
    if out.resolve().is_relative_to(store.resolve()):
        raise OutputError(out, f"lies within the store {store}")


def check_names(what: str, names: Iterable[str]) -> None:
    """`check_name` for many names at once; they are looked at one by one only if something is suspicious.

    Raises:
        StoreError: If one is invalid.
    """
    found = list(names)
    together = "".join(found)
    plain = together.isascii() and together.isprintable() and "/" not in together and "\\" not in together
    if not plain or {"", ".", ".."} & set(found) or max(map(len, found), default=0) > LONGEST_NAME:
        for name in found:
            check_name(what, name)


def read_text(path: Path) -> str:
    """Text of a file that a user or a stranger names.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a pipe or a device, which could be waited for without end, too large, or not UTF-8.
    """
    if path.exists() and not path.is_file():
        raise ValueError("not a regular file")
    if path.stat().st_size > LARGEST_TEXT:
        raise ValueError(f"{path.stat().st_size:,} bytes, at most {LARGEST_TEXT:,} are read")
    return path.read_text(encoding="utf-8")


def printable(text: str) -> str:
    """Text from a file as it may go to a terminal: control characters, which could move its cursor, are spelled out."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


@contextlib.contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Gives a draft's path beside `path` and renames the draft to it at the end; folders are made.

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


@contextlib.contextmanager
def draft_folder_of(path: Path) -> Iterator[Path]:
    """Gives an empty draft folder beside `path`, which takes its name at the end: whole or not at all.

    Raises:
        OutputError: If something is there already, or it cannot be written; no draft is left behind.
        RemotePathError: If it is a URL.
    """
    check_local("output", path, OUTPUT_LOCALLY)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputError(path, "exists and is not empty")
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
    """An absolute path cut down to its last two parts, for what leaves this machine; other text as it is."""
    return "/".join(Path(text).parts[1:][-2:]) if Path(text).is_absolute() else text


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Writes a file part by part.

    Raises:
        OutputError: If it cannot be written.
    """
    with draft_of(path) as draft, draft.open("wb") as file:
        for part in parts:
            file.write(part)
