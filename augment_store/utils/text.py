"""Wording that all stages share: names in a list, one line of a text, the time, the versions in use."""

from __future__ import annotations

import contextlib
import difflib
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

LISTED: Final = 3
"""Names that a message lists before it stops with an ellipsis."""


def join_first(names: Iterable[str], listed: int = LISTED) -> str:
    """Join the first of the names, in their order."""
    every = list(names)
    return ", ".join(every[:listed]) + (" …" if len(every) > listed else "")


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the end of a message about a word that is not known: the known one most like it, empty if none is.

    Args:
        word: What was found.
        known: What there is.
        cutoff: Likeness from 0 to 1 that is asked for; higher where an unknown word may be right.
    """
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {found[0]}?" if found else ""


def single_line(text: object) -> str:
    """Return a text without line breaks or runs of spaces, as the line of an error has to be."""
    return " ".join(str(text).split())


def escape_markdown(text: object) -> str:
    """Return text of a file as one line in which Markdown and HTML mean nothing, for sentences and table cells."""
    plain = "".join(char if char.isprintable() else " " for char in str(text))
    # an underscore inside a word is no emphasis; escaped, it would only make names hard to read
    return re.sub(r"[\\`*{}\[\]<>|~&$#]|(?<!\w)_|_(?!\w)", r"\\\g<0>", single_line(plain))


def code_span(text: object) -> str:
    """Return text of a file as Markdown code, which also holds in a table cell."""
    plain = "".join(char if char.isprintable() else " " for char in str(text))
    # a bare | ends a table's cell even inside code, and a backtick ends the code
    return f"`{single_line(plain)}`".replace("|", "\\|") if "`" not in plain else escape_markdown(plain)


def pluralize(number: int, noun: str) -> str:
    """Return a number and its noun: ``1 scene``, ``2 scenes``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def format_size(shape: Sequence[int]) -> str:
    """Return height and width in pixels: ``256 px`` of a square, ``192 × 224 px`` otherwise."""
    height, width = shape
    return f"{height} px" if height == width else f"{height} × {width} px"


def utc_now() -> str:
    """Return the time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return versions of Python and of the packages that are installed; a checkout may not be."""
    found = {"python": platform.python_version()}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def shipped_or_given(name: str, *folders: Path) -> Path | None:
    """Return the YAML of that path, else the one of that name in the folders that ship; None if there is neither."""
    if Path(name).is_file():
        return Path(name)
    shipped = (folder / f"{name.removesuffix('.yaml')}.yaml" for folder in folders)
    # a bare name only: another could lead out of the folder
    return next((path for path in shipped if path.is_file()), None) if Path(name).parent == Path() else None
