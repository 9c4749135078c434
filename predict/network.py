"""A trained network over the windows of a scene: class probabilities of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray
from terratorch.tasks.tiled_inference import tiled_inference
from torch import Tensor

from finetune.augment.augmentation import JoinedMaps
from finetune.augment.controls import MapSource
from finetune.data.dataset import ChipDataset, SplitMembers, collate
from finetune.data.transforms import SampleTransform
from finetune.run.load import arithmetic
from predict.ensemble import TrainedRun
from predict.scene import SceneWindows

BATCH: Final = {"cpu": 1, "cuda": 8}
"""Windows that a network sees at a time, by device. Fixed, as kernels choose their arithmetic by it: a map must not
depend on it. More than one gain nothing on a CPU."""


class WindowNetwork:
    """A run's network over the windows of one scene.

    Args:
        run: The run.
        windows: The windows.
        device: Where the network runs.
    """

    def __init__(self, run: TrainedRun, windows: SceneWindows, device: torch.device) -> None:
        self.run, self.windows, self.device = run, windows, device
        self.task = run.loaded.task.to(device)
        data = run.loaded.datamodule
        timesteps = windows.scene.timesteps(data.reading.timesteps)
        # a scene has no reference
        self.reading = dataclasses.replace(data.reading, timesteps=timesteps, mask=False)
        arrays = data.augmentation.plan.arrays
        self.transform = SampleTransform(
            data.transforms["predict"], self.reading.modalities, arrays, len(timesteps)
        )

    def predict(self, ids: Sequence[str], maps: MapSource | None) -> list[NDArray[np.float64]]:
        """Return the class probabilities ``[class, h, w]`` of some windows.

        They are the softmax of the logits in float64, so that the likeliest class is that of the logits.

        Args:
            ids: The windows.
            maps: Generated maps of these windows; None for a run that reads none.
        """
        dataset = self._dataset(ids, maps)
        size, found = BATCH[self.device.type], list[NDArray[np.float64]]()
        for start in range(0, len(ids), size):
            samples = [dataset[index] for index in range(start, min(start + size, len(ids)))]
            found += self._probabilities(samples, size)
        return found

    def unobserved(self, chip_id: str) -> NDArray[np.bool_]:
        """Return which pixels ``[h, w]`` of a window have no observation of one of the modalities, on any date."""
        images = self._dataset([chip_id], None).read_observed(chip_id)
        # [C, T, h, w] or [C, h, w] → [h, w]
        empty = [np.isnan(image).all(axis=tuple(range(image.ndim - 2))) for image in images.values()]
        found: NDArray[np.bool_] = np.logical_or.reduce(empty)
        return found

    def _dataset(self, ids: Sequence[str], maps: MapSource | None) -> ChipDataset:
        augmentation, members = self.run.loaded.datamodule.augmentation, SplitMembers(tuple(ids))
        if maps is None:
            # a control that makes its own maps, or nothing to join
            joined = None if augmentation.maps else augmentation.source(self.windows, ids, self._shape)
        else:
            joined = JoinedMaps(maps, augmentation.plan.arrays)
        return ChipDataset(self.windows, members, self.reading, self.transform, joined)

    @property
    def _shape(self) -> tuple[int, int]:
        grid = self.windows.grid
        return grid.rows.window, grid.columns.window

    @torch.inference_mode()
    def _probabilities(self, samples: Sequence[dict[str, Any]], size: int) -> list[NDArray[np.float64]]:
        # the last batch is filled up, so that the network always sees as many
        batch = collate([*samples, *[samples[-1]] * (size - len(samples))])
        images = self.run.loaded.datamodule.model_batch(move_data_to_device(batch, self.device))["image"]
        with arithmetic(self.run.loaded.precision, self.device):
            logits = self._logits(images)
        shares = (logits[: len(samples)].cpu().double() / self.run.temperature).softmax(dim=1)
        return list(shares.numpy())

    def _logits(self, images: Any) -> Tensor:
        """Return logits ``[B, class, h, w]`` as TerraTorch's `predict_step` makes them, before it takes the classes."""
        tiles = self.task.tiled_inference_parameters
        if tiles:
            found: Tensor = tiled_inference(
                lambda shown, **rest: self.task(shown, **rest).output, images, **tiles
            )
        else:
            found = self.task(images).output
        return found
