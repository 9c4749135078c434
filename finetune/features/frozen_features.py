"""Run a frozen backbone once for every chip of a training and every symmetry that its augmentation draws."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from terratorch.tasks import SemanticSegmentationTask
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from augment_store.io.lock import file_lock
from augment_store.modalities.map_arrays import TOKENS
from augment_store.utils.progress import ProgressReporter
from finetune.data.datamodule import TimStoreDataModule
from finetune.data.dataset import ChipDataset, collate
from finetune.features.feature_dataset import (
    SPLITS_OF_A_FIT,
    FeatureDataset,
    HeldArrays,
    check_samples,
    wanted_records,
)
from finetune.features.feature_store import ChipRecord, FeatureStore
from finetune.features.frozen_encoder import EncoderOutput, bypass_encoder, check_frozen, key_of, run_encoder
from finetune.features.symmetries import symmetries_of, turned

Config = Mapping[str, Any]


class TurnedChip(NamedTuple):
    """A chip as the backbone gets it.

    Attributes:
        chip_id: The chip.
        samples: One sample for each symmetry: ``image`` and ``maps`` by name, and ``filename``.
    """

    chip_id: str
    samples: list[dict[str, Any]]


class TurnedChips(Dataset[TurnedChip]):
    """Chips under each symmetry that is wanted of them.

    Args:
        datasets: Dataset of each chip, by its id.
        wanted: What its features must be made from.
    """

    def __init__(self, datasets: Mapping[str, ChipDataset], wanted: Mapping[str, ChipRecord]) -> None:
        self._datasets = datasets
        self._wanted = tuple(wanted.items())

    def __len__(self) -> int:
        return len(self._wanted)

    def __getitem__(self, index: int) -> TurnedChip:
        """Read a chip and turn it."""
        chip_id, record = self._wanted[index]
        dataset = self._datasets[chip_id]
        images = dataset.read_images(chip_id)
        # only tokens enter the backbone; with them, the identity is the only symmetry
        maps = (
            dataset.read_maps(chip_id) if dataset.maps is not None and TOKENS in dataset.maps.arrays else {}
        )
        tensors = {name: torch.from_numpy(values) for name, values in maps.items()}
        return TurnedChip(
            chip_id,
            [
                {
                    "image": {name: torch.from_numpy(image) for name, image in made.items()},
                    "maps": tensors,
                    "filename": dataset.filename(chip_id),
                }
                for made in turned(images, record.symmetries)
            ],
        )


class FrozenFeatures:
    """Features of one training: what they must be, and where they are.

    Args:
        task: The task, its weights as training starts.
        datamodule: Its data; what needs no chip is checked before they are set up for training, which takes long.
        config: Final configuration as plain values.
        path: Folder of the features.

    Raises:
        ConfigError: If the backbone is not the same in each step, transforms do more to an image than turn it, or one
            of several generated samples is drawn.
    """

    def __init__(
        self, task: SemanticSegmentationTask, datamodule: TimStoreDataModule, config: Config, path: Path
    ) -> None:
        check_frozen(task, datamodule)
        check_samples(datamodule)
        self.task, self.datamodule, self.config, self.path = task, datamodule, config, path
        self._symmetries = {
            split: symmetries_of(datamodule.transforms[split], split) for split in SPLITS_OF_A_FIT
        }

    @cached_property
    def store(self) -> FeatureStore:
        """Features on disk.

        Raises:
            RunError: If there are none, or they are of another key.
        """
        found = FeatureStore.open(self.path)
        key_of(self.task, self.datamodule, self.config, found.key.dtype).check(self.path, found.key)
        return found

    @cached_property
    def wanted(self) -> dict[str, ChipRecord]:
        """What the features of each chip must be made from; the data must be set up."""
        return wanted_records(self.datamodule, self._symmetries)

    def encode(self, trainer: Trainer, dtype: str) -> int:
        """Make the features that are missing; return for how many chips.

        Args:
            trainer: Its device and precision are used.
            dtype: Type in which features are kept.

        Raises:
            RunError: If there are features of another key, or values that this type cannot hold.
            OutputError: If they cannot be written; those that are complete stay.
        """
        with file_lock(self.path):
            store = FeatureStore.create(self.path, key_of(self.task, self.datamodule, self.config, dtype))
            missing = store.missing(self.wanted)
            device = trainer.strategy.root_device
            self.task.model.to(device).eval()
            with (
                torch.inference_mode(),
                trainer.precision_plugin.forward_context(),
                ProgressReporter("encoding", len(missing), unit="chip") as progress,
            ):
                for chip_id, values, axes in self._made(missing, store.key.layers, device):
                    store.write(chip_id, dataclasses.replace(missing[chip_id], axes=axes), values)
                    progress.advance()
        return len(missing)

    def _made(
        self, missing: Mapping[str, ChipRecord], layers: Sequence[int], device: torch.device
    ) -> Iterator[tuple[str, NDArray[np.float32], tuple[int, ...]]]:
        """Yield each chip with its features, ``[symmetry, layer, …]``, and the order of their axes."""
        waiting: list[NDArray[np.float32]] = []
        # one stream of images, so that batches are full whatever the number of symmetries
        turns = ((chip.chip_id, sample) for chip in self._turned(missing) for sample in chip.samples)
        while batch := list(itertools.islice(turns, self.datamodule.batch_size)):
            made = self._encoded([sample for _, sample in batch], layers, device)
            # shorter than a padded batch
            for (chip_id, _), values in zip(batch, made.values, strict=False):
                waiting.append(values)
                # the images of a chip follow one another
                if len(waiting) == len(missing[chip_id].symmetries):
                    yield chip_id, np.stack(waiting), made.axes
                    waiting = []

    def _turned(self, missing: Mapping[str, ChipRecord]) -> Iterator[TurnedChip]:
        datasets = {
            chip_id: dataset
            for dataset in map(self.datamodule.datasets.__getitem__, SPLITS_OF_A_FIT)
            for chip_id in dataset.members.ids
        }
        loader = DataLoader(
            TurnedChips(datasets, missing),
            batch_size=None,
            num_workers=self.datamodule.num_workers,
        )
        yield from loader

    def _encoded(
        self, samples: Sequence[dict[str, Any]], layers: Sequence[int], device: torch.device
    ) -> EncoderOutput:
        """Run the backbone on a batch of always the same size: kernels choose their arithmetic by it."""
        size = self.datamodule.batch_size
        # the tail is padded with its first image
        batch = collate([*samples, *[samples[0]] * (size - len(samples))])
        given = {
            part: {name: tensor.to(device) for name, tensor in batch[part].items()}
            for part in ("image", "maps")
        }
        images: Mapping[str, Tensor] = self.datamodule.model_batch({**batch, **given})["image"]
        return run_encoder(self.task, images, layers)

    def join(self) -> None:
        """Let the training read features instead of images.

        Raises:
            RunError: If there are none, or they are of another key, or a chip lacks them.
        """
        axes = self.store.check(self.wanted)
        # each of the workers of both splits holds arrays of its own
        held = HeldArrays(self.datamodule.memory_limit // max(1, 2 * self.datamodule.num_workers))
        for split in SPLITS_OF_A_FIT:
            chips = self.datamodule.datasets[split]
            joined = FeatureDataset(chips, self.datamodule, split, self.store, self.wanted, held)
            self.datamodule.datasets[split] = joined
        bypass_encoder(self.task, self.store.key.layers, axes)
