"""Errors of evaluation; commands print them as one line and exit 2."""

from __future__ import annotations

from augment_store.errors import AugmentStoreError


class ScoreError(AugmentStoreError, ValueError):
    """A score cannot be made or read: wrong checkpoint or store, no test chips, a file missing or damaged."""


class ComparisonError(AugmentStoreError, ValueError):
    """Runs cannot be compared."""


class StudyError(AugmentStoreError, ValueError):
    """A study's configuration is invalid, or one of its steps failed."""
