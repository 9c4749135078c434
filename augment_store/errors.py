"""Errors a user can act on. Each message names what was found, what was expected and the remedy.

Commands print them as one line and exit 2. There is a class for each thing that a caller would handle apart:

    AugmentStoreError      options that do not go together, and whatever has no class of its own
    ├── ChipSetError       choose another chip set, or mend its layout, legend, split files or ids
    ├── ChipDataError      mend this chip, or leave it out
    ├── ChipNotFoundError  likewise; also a `FileNotFoundError`
    ├── StoreError         choose another store, or others of its chips and arrays
    │   └── StoreBusyError (`augment_store.io.lock`) wait for the other run to end
    ├── RemotePathError    try again later, or copy to a local folder
    └── OutputError        choose another place for the output; also an `OSError`
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class AugmentStoreError(Exception):
    """Base of every error this project raises on purpose."""

    kind: ClassVar[str] = "error"
    """Stable name of the error for programs, printed with `--json`; never changed, whatever the class is called."""


class ChipSetError(AugmentStoreError, ValueError):
    """A chip set as a whole cannot be used: its layout, legend, ids or splits, or it is not the one of the store."""

    kind = "chip_set"


class RemotePathError(AugmentStoreError, ValueError):
    """A URL was given where only a local path works, or what is at it does not answer."""

    kind = "remote_path"


class ChipNotFoundError(AugmentStoreError, FileNotFoundError):
    """A chip, or one of its modalities, is not on disk."""

    kind = "chip_not_found"


class ChipDataError(AugmentStoreError, ValueError):
    """One chip's content is unusable: unreadable, of wrong shape, bands or type, or without a valid value."""

    kind = "chip_data"


class StoreError(AugmentStoreError, ValueError):
    """A store cannot be used: none, of another schema or spec, damaged, or without what is asked of it."""

    kind = "store"


class OutputError(AugmentStoreError, OSError):
    """An output file cannot be written."""

    kind = "output"

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"{path}: cannot be written ({reason}); choose another place")
