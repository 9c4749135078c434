"""Errors of stage 2; commands print them as one line and exit 2."""

from __future__ import annotations

from augment_store.errors import AugmentStoreError, ChipDataError, ChipSetError


class ConfigError(AugmentStoreError, ValueError):
    """A YAML, or an option of the command line, is invalid or contradicts another."""


class EncodingError(ConfigError):
    """An encoding is unknown, contradicts another one, or does not fit what is cached."""


class SplitError(ChipSetError):
    """Splits overlap, so that a test would prove nothing."""


class LabelError(ChipDataError):
    """A mask holds labels that no class has."""


class RunError(AugmentStoreError, ValueError):
    """A run directory cannot be used: incomplete, of another version, or already taken."""
