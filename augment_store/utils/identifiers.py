"""Which ids can be part of a file name, of chips and of scenes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from augment_store.errors import StoreError

MAX_NAME_BYTES: Final = 200
"""Bytes of a chip or scene id, so that a suffix still fits the 255 that file systems allow."""


def check_name(what: str, name: str) -> None:
    """Make sure that an id read from a file can be part of a file name, and of a line in a terminal.

    Args:
        what: What it names, for the message.
        name: The id.

    Raises:
        StoreError: If it is empty, too long, not printable, or holds a path separator.
    """
    if not name or name in {".", ".."} or "/" in name or "\\" in name or not name.isprintable():
        reason = "it is empty, . or .., not printable, or holds a path separator"
    elif len(name.encode(errors="replace")) > MAX_NAME_BYTES:
        reason = f"it is longer than {MAX_NAME_BYTES} bytes"
    else:
        return
    raise StoreError(f"{what} {name[:60]!r} is invalid: {reason}")


def check_names(what: str, names: Iterable[str]) -> None:
    """Check many names at once as `check_name` does; they are checked one by one only if something looks suspicious.

    Raises:
        StoreError: If one is invalid.
    """
    found = list(names)
    together = "".join(found)
    plain = together.isascii() and together.isprintable() and "/" not in together and "\\" not in together
    # plain names are ASCII, so characters are bytes here
    if not plain or {"", ".", ".."} & set(found) or max(map(len, found), default=0) > MAX_NAME_BYTES:
        for name in found:
            check_name(what, name)
