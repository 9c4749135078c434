"""Remarks of Lightning during a generation run that nobody needs to read."""

from __future__ import annotations

from typing import Final

from augment_store.utils.log_filters import UNPLACED

REMARKS: Final = (
    UNPLACED,
    ".*does not have many workers.*",  # our own threads read ahead
    ".*isinstance.treespec, LeafSpec.*",  # lightning uses torch's old name
)

LOGGERS: Final = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
"""Loggers that list the hardware."""
