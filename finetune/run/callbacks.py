"""Lightning callbacks and plugins of a run: predictions as GeoTIFFs, whole checkpoints, losses that are numbers."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from rich.console import Console
from torch import Tensor

from augment_store.io.files import atomic_path
from finetune.data.datamodule import TimStoreDataModule
from finetune.errors import RunError
from finetune.run.geotiff import write_classes
from terramind_weights.checkpoint import NETWORK


class WholeCheckpoints(TorchCheckpointIO):
    """Write beside the file and rename: a full disk must not leave half a ``last.ckpt`` to resume from."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save a checkpoint.

        Raises:
            OutputError: If the disk fails; an earlier file stays.
        """
        with atomic_path(Path(path)) as draft:
            super().save_checkpoint(checkpoint, draft, storage_options)


class FiniteTraining(Callback):
    """Stop a training whose loss or weights are no longer numbers, before a checkpoint of it is kept.

    Losses are looked at on the device and read at every logged step only, so that no step waits for them.
    """

    def __init__(self) -> None:
        self._first_bad: Tensor | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the step whose loss is not finite.

        Raises:
            RunError: At a logged step, if there was one.
        """
        if str(trainer.precision).startswith("16"):
            return  # the scaler of 16 bits skips steps that overflow; only the weights tell
        loss = outputs["loss"].detach()
        # kept on the device: reading a number would wait for the step
        step = torch.full((), trainer.global_step, device=loss.device)
        # -1 stands for no such step yet
        bad = torch.where(loss.isfinite(), -1, step)
        self._first_bad = (
            bad if self._first_bad is None else torch.where(self._first_bad < 0, bad, self._first_bad)
        )
        # 0 turns Lightning's logging off
        if trainer.global_step % max(trainer.log_every_n_steps, 1) == 0:  # type: ignore[attr-defined]
            self._check_losses(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the weights before they are validated, and may become the best checkpoint."""
        # the sanity check before training validates weights that nothing has changed yet
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._check(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the weights where an epoch has no validation, and the validation loss, which ranks checkpoints."""
        self._check(trainer, pl_module)
        # absent where an epoch has no validation
        loss = trainer.callback_metrics.get("val/loss")
        # a smoke run keeps no checkpoint, and its few chips may hold no label
        if loss is not None and not bool(torch.isfinite(loss)) and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            raise RunError(
                f"val/loss is {float(loss)} in epoch {trainer.current_epoch}, so no checkpoint can be the best: no "
                "mask of the validation split holds a label that counts, or the network's output overflows; check the "
                "split, or train with trainer.precision 32-true"
            )

    def _check(self, trainer: Trainer, module: LightningModule) -> None:
        self._check_losses(trainer)
        state = module.state_dict()
        # not the state of metrics and losses; whole numbers are always finite
        floats = {n: v for n, v in state.items() if n.startswith(NETWORK) and v.is_floating_point()}
        # one transfer for all tensors instead of one each
        finite = torch.stack([value.isfinite().all() for value in floats.values()])
        if not bool(finite.all()):
            # only now one by one, for the message
            name = next(name for name, good in zip(floats, finite.tolist(), strict=True) if not good)
            raise _diverged(f"weight {name}", trainer, trainer.global_step)

    def _check_losses(self, trainer: Trainer) -> None:
        # reads the number from the device, which waits for it
        if self._first_bad is not None and (step := int(self._first_bad)) >= 0:
            raise _diverged("loss", trainer, step)


def _diverged(what: str, trainer: Trainer, step: int) -> RunError:
    return RunError(
        f"{what} is not finite (NaN or infinity) in epoch {trainer.current_epoch}, step {step}; train again with a "
        "smaller learning rate, or with trainer.precision bf16-mixed or 32-true, or look for such values in the inputs"
    )


class EpochLines(Callback):
    """Write a line for each epoch on stderr, in place of a progress bar where this is no terminal."""

    def __init__(self) -> None:
        self._started = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Turn off a bar whose last state would be all that a log file has of it."""
        bar = trainer.progress_bar_callback
        # it writes on stdout, and a notebook draws it
        if bar is not None and not sys.stdout.isatty() and not Console().is_jupyter:
            bar.disable()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the time."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write losses, validation mIoU and seconds of the epoch."""
        bar = trainer.progress_bar_callback is not None and sys.stdout.isatty()
        if bar or not trainer.is_global_zero or trainer.sanity_checking:
            return
        found = trainer.callback_metrics
        told = [f"{name} {float(found[name]):.4f}" for name in ("train/loss", "val/loss") if name in found]
        told += [f"val/mIoU {100 * float(found['val/mIoU']):.2f} %"] if "val/mIoU" in found else []
        total = f" of {trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""
        seconds = time.monotonic() - self._started
        line = ", ".join([*told, f"{seconds:.0f} s"])
        sys.stderr.write(f"epoch {trainer.current_epoch + 1}{total}: {line}\n")


class PredictionWriter(BasePredictionWriter):
    """Write ``<chip id>.tif`` with the predicted class of each pixel, georeferenced as the chip.

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
        """Write the predictions of a batch, ``((classes [B, H, W], "pred"), file names)`` as TerraTorch returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # the pairs are TerraTorch's: what was made with its kind, and the file names
        (classes, _), _ = prediction
        ids = self.datamodule.datasets["predict"].members.ids
        # batch_indices are positions in the split, whatever the sampler's order
        for index, pixels in zip(batch_indices or (), classes, strict=True):
            place = self.datamodule.georeference("predict", ids[index])
            found = pixels.cpu().numpy().astype(np.int16)
            write_classes(self.folder, self.datamodule.chips, ids[index], found, place)
