"""Writing predicted classes as GeoTIFFs, a file per chip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from finetune.data.datamodule import TimStoreDataModule
from finetune.run.class_maps import write_classes


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
            write_classes(
                self.folder, self.datamodule.chips, ids[index], pixels.cpu().numpy().astype(np.int16)
            )
