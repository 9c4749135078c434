"""Notes on stderr, and filters for noisy library warnings."""

from __future__ import annotations

import sys
from typing import Final

from augment_store.utils.log_filters import UNPLACED

REMARKS: Final = (
    UNPLACED,
    "LightningCLI's args parameter is intended to run from within",
    ".*does not have many workers.*",  # lightning: reading ahead is ours to decide
    ".*isinstance.treespec, LeafSpec.*",  # lightning uses torch's old name
    ".*will be overridden by `FinetuneCLI.configure_optimizers`.*",  # lightning's way with a YAML's optimizer
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*The ``compute`` method of metric .* was called before the ``update`` method.*",  # terratorch
    r"\s*Dump of a value that does not round-trip",  # jsonargparse: ranges of a transform, read back as lists
    ".*You are using PEFT without a pretrained backbone.*",  # terratorch: weights are loaded later, with proof
)

LOGGERS: Final = (
    *("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"),
    "lightning.fabric.utilities.seed",  # listed by itself, because lightning.fabric sets its level on import
)
"""Loggers that list the hardware, and the seed, which the run's configuration holds."""


def notify(message: str) -> None:
    """Write a note on stderr: a setting of the user's that was changed, or is doubtful."""
    sys.stderr.write(f"note: {message}\n")
