"""Checkpoints that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the file and renames: a full disk must not leave half a ``last.ckpt`` to resume from."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Saves a checkpoint.

        Raises:
            OSError: If the disk fails; an earlier file stays.
        """
        place = Path(path)
        draft = place.with_name(f".{place.name}.draft")
        try:
            super().save_checkpoint(checkpoint, draft, storage_options)
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)
