"""Lightning callbacks and plugins of a run: predictions as GeoTIFFs, checkpoints written whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.plugins.io import TorchCheckpointIO

from finetune.data.datamodule import TimStoreDataModule
from finetune.run.geotiff import write_classes


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


class PredictionWriter(BasePredictionWriter):
    """Writes ``<chip id>.tif`` with the predicted class of each pixel, georeferenced as the chip.

    Args:
        folder: Folder to write to; made if missing.
        datamodule: Datamodule, set up for prediction; it says which chip a sample is.
    """

    def __init__(self, folder: Path, datamodule: TimStoreDataModule) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder
        self.datamodule = datamodule

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Writes the predictions of a batch, ``((classes [B, H, W], "pred"), file names)`` as TerraTorch returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (classes, _), _ = prediction
        ids = self.datamodule.datasets["predict"].members.ids
        for index, pixels in zip(batch_indices or (), classes, strict=True):
            place = self.datamodule.georeference("predict", ids[index])
            found = pixels.cpu().numpy().astype(np.int16)
            write_classes(self.folder, self.datamodule.chips, ids[index], found, place)
