"""Scoring: one forward pass over the test split, kept as confusion counts and predicted maps."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray
from terratorch.tasks.segmentation_tasks import to_segmentation_prediction

from eval.score.counts import Counts, count_pixels
from eval.score.opening import Opened
from eval.score.record import FOLDER, PREDICTIONS, Origin, Score, discard, ids_digest
from finetune.data.checks import Survey
from finetune.run.manifest import SplitRecord
from finetune.run.predictions import write_classes
from finetune.run.recording import now
from terramind_weights.files import sha256_of_file

PACKAGES: Final = ("terramind-tim-store", "terratorch", "torch", "numpy")
HALF: Final = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}

Judged = tuple[str, str, NDArray[np.int64], NDArray[np.int64]]
"""Chip id, scene id, reference and predicted classes ``[H, W]``."""


def score(opened: Opened, folder: Path) -> Score:
    """Scores a network on its test split and writes counts, record and predicted maps.

    Args:
        opened: The network and its data.
        folder: Run directory to write to.

    Raises:
        AugmentStoreError: If a test chip, its mask or its maps are unfit.
        OutputError: If the score cannot be written.
    """
    opened.datamodule.setup("test")
    names = opened.datamodule.class_names
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictions = folder / FOLDER / PREDICTIONS
    predictions.mkdir(parents=True, exist_ok=True)
    discard(folder)
    chips, scenes, rows = [], [], []
    for chip_id, scene_id, reference, predicted in _judge(opened, device):
        rows.append(count_pixels(reference, predicted, len(names)))
        chips.append(chip_id)
        scenes.append(scene_id)
        write_classes(predictions, opened.datamodule.chips, chip_id, predicted.astype(np.int16))
    counts = Counts(tuple(chips), tuple(scenes), names, np.stack(rows))
    made = Score(folder, counts, _origin(opened, folder, counts, device))
    made.write()
    return made


@torch.inference_mode()
def _judge(opened: Opened, device: torch.device) -> Iterator[Judged]:
    """Predicts chip by chip, by the very steps of TerraTorch's `test_step`."""
    task = opened.task.to(device)
    for loaded in opened.datamodule.test_dataloader():
        batch = opened.datamodule.model_batch(move_data_to_device(loaded, device))
        with _arithmetic(opened.precision, device):
            output = task.handle_full_or_tiled_inference(batch["image"], task.tiled_inference_on_testing)
        predicted = to_segmentation_prediction(output).cpu().numpy()
        reference = task.squeeze_ground_truth(batch["mask"]).cpu().numpy()
        yield from zip(loaded["chip_id"], loaded["scene_id"], reference, predicted, strict=True)


def _arithmetic(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Half precision where the trainer would use it; there is no float16 arithmetic on CPU."""
    half = HALF.get(precision)
    if half is None or (half is torch.float16 and device.type == "cpu"):
        return contextlib.nullcontext()
    return torch.autocast(device.type, half)


def _origin(opened: Opened, folder: Path, counts: Counts, device: torch.device) -> Origin:
    manifest, datamodule = opened.manifest, opened.datamodule
    store = datamodule.augmentation.store
    return Origin(
        kind="checkpoint" if manifest is None else "run",
        created=now(),
        source=str((opened.config if manifest is None else folder).resolve()),
        checkpoint=str(opened.checkpoint.resolve()),
        checkpoint_sha256=sha256_of_file(opened.checkpoint),
        chips=str(datamodule.chips.root.resolve()),
        ids_sha256=ids_digest(counts),
        masks_sha256=datamodule.surveys["test"].masks,
        seed=None if manifest is None else manifest.seed,
        encoding=datamodule.augmentation.encoding,
        control=datamodule.augmentation.request.control,
        store=str(store.path.resolve()) if store else None,
        fingerprint=store.fingerprint if store else "",
        smoke=False if manifest is None else manifest.smoke,
        parameters=sum(parameter.numel() for parameter in opened.task.parameters()),
        wall_seconds=0.0 if manifest is None else manifest.cost.wall_seconds,
        device=device.type,
        versions=versions(),
        scene_overlap=() if manifest is None else manifest.data.scene_overlap,
        limited_to=None if manifest is None else manifest.data.limited_to,
        start="" if manifest is None else manifest.start.digest,
        data=_data(opened),
    )


def _data(opened: Opened) -> dict[str, str]:
    """Digests of the chips and masks that training read, by the run's record, and of those read now."""
    splits: dict[str, Survey | SplitRecord] = {"test": opened.datamodule.surveys["test"]}
    if opened.manifest is not None:
        splits |= {name: opened.manifest.data.splits[name] for name in ("train", "val")}
    found = {f"{name} inputs": entry.inputs for name, entry in splits.items()}
    return found | {f"{name} masks": entry.masks for name, entry in splits.items()}


def versions() -> dict[str, str]:
    """Versions of Python and of each package that decides the result, where it is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # a checkout need not be installed
            found[name] = version(name)
    return found
