"""Errors a user can act on. Each message names what was found, what was expected and the remedy.

Commands print them as a line and exit 2. A class is worth having where a caller handles it apart, or for its `kind`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class AugmentStoreError(Exception):
    """Base of every error this project raises on purpose; commands print it as one line and exit 2."""

    kind: ClassVar[str] = "error"
    """Stable name of the error for programs; subclasses without one of their own have their parent's."""


class ChipSetError(AugmentStoreError, ValueError):
    """A chip set as a whole cannot be used: no chips, unknown layout, unusable ids or split files."""

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
    """A store cannot be used: not a store, another schema version, damaged, or unsuitable for the request."""

    kind = "store"


class SpecMismatchError(StoreError):
    """A store was made by another generation spec than the one asked for."""

    kind = "spec_mismatch"


class SelectionError(AugmentStoreError, ValueError):
    """The chips asked for cannot be shown: none is complete, or they are unknown, not complete, or too many."""

    kind = "selection"


class OtherChipsError(AugmentStoreError, ValueError):
    """The chip set given is not the one the store was generated from."""

    kind = "other_chips"


class OutputError(AugmentStoreError, OSError):
    """An output file cannot be written."""

    kind = "output"

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"{path}: cannot be written ({reason}); choose another place")


class PublishError(AugmentStoreError, ValueError):
    """A run or a store cannot be published as asked."""

    kind = "publish"


class ExportError(AugmentStoreError, ValueError):
    """An export cannot be made: chips are not on one grid, or the result is invalid for its format."""

    kind = "export"
