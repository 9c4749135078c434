"""Audit of what another datamodule makes of its training samples, before anything is trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor

from augment_store.utils.sampling import spread_evenly
from augment_store.utils.text import single_line
from finetune.data.joined.loaders import list_loaders
from finetune.data.standardization_audit import (
    AUDITED_CHIPS,
    ODD_MEAN,
    Levels,
    measure_levels,
    say_concern,
)
from finetune.errors import ConfigError


def audit_batches(datamodule: LightningDataModule, task: Any) -> None:
    """Look at the values that the network will get from some training samples, standardized by the datamodule.

    Args:
        datamodule: Set up for training, with a trainer that trains.
        task: What will be trained; its ``hparams`` may tell the number of classes and the ignored label.

    Raises:
        ConfigError: If they are absurd or not finite, a mask holds another label, or the datamodule fails on them.
    """
    raw: dict[str, list[NDArray[Any]]] = defaultdict(list)
    standardized: dict[str, list[NDArray[Any]]] = defaultdict(list)
    for loader in list_loaders(datamodule.train_dataloader()):
        for position in spread_evenly(range(len(loader.dataset)), AUDITED_CHIPS):  # type: ignore[arg-type] # by position
            batch = loader.collate_fn([loader.dataset[position]])
            batch.pop("maps", None)
            # copied: some steps standardize in place
            before = {name: image.clone() for name, image in _images(batch).items()}
            _check_labels(batch.get("mask"), getattr(task, "hparams", {}))
            after = _images(_standardize(datamodule, batch))
            _check_shapes(before, after)
            _check_finite(before, after, type(datamodule).__name__)
            _append(raw, before)
            _append(standardized, after)
    # the datamodule may rename images, or add some, on the way to the device
    for name in sorted(standardized.keys() & raw.keys()):
        found = measure_levels(name, raw[name], standardized[name])
        say_concern(found, type(datamodule).__name__, _remedy(measure_levels(name, raw[name], raw[name])))


def _remedy(before: Levels) -> str:
    """Return what to do, by the levels before the datamodule standardizes."""
    # as where the data set has statistics of its own, and the datamodule others
    if (abs(before.means) < ODD_MEAN).all() and ((before.stds > 0.5) & (before.stds < 2)).all():
        return "The samples are standardized before; leave one of the two out, such as by norm: false"
    return "Give the datamodule's means and stds as numbers in the unit on disk"


def _standardize(datamodule: LightningDataModule, batch: dict[str, Any]) -> dict[str, Any]:
    try:
        with torch.no_grad():
            made: dict[str, Any] = datamodule.on_after_batch_transfer(batch, 0)
    # any datamodule may be here, and Kornia's steps raise what PyTorch raises
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
        raise ConfigError(
            f"{type(datamodule).__name__} fails where it standardizes a batch of its own: {single_line(error)}; take "
            "another datamodule, such as finetune.data.datamodule.TimStoreDataModule with a layout of the files"
        ) from error
    return made


def _check_labels(mask: Any, hparams: Mapping[str, Any]) -> None:
    """Make sure that a mask holds labels of the task's classes, or the ignored one."""
    classes, ignored = (hparams.get("model_args") or {}).get("num_classes"), hparams.get("ignore_index")
    # without classes, a task of another kind
    if classes is None or not isinstance(mask, Tensor) or mask.is_floating_point():
        return
    strange = [
        label for label in torch.unique(mask).tolist() if label != ignored and not 0 <= label < classes
    ]
    if strange:
        raise ConfigError(
            f"a mask of the train split holds label {strange[0]}; expected 0 to {classes - 1} (num_classes {classes})"
            f", or ignore_index {ignored}; set these two, or reduce_zero_label and no_label_replace of the datamodule"
        )


def _check_finite(before: dict[str, Tensor], after: dict[str, Tensor], owner: str) -> None:
    """Make sure that the network gets numbers; one NaN makes the loss NaN, and all weights by it."""
    for name, image in after.items():
        if bool(image.isfinite().all()):
            continue
        if name in before and not bool(before[name].isfinite().all()):
            raise ConfigError(f"{name}: a sample holds NaN or infinity; give {owner} no_data_replace: 0")
        # [B, C, …] → the first band with such a value
        band = int((~image.isfinite()).nonzero()[0, 1])
        raise ConfigError(
            f"{name}: {owner} makes NaN or infinity of band {band} (from 0), as a deviation of 0 does; leave the band "
            "out, or give its stds"
        )


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
