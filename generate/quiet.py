"""What Lightning remarks during a generation run and nobody needs to read."""

from __future__ import annotations

from typing import Final

from augment_store.quiet import UNPLACED

REMARKS: Final = (
    UNPLACED,
    ".*does not have many workers.*",  # threads of our own read ahead
    ".*isinstance.treespec, LeafSpec.*",  # lightning uses torch's old name
)

LOGGERS: Final = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
"""They tell which hardware there is."""
