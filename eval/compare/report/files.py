"""The files of a report, replaced together."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from augment_store.errors import AugmentStoreError, OutputError
from augment_store.io.lock import file_lock
from eval.errors import ComparisonError

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
        ComparisonError: If `out` holds something other than a report, which would be lost.
        StoreBusyError: If another process is writing a report there.
        OutputError: If a folder cannot be written.
    """
    # if `out` is a link, what is replaced must be its folder, not the link
    final = out.resolve()
    with file_lock(final):
        yield from _replaced(out, final)


def _replaced(out: Path, final: Path) -> Iterator[Path]:
    draft, old = (final.with_name(f".{word}.{final.name}") for word in ("draft", "old"))
    try:
        # an earlier call crashed between the two renames below
        if old.is_dir() and not final.exists():
            old.rename(final)
        _check_alone(out)
        for left in (draft, old):
            shutil.rmtree(left, ignore_errors=True)
        draft.mkdir(parents=True)
        yield draft
        # a folder cannot be renamed onto one that is not empty
        if final.exists():
            final.rename(old)
        draft.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    # an OutputError is an OSError as well, and names its own file
    except AugmentStoreError:
        raise
    except OSError as error:
        raise OutputError(out, error.strerror or error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check_alone(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ComparisonError(f"--out {out}: is a file; choose a folder")
    others = sorted(path.name for path in out.iterdir() if path.name not in FILES) if out.is_dir() else []
    if others:
        raise ComparisonError(
            f"--out {out}: holds {others[0]}, which is not part of a report; choose a separate folder"
        )
