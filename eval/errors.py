"""The error of evaluation; commands print it as one line and exit 2."""

from __future__ import annotations

from augment_store.errors import AugmentStoreError


class EvaluationError(AugmentStoreError, ValueError):
    """A score, comparison, study or report cannot be made or read as asked."""

    kind = "evaluation"
