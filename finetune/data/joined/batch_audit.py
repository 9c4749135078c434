"""Audit of what another datamodule makes of its training samples, before anything is trained."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor

from finetune.data.joined.reach import list_loaders
from finetune.data.standardization_audit import measure_levels, say_concern, spread_evenly
from finetune.errors import ConfigError


def audit_batches(datamodule: LightningDataModule) -> None:
    """Look at the values that the network will get from some training samples, standardized by the datamodule.

    Args:
        datamodule: Set up for training, with a trainer that trains.

    Raises:
        ConfigError: If they are absurd.
    """
    raw: dict[str, list[NDArray[Any]]] = defaultdict(list)
    standardized: dict[str, list[NDArray[Any]]] = defaultdict(list)
    for loader in list_loaders(datamodule.train_dataloader()):
        for position in spread_evenly(len(loader.dataset)):  # type: ignore[arg-type] # of a dataset by position
            batch = loader.collate_fn([loader.dataset[position]])
            batch.pop("maps", None)
            # copied: some steps standardize in place
            before = {name: image.clone() for name, image in _images(batch).items()}
            with torch.no_grad():
                after = _images(datamodule.on_after_batch_transfer(batch, 0))
            _check_shapes(before, after)
            _append(raw, before)
            _append(standardized, after)
    # the datamodule may rename images, or add some, on the way to the device
    for name in sorted(standardized.keys() & raw.keys()):
        found = measure_levels(name, raw[name], standardized[name])
        remedy = "Give the datamodule's means and stds as numbers in the unit on disk"
        say_concern(found, type(datamodule).__name__, remedy)


def _images(batch: dict[str, Any]) -> dict[str, Tensor]:
    """Return the images of a batch by modality, without what is no image, such as coordinates."""
    image = batch["image"]
    by_modality = image if isinstance(image, dict) else {"image": image}
    # [B, C, H, W] or [B, C, T, H, W]
    return {name: values for name, values in by_modality.items() if values.ndim in (4, 5)}


def _check_shapes(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    """Make sure that means and stds of several bands do not make several of a single one."""
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        # as many dimensions: timesteps may become bands
        if old.ndim == new.ndim and old.shape[1] == 1 < new.shape[1]:
            raise ConfigError(
                f"{name}: images of one band become {new.shape[1]} where the datamodule standardizes them; give one "
                "of its means and stds for each band"
            )


def _append(levels: dict[str, list[NDArray[Any]]], images: dict[str, Tensor]) -> None:
    for name, image in images.items():
        # [B, C, …] → [C, …] of each image in the batch of one
        levels[name].extend(image.float().numpy())
