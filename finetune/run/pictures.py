"""Pictures in a run's folder: its learning curves, and predictions for a few chips of its validation split."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from matplotlib.figure import Figure
from terratorch.tasks import SemanticSegmentationTask
from terratorch.tasks.segmentation_tasks import to_segmentation_prediction

from augment_store.chips.units import Units
from augment_store.io.files import atomic_write, read_text
from augment_store.modalities.legend_table import legend
from augment_store.modalities.pictures import draw_input
from augment_store.modalities.rendering import Picture, palette
from finetune.data.datamodule import TimStoreDataModule
from finetune.data.dataset import collate
from finetune.run.load import arithmetic
from finetune.run.manifest import CURVES, PREDICTIONS_GRID

MOST_CHIPS_DRAWN: Final = 6
"""Chips of the grid, of different scenes as far as there are."""

LOGGED: Final = ("train/loss", "val/loss", "val/mIoU")
"""Values of an epoch that are drawn, as TerraTorch logs them; losses share a panel."""


def draw_curves(run: Path) -> None:
    """Write the losses and the validation mIoU of each epoch, by the logs of all starts of a run.

    Raises:
        OutputError: If it cannot be written.
    """
    curves: dict[str, dict[int, float]] = {name: {} for name in LOGGED}
    # later starts repeat the epochs that an interrupted one had begun; logs are numbered from 0
    for path in sorted(
        run.glob("logs/fit_*/metrics.csv"), key=lambda path: (len(path.parent.name), path.parent.name)
    ):
        for row in csv.DictReader(read_text(path).splitlines()):
            for name in LOGGED:
                if row.get(name) and math.isfinite(float(row[name])):
                    curves[name][1 + int(row["epoch"])] = float(row[name])
    figure = Figure(figsize=(8, 3), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for name, ax in zip(LOGGED, (losses, losses, scores), strict=True):
        if curves[name]:
            ax.plot(*zip(*sorted(curves[name].items()), strict=True), marker=".", label=name)
    for ax in (losses, scores):
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(frameon=False)
    _save(figure, run / CURVES)


def draw_predictions(
    run: Path, task: SemanticSegmentationTask, datamodule: TimStoreDataModule, precision: str
) -> None:
    """Write image, reference and prediction of a few validation chips, by the network as it is after the last step.

    Args:
        run: Run directory.
        task: The trained task, on its device.
        datamodule: Its data, set up for training.
        precision: Arithmetic of the training, as Lightning names it.

    Raises:
        OutputError: If it cannot be written.
    """
    members = datamodule.datasets["val"].members
    # the first chip of each scene, then others
    firsts = {
        members.scenes.get(chip_id, chip_id): place for place, chip_id in reversed([*enumerate(members.ids)])
    }
    places = [*dict.fromkeys([*sorted(firsts.values()), *range(len(members.ids))])][:MOST_CHIPS_DRAWN]
    colors = palette(legend(datamodule.class_names))
    # all pictures on one pair of axes in units of their side, as axes of its own for each would take seconds
    rows, head = len(places), 0.2
    figure = Figure(figsize=(2 * 3, 2 * (rows + head)))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    was_training = task.training
    task.eval()
    for row, place in enumerate(places):
        sample = datamodule.datasets["val"][place]
        reference, predicted = _predict(task, datamodule, sample, precision)
        # ignored pixels, −1, become 255, which is grey
        pictures = [
            _draw_chip(datamodule, sample["chip_id"]),
            colors[reference.astype(np.uint8)],
            colors[predicted],
        ]
        for column, picture in enumerate(pictures):
            height, width = (0.45 * side / max(picture.shape[:2]) for side in picture.shape[:2])
            x, y = column + 0.5, row + head + 0.5
            ax.imshow(
                picture,
                extent=(x - width, x + width, y + height, y - height),
                aspect="auto",
                interpolation="nearest",
            )
        titles = [sample["chip_id"], *(("reference", "prediction") if row == 0 else ())]
        for column, title in enumerate(titles):
            ax.text(column + 0.5, row + head, title, fontsize=7, ha="center", va="center", parse_math=False)
    task.train(was_training)
    # `imshow` fits the limits to each picture
    ax.set(xlim=(0, 3), ylim=(rows + head, 0))
    _save(figure, run / PREDICTIONS_GRID)


@torch.inference_mode()
def _predict(
    task: SemanticSegmentationTask, datamodule: TimStoreDataModule, sample: dict[str, Any], precision: str
) -> Sequence[np.ndarray[Any, Any]]:
    """Return reference and prediction of a sample, ``[H, W]`` each, by the steps of TerraTorch's validation."""
    batch = datamodule.model_batch(move_data_to_device(collate([sample]), task.device))
    rest = {name: batch[name] for name in batch.keys() - {"image", "mask", "filename"}}
    with arithmetic(precision, task.device):
        output = task.handle_full_or_tiled_inference(
            batch["image"], task.tiled_inference_on_validation, **rest
        )
    both = (task.squeeze_ground_truth(batch["mask"]), to_segmentation_prediction(output))
    return [labels[0].cpu().numpy() for labels in both]


def _draw_chip(datamodule: TimStoreDataModule, chip_id: str) -> Picture:
    """Draw the first input of a chip, in its first timestep."""
    name = datamodule.reading.modalities[0]
    unit = Units.of(datamodule.chips.layout).name(name)
    return draw_input(datamodule.chips.raster(chip_id, name)[0], name, unit=unit)


def _save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    atomic_write(path, [buffer.getvalue()])
