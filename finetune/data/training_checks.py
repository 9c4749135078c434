"""Checks of a training as a whole: what it watches, and batches as the network gets them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn

from augment_store.utils.text import pluralize
from finetune.augment.augmentation import Augmentation
from finetune.augment.encodings import Placement
from finetune.data.dataset import ChipDataset, collate
from finetune.data.reach import check_reached
from finetune.model.initialization import check_trainable
from finetune.model.monitors import batches_of_epoch, check_interval, check_monitors
from finetune.model.shapes import try_network


class TrainingData(Protocol):
    """A datamodule that is set up for training."""

    batch_size: int
    datasets: dict[str, ChipDataset]
    augmentation: Augmentation

    def model_batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return a loaded batch as TerraTorch's task takes it."""


def check_training(trainer: Trainer, data: TrainingData) -> None:
    """Check under `terratorch fit`, when data are set up, what our own command checks by itself.

    Args:
        trainer: Before training.
        data: The datamodule.

    Raises:
        ConfigError: If what is joined could not be learnt, a metric is not logged, or the network takes no batch.
    """
    task = trainer.lightning_module
    check_trainable(task)
    if data.augmentation.plan.placement in (Placement.BANDS, Placement.MODALITY):
        # the sample draws random numbers, which training must not miss
        with isolate_rng(include_cuda=False):
            check_reached(task, data.datasets["train"][0], data.augmentation)
    check_monitors(trainer, task)
    check_batches(trainer, task, data)


def check_batches(trainer: Trainer, task: nn.Module, data: TrainingData) -> None:
    """Make sure that the network takes a chip, and the last batch of an epoch of each process.

    Args:
        trainer: Before training.
        task: TerraTorch's task.
        data: The datamodule.

    Raises:
        ConfigError: If it does not.
    """
    size, processes = data.batch_size, trainer.world_size
    chips = len(data.datasets["train"])
    each = -(-chips // processes)  # the sampler repeats chips, so that all processes have as many
    batches = -(-each // size)
    # without a remainder, or where it is not reached, the last batch is a whole one, or the only one
    smallest = (each % size if batches_of_epoch(trainer, batches) == batches else 0) or min(each, size)
    counted = f"{pluralize(chips, 'chip')}, batch_size {size}"
    counted = f"{counted}, {processes} processes" if processes > 1 else counted
    # training then draws as it would without this look, but for one among several samples where no worker reads
    with isolate_rng(include_cuda=False):
        batch = data.model_batch(collate([data.datasets["train"][0]]))
    try_network(task, batch["image"], counted if smallest == 1 else None)
    check_interval(trainer, batches)
