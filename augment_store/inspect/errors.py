"""What can go wrong when a store is looked at or exported."""

from __future__ import annotations

from pathlib import Path

from augment_store.errors import AugmentStoreError


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
