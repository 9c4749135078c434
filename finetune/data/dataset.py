"""One sample: a chip's images and mask, joined with its cached maps."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from augment_store.chips.chip import at_timestep, select_timesteps
from augment_store.chips.chip_set import ChipSet
from augment_store.modalities.definitions import INPUT_MODALITIES
from finetune.augment.augmentation import JoinedMaps
from finetune.data.transforms import PIXEL_NUMBERS, SampleTransform
from finetune.errors import ConfigError


@dataclass(frozen=True)
class ReadConfig:
    """Bands and timesteps that are read from a chip.

    Attributes:
        bands: Band names of each modality, in the order the model gets them.
        timesteps: Timesteps, counted from 0.
        nodata: A value that means "no observation" in this data set, besides those of each modality.
        replacement: What replaces it in the model's input, before standardisation.
        mask: Whether there is a reference mask.

    Raises:
        ConfigError: If the replacement is not finite.
    """

    bands: Mapping[str, tuple[str, ...]]
    timesteps: tuple[int, ...]
    nodata: float | None = None
    replacement: float = 0.0
    mask: bool = True

    def __post_init__(self) -> None:
        if not math.isfinite(self.replacement):
            raise ConfigError(f"no_data_replace {self.replacement}; expected a number, or nothing for 0")

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(self.bands)


def find_bands(
    modalities: Sequence[str], subsets: Mapping[str, Sequence[str]] | None
) -> dict[str, tuple[str, ...]]:
    """Return the bands of each modality: all of them, or the subset named.

    Raises:
        ConfigError: If a modality or a band is unknown.
    """
    subsets = subsets or {}
    unknown = [name for name in (*modalities, *subsets) if name not in INPUT_MODALITIES]
    if unknown:
        raise ConfigError(f"unknown modality {unknown[0]!r}; expected {', '.join(INPUT_MODALITIES)}")
    bands = {name: tuple(subsets.get(name, INPUT_MODALITIES[name].bands)) for name in modalities}
    for name, chosen in bands.items():
        strange = [band for band in chosen if band not in INPUT_MODALITIES[name].bands]
        if strange or not chosen:
            known = " ".join(INPUT_MODALITIES[name].bands)
            raise ConfigError(f"bands of {name}: {strange or 'none'}; expected some of {known}")
    return bands


@dataclass(frozen=True)
class SplitMembers:
    """Chips of a dataset.

    Attributes:
        ids: Their ids in order.
        scenes: Scene of each.
        training: Whether one of several generated samples is drawn at random; otherwise it is the first.
    """

    ids: tuple[str, ...]
    scenes: Mapping[str, str] = field(default_factory=dict)
    training: bool = False


class SampleDraw:
    """Draws which of several generated samples a chip gets, from a stream of its own.

    A draw from torch's generator would shift the order of chips and the dropout of all that follows, so that the
    baseline of the same seed would no longer share them. The stream begins with the seed of the process, which a data
    loader gives each of its workers.
    """

    def __init__(self) -> None:
        self._process: int | None = None
        self._stream = np.random.default_rng(0)

    def __call__(self, samples: int) -> int:
        """Draw one of so many samples, counted from 0."""
        # at the first draw, and in a forked worker, which inherited its parent's stream
        if self._process != os.getpid():
            self._process, self._stream = os.getpid(), np.random.default_rng(torch.initial_seed())
        return int(self._stream.integers(samples))


class ChipDataset(Dataset[dict[str, Any]]):
    """Chips joined with maps.

    Args:
        chips: Chip set on disk.
        members: Which chips.
        reading: What is read from each.
        transform: Applied to image, mask and maps alike.
        maps: Where cached maps come from, and the arrays that are read, or None.

    Attributes:
        sample: Which of several generated samples is read if none is drawn: the first, or what an evaluation sets.
    """

    def __init__(
        self,
        chips: ChipSet,
        members: SplitMembers,
        reading: ReadConfig,
        transform: SampleTransform,
        maps: JoinedMaps | None = None,
    ) -> None:
        self.chips = chips
        self.members = members
        self.reading = reading
        self.transform = transform
        self.maps = maps
        self._draw = SampleDraw() if members.training else None
        self.sample = 0

    def __len__(self) -> int:
        return len(self.members.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the sample of one chip; transforms draw from torch's generator, which seeds each worker.

        Returns:
            ``image`` (``[C, T, H, W]``, or ``[C, H, W]`` for one timestep, by modality; raw units), ``maps`` (raw,
            by array), ``mask`` (``[H, W]`` int64), ``filename``, ``chip_id`` and ``scene_id``.
        """
        chip_id = self.members.ids[index]
        # the one draw from torch's generator; the transforms draw from one of their own with this seed
        seed = int(torch.randint(2**31, ()))
        images, mask_tensor, maps = self.transform(*self.read_raw(chip_id), seed)
        sample: dict[str, Any] = {
            "image": images,
            "maps": maps,
            "filename": self.filename(chip_id),
            "chip_id": chip_id,
            "scene_id": self.members.scenes.get(chip_id, ""),
        }
        # torch's losses take labels as int64
        return sample if mask_tensor is None else sample | {"mask": mask_tensor.long()}

    def read_raw(
        self, chip_id: str
    ) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64] | None, dict[str, NDArray[Any]]]:
        """Read images, mask and maps of a chip as they enter the transforms."""
        mask = self.chips.mask(chip_id) if self.reading.mask else None
        return self.read_images(chip_id), mask, self.read_maps(chip_id)

    def read_images(self, chip_id: str) -> dict[str, NDArray[np.float32]]:
        """Read the bands in use of a chip as the model gets them, but for the standardization."""
        return self._read_bands(chip_id, self.reading.replacement)

    def read_observed(self, chip_id: str) -> dict[str, NDArray[np.float32]]:
        """Read the bands in use of a chip, ``[C, T, H, W]`` or ``[C, H, W]`` by modality; no data is NaN."""
        return self._read_bands(chip_id, math.nan)

    def _read_bands(self, chip_id: str, fill: float) -> dict[str, NDArray[np.float32]]:
        chip = self.chips.read(chip_id, self.reading.modalities)
        stacked = select_timesteps(chip, self.reading.timesteps, self.reading.nodata, fill)
        return {name: self._select(name, image) for name, image in stacked.items()}

    def read_behind_transforms(self, position: int) -> dict[str, NDArray[np.float32]]:
        """Read the images of a chip behind the transforms, raw; no data is NaN."""
        chip_id = self.members.ids[position]
        mask = self.chips.mask(chip_id) if self.reading.mask else None
        observed = self.read_observed(chip_id)
        # [C, …, H, W] → [C, …, H·W]
        missing = {name: np.isnan(image).reshape(*image.shape[:-2], -1) for name, image in observed.items()}
        height, width = next(iter(observed.values())).shape[-2:]
        numbers = np.arange(height * width, dtype=np.int32).reshape(height, width)
        # filled as for training: a transform over many pixels would make all of them NaN
        filled = {
            name: np.where(np.isnan(image), np.float32(self.reading.replacement), image)
            for name, image in observed.items()
        }
        made, _, moved = self.transform(filled, mask, {PIXEL_NUMBERS: numbers}, seed=position)
        source = moved[PIXEL_NUMBERS].numpy()
        # [C, …, H·W] by [H', W'] → [C, …, H', W']
        return {
            name: np.where(missing[name][..., source] | (source < 0), np.float32(np.nan), image.numpy())
            for name, image in made.items()
        }

    def _select(self, modality: str, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the bands in use."""
        every, chosen = INPUT_MODALITIES[modality].bands, self.reading.bands[modality]
        # a list as index copies the image, so it is spared where all bands are in use in their order
        return image if chosen == every else image[[every.index(band) for band in chosen]]

    def read_maps(self, chip_id: str) -> dict[str, NDArray[Any]]:
        """Read one generated sample of each map that is joined, ``[time, …]``."""
        if self.maps is None:
            return {}
        return read_maps(self.maps, chip_id, self.reading.timesteps, self._draw, self.sample)

    def filename(self, chip_id: str) -> str:
        """Return the GeoTIFF that says where the chip lies: the DEM, or else another."""
        return str(next(self.chips.geotiffs(chip_id), self.chips.folder / chip_id))


def read_maps(
    maps: JoinedMaps,
    chip_id: str,
    timesteps: Sequence[int],
    draw: SampleDraw | None,
    sample: int = 0,
) -> dict[str, NDArray[Any]]:
    """Read one generated sample of each array ``[time, …]`` at the timesteps in use; the same sample for all arrays.

    Args:
        maps: Where they come from, and which arrays.
        chip_id: The chip.
        timesteps: Timesteps in use.
        draw: Draws one of several samples, for training; None takes `sample`.
        sample: Number of the sample that is taken without a draw, from 0.
    """
    values = {array: maps.source.read(chip_id, array) for array in maps.arrays}
    # arrays differ in samples (probabilities have one), so the draw is among the most
    drawn = draw(max(map(len, values.values()))) if draw is not None else sample
    return {array: _at_sample(found, drawn, timesteps) for array, found in values.items()}


def _at_sample(values: NDArray[Any], sample: int, timesteps: Sequence[int]) -> NDArray[Any]:
    """Return ``[time, …]`` of one sample; an array without samples or time holds for all of them."""
    # the remainder lets an array of one sample stand for every draw
    picked = at_timestep(values[sample % len(values)], timesteps)
    # torch does little with uint16, in which tokens are stored
    return picked.astype(np.int32) if picked.dtype == np.uint16 else picked


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack samples into a batch; ids and file names become lists."""
    batch: dict[str, Any] = {}
    for key, value in samples[0].items():
        values = [sample[key] for sample in samples]
        if isinstance(value, Mapping):
            batch[key] = {name: torch.stack([entry[name] for entry in values]) for name in value}
        else:
            batch[key] = torch.stack(values) if isinstance(value, Tensor) else values
    return batch
