"""Errors of stage 1 that a user can act on."""

from __future__ import annotations

from augment_store.errors import AugmentStoreError


class OptionsError(AugmentStoreError, ValueError):
    """An option has an invalid value, contradicts another one, or asks for what the machine does not have."""

    kind = "options"
