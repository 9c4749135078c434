"""Errors a user can act on. Each message names what was found, what was expected and the remedy."""

from __future__ import annotations

from pathlib import Path


class AugmentStoreError(Exception):
    """Base of every error this project raises on purpose; commands print it as one line and exit 2."""


class ChipSetError(AugmentStoreError, ValueError):
    """A chip set as a whole cannot be used: no chips, unknown layout, unusable ids or split files."""


class RemotePathError(AugmentStoreError, ValueError):
    """A URL was given where only a local path works, or what is at it does not answer."""


class ChipNotFoundError(AugmentStoreError, FileNotFoundError):
    """A chip, or one of its modalities, is not on disk."""


class ChipDataError(AugmentStoreError, ValueError):
    """One chip's content is unusable: unreadable, of wrong shape, bands or type, or without a valid value."""


class StoreError(AugmentStoreError, ValueError):
    """A store cannot be used: not a store, another schema version, damaged, or unsuitable for the request."""


class SpecMismatchError(StoreError):
    """A store was made by another generation spec than the one asked for."""


class EmptyStoreError(AugmentStoreError, ValueError):
    """A store holds no complete chip yet."""


class SelectionError(AugmentStoreError, ValueError):
    """The chips asked for cannot be shown: unknown, not complete, or too many."""


class OtherChipsError(AugmentStoreError, ValueError):
    """The chip set given is not the one the store was generated from."""


class OutputError(AugmentStoreError, OSError):
    """An output file cannot be written."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"{path}: cannot be written ({reason}); choose another place")


class MosaicError(AugmentStoreError, ValueError):
    """Chips of a scene cannot be joined: not georeferenced, or not on one grid."""


class PublishError(AugmentStoreError, ValueError):
    """A run or a store cannot be published as asked."""


class ExportError(AugmentStoreError, ValueError):
    """An export cannot be made as asked, or its result is invalid for its format."""
