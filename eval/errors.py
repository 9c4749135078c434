"""Errors of evaluation; commands print them as one line and exit 2."""

from __future__ import annotations

from augment_store.errors import AugmentStoreError, StoreError


class ScoreError(AugmentStoreError, ValueError):
    """A score cannot be made or read: no test chips, files missing, damaged or of another version."""


class CheckpointError(AugmentStoreError, ValueError):
    """A checkpoint does not fit the configuration it is to be evaluated with."""


class IncompleteRunError(AugmentStoreError, ValueError):
    """A run did not come to its end, so that its weights are not what its configuration makes."""


class OtherStoreError(StoreError):
    """A store is not the one a run was trained on."""


class ComparisonError(AugmentStoreError, ValueError):
    """Runs cannot be compared."""


class SplitMismatchError(ComparisonError):
    """Runs were scored on different test splits, references or scenes."""


class MissingChipsError(SplitMismatchError):
    """A run lacks chips that another one has."""


class ClassMismatchError(ComparisonError):
    """Runs have different class lists."""


class NoReferenceError(ComparisonError):
    """No reference pixel of any class: there is nothing to compare with."""


class StudyError(AugmentStoreError, ValueError):
    """A study's configuration cannot be, or one of its steps failed."""


class PublishError(AugmentStoreError, ValueError):
    """A run cannot be published as asked."""
