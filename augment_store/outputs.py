"""Writing output files whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from augment_store.errors import AugmentStoreError, OutputError


@contextlib.contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Gives a draft's path beside `path` and renames the draft to it at the end; folders are made.

    Raises:
        OutputError: If the folder or file cannot be written; no draft is left behind.
    """
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


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Writes a file part by part.

    Raises:
        OutputError: If it cannot be written.
    """
    with draft_of(path) as draft, draft.open("wb") as file:
        for part in parts:
            file.write(part)
