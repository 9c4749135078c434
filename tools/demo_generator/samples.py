"""Training samples for the generator: random windows of many scenes, in TerraMind's pretraining units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from terratorch.models.backbones.terramind.model.terramind_register import (
    v1_pretraining_mean,
    v1_pretraining_std,
)

from augment_store.modalities.definitions import LULC_LEGEND
from demo.world.scenes import CHIP_SIDE, Raster

S2, S1, DEM = "untok_sen2l2a@224", "untok_sen1rtc@224", "untok_dem@224"
LULC, NDVI = "tok_lulc@224", "tok_ndvi@224"
INPUTS: Final = {"S2L2A": S2, "S1RTC": S1, "DEM": DEM}
"""TerraMind's keys of the input modalities, by their TerraTorch names."""

Windows = Sequence[tuple[Raster, int]]
"""Rasters of one size, each with the timestep to look at."""


@dataclass(frozen=True)
class Batch:
    """A batch of windows.

    Attributes:
        inputs: Standardised images [B, C, H, W] by TerraMind's modality key.
        lulc: [B, H, W] int64 true class of the ten-class legend.
        ndvi: [B, 1, H, W] true NDVI, standardised.
    """

    inputs: dict[str, torch.Tensor]
    lulc: torch.Tensor
    ndvi: torch.Tensor

    def map_of(self, target: str) -> torch.Tensor:
        """Return the true map as its tokenizer takes it: class planes [B, 10, H, W], or NDVI [B, 1, H, W]."""
        if target == NDVI:
            return self.ndvi
        batch, height, width = self.lulc.shape
        return torch.zeros(batch, len(LULC_LEGEND), height, width).scatter_(1, self.lulc[:, None], 1.0)


def standardise(values: NDArray[np.generic], key: str) -> torch.Tensor:
    """Standardises images with TerraMind v1's pretraining statistics.

    Args:
        values: [B, C, H, W] in pretraining units.
        key: TerraMind's modality key.

    Returns:
        [B, C, H, W] float32.
    """
    mean = torch.tensor(v1_pretraining_mean[key], dtype=torch.float32)[None, :, None, None]
    std = torch.tensor(v1_pretraining_std[key], dtype=torch.float32)[None, :, None, None]
    return (torch.from_numpy(values.astype(np.float32)) - mean) / std


def collate(windows: Windows, inputs: Iterable[str]) -> Batch:
    """Join windows into a batch.

    Args:
        windows: Rasters of one size, each with the timestep to take.
        inputs: TerraMind's keys of the images to include.

    Returns:
        The batch.
    """
    views: dict[str, Callable[[Raster, int], NDArray[np.generic]]] = {
        S2: lambda window, time: window.s2l2a[time],
        S1: lambda window, time: window.s1rtc[time],
        DEM: lambda window, _: window.dem[None],
    }
    return Batch(
        inputs={
            key: standardise(np.stack([views[key](*window) for window in windows]), key) for key in inputs
        },
        lulc=torch.from_numpy(np.stack([window.lulc for window, _ in windows]).astype(np.int64)),
        ndvi=standardise(np.stack([window.ndvi[time][None] for window, time in windows]), NDVI),
    )


def _turn(batch: Batch, quarter_turns: int, mirror: bool) -> Batch:
    """Turn and mirror a whole batch; one of the eight symmetries of the square."""

    def moved(image: torch.Tensor) -> torch.Tensor:
        image = torch.rot90(image, quarter_turns, dims=(-2, -1))
        return (image.flip(-1) if mirror else image).contiguous()

    return Batch(
        {key: moved(image) for key, image in batch.inputs.items()}, moved(batch.lulc), moved(batch.ndvi)
    )


def draw_batch(
    rng: np.random.Generator, scenes: Sequence[Raster], size: int, inputs: Iterable[str] = ()
) -> Batch:
    """Draws windows of 128 px from random scenes, places and timesteps.

    Args:
        rng: Source of randomness.
        scenes: Scenes larger than a window.
        size: How many windows, B.
        inputs: TerraMind's keys of the images to include.

    Returns:
        The batch, turned and mirrored as a whole at random.
    """
    windows = []
    for number in rng.integers(len(scenes), size=size):
        scene = scenes[number]
        top, left = (2 * int(rng.integers((side - CHIP_SIDE) // 2 + 1)) for side in scene.lulc.shape)
        windows.append((scene.window(scene.name, top, left, CHIP_SIDE), int(rng.integers(len(scene.s2l2a)))))
    return _turn(collate(windows, inputs), int(rng.integers(4)), bool(rng.integers(2)))
