"""Samples of frozen features: what a training reads in place of a chip's images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finetune.augment.encodings import Placement
from finetune.data.datamodule import TimStoreDataModule
from finetune.data.dataset import ChipDataset
from finetune.data.transforms import SampleTransform
from finetune.errors import ConfigError
from finetune.features.feature_store import ChipRecord, FeatureStore
from finetune.features.symmetries import drawn_symmetry, motions_of

POSITIONS = "positions"
"""Name of the image of pixel positions that stands for a chip's images in its transforms."""

SPLITS_OF_A_FIT = ("train", "val")


def wanted_records(
    datamodule: TimStoreDataModule, symmetries: Mapping[str, tuple[str, ...]]
) -> dict[str, ChipRecord]:
    """Return what the features of each chip of a training must be made from.

    Args:
        datamodule: The data, set up for training.
        symmetries: Those that can be drawn, by split.
    """
    wanted = {}
    joined = datamodule.augmentation.plan.placement is Placement.TOKENS
    for split in SPLITS_OF_A_FIT:
        dataset = datamodule.datasets[split]
        for chip_id in dataset.members.ids:
            inputs = hashlib.sha256(datamodule.surveys[split].by_chip[chip_id]).hexdigest()
            maps = _digest_of_maps(dataset, chip_id) if joined else ""
            wanted[chip_id] = ChipRecord(inputs, maps, symmetries[split])
    return wanted


def check_samples(datamodule: TimStoreDataModule) -> None:
    """Make sure that training would not draw one of several generated samples for the backbone.

    Raises:
        ConfigError: If it would.
    """
    augmentation = datamodule.augmentation
    joined = augmentation.plan.placement is Placement.TOKENS
    if joined and augmentation.maps is not None and augmentation.maps.spec.sampling.samples > 1:
        raise ConfigError(
            f"{augmentation.maps.path}: has {augmentation.maps.spec.sampling.samples} samples a chip, of which "
            "training draws one each time; features are made for one: generate a store with --samples 1, or train "
            "without --features"
        )


def _digest_of_maps(dataset: ChipDataset, chip_id: str) -> str:
    state = hashlib.sha256()
    for name, values in sorted(dataset.read_maps(chip_id).items()):
        state.update(f"{name}|{values.dtype.str}|{values.shape}|".encode())
        state.update(np.ascontiguousarray(values).tobytes())
    return state.hexdigest()


class HeldArrays:
    """Arrays that stay in memory once they were read, until it is full.

    Args:
        limit: Bytes that they may take.
    """

    def __init__(self, limit: int) -> None:
        self._limit = self._room = limit
        self._held: dict[tuple[str, ...], NDArray[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # a spawned worker reads for itself
        return {"_limit": self._limit, "_room": self._limit, "_held": {}}

    def get(self, name: tuple[str, ...], read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the array of a name, which is read if it is not held."""
        held = self._held.get(name)
        if held is None:
            held = read()
            if held.nbytes <= self._room:
                self._room -= held.nbytes
                self._held[name] = held
        return held


class FeatureDataset(ChipDataset):
    """Chips of a split with features in place of images.

    It draws as `ChipDataset` does, so that a chip gets the symmetry that its image would have got.

    Args:
        chips: The split's chips with their masks, maps and transforms.
        datamodule: The data that they belong to.
        split: The split.
        features: Features of each chip.
        wanted: What they must be made from, by `wanted_records`.
        held: Where features and masks stay in memory between epochs.
    """

    def __init__(
        self,
        chips: ChipDataset,
        datamodule: TimStoreDataModule,
        split: str,
        features: FeatureStore,
        wanted: Mapping[str, ChipRecord],
        held: HeldArrays,
    ) -> None:
        super().__init__(chips.chips, chips.members, chips.reading, chips.transform, chips.maps)
        self._features = features
        self._wanted, self._held = wanted, held
        # tokens are in the features, and maps that follow the decoder are not
        self._joined = datamodule.augmentation.plan.placement is not Placement.TOKENS
        arrays = chips.maps.arrays if chips.maps is not None and self._joined else ()
        self._motions = SampleTransform(motions_of(datamodule.transforms[split]), [POSITIONS], arrays, 1)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the sample of one chip: ``features [layer, …]``, ``mask``, ``maps``, and its names."""
        chip_id = self.members.ids[index]
        # the same one draw from torch's generator as for images
        seed = int(torch.randint(2**31, ()))
        mask = self._held.get((chip_id,), lambda: self.chips.mask(chip_id))
        maps = self.read_maps(chip_id) if self._joined else {}
        moved, mask_tensor, maps_moved = self._motions(_positions(mask.shape), mask, maps, seed)
        turn = drawn_symmetry(moved[POSITIONS][0])
        values = self._held.get(
            (chip_id, turn), lambda: self._features.read(chip_id, turn, self._wanted[chip_id])
        )
        if mask_tensor is None:
            raise ValueError("a training's sample has a mask")
        return {
            "image": {},
            "features": torch.from_numpy(values),
            "maps": maps_moved,
            "mask": mask_tensor.long(),
            "filename": self.filename(chip_id),
            "chip_id": chip_id,
            "scene_id": self.members.scenes.get(chip_id, ""),
        }


def _positions(shape: tuple[int, ...]) -> Mapping[str, NDArray[np.float32]]:
    # [1, H, W]; whole numbers of float32 are exact up to 2²⁴
    return {POSITIONS: np.arange(int(np.prod(shape)), dtype=np.float32).reshape(1, *shape)}
