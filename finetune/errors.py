"""Errors of stage 2; commands print them as one line and exit 2."""

from __future__ import annotations

from augment_store.errors import AugmentStoreError


class ConfigError(AugmentStoreError, ValueError):
    """A YAML, or an option of the command line, is invalid or contradicts another."""

    kind = "config"


class RunError(AugmentStoreError, ValueError):
    """A run directory cannot be used: incomplete, of another version, or already taken."""

    kind = "run"
