"""The files of a report, replaced together."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from augment_store.io.files import atomic_folder
from augment_store.io.lock import file_lock
from eval.errors import EvaluationError

REPORT: Final = "report.json"
MARKDOWN: Final = "report.md"
PAGE: Final = "report.html"
TABLE: Final = "counts.csv"
FILES: Final = frozenset({REPORT, MARKDOWN, PAGE, TABLE})


@contextlib.contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """Give a folder to write a report in, which replaces `out` at the end.

    The old report is moved aside, not overwritten, so that a crash never leaves files of two comparisons: a crash
    between the two renames leaves the old report aside, and the next call puts it back.

    Raises:
        EvaluationError: If `out` holds something other than a report, which would be lost.
        StoreBusyError: If another process is writing a report there.
        OutputError: If a folder cannot be written.
    """
    # if `out` is a link, what is replaced must be its folder, not the link
    final = out.resolve()
    new, old = (final.with_name(f".{word}.{final.name}") for word in ("new", "old"))
    with file_lock(final):
        # an earlier call crashed between the two renames below
        if old.is_dir() and not final.exists():
            old.rename(final)
        _check_alone(out)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        with atomic_folder(new) as draft:
            yield draft
        # a folder cannot be renamed onto one that is not empty
        if final.exists():
            final.rename(old)
        new.rename(final)
        shutil.rmtree(old, ignore_errors=True)


def _check_alone(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise EvaluationError(f"--out {out}: is a file; choose a folder")
    others = sorted(path.name for path in out.iterdir() if path.name not in FILES) if out.is_dir() else []
    if others:
        raise EvaluationError(
            f"--out {out}: holds {others[0]}, which is not part of a report; choose a separate folder"
        )
