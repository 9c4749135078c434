"""Scoring: one forward pass over the test split, kept as confusion counts and predicted maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray
from terratorch.models.model import ModelOutput
from terratorch.tasks.segmentation_tasks import to_segmentation_prediction

from augment_store.chips.layouts import wherever_run
from augment_store.io.lock import file_lock
from augment_store.utils.text import utc_now, versions
from eval.score.counts import Counts, count_pixels
from eval.score.record import FOLDER, PREDICTIONS, Provenance, Score, ScoreSource, discard, split_record
from eval.score.recorded import check_recipe
from finetune.data.survey_cache import SURVEY_FOLDER
from finetune.model.shapes import check_shape
from finetune.run.geotiff import write_classes
from finetune.run.load import LoadedRun, arithmetic
from finetune.run.manifest_builder import augment_record

PACKAGES: Final = ("terramind-tim-store", "terratorch", "torch", "numpy")

Judged = tuple[str, str, NDArray[np.int64], NDArray[np.int64]]
"""Chip id, scene id, reference and predicted classes ``[H, W]``."""


def score(loaded: LoadedRun, folder: Path, *, cache: bool = True) -> Score:
    """Score a network on its test split and write counts, record and predicted maps.

    Args:
        loaded: The network and its data.
        folder: Run directory to write to.
        cache: Whether to read only those chips that changed since a run beside this one read them.

    Raises:
        EvaluationError: If a run's settings are no longer those it was trained with.
        AugmentStoreError: If a test chip, its mask or its maps cannot be used.
        OutputError: If the score cannot be written.
        StoreBusyError: If another process is scoring it.
    """
    check_recipe(loaded)
    loaded.datamodule.survey_folder = folder.parent / SURVEY_FOLDER if cache else None
    loaded.datamodule.setup("test")
    check_shape(loaded.task, loaded.datamodule.shapes["test"])
    # a bare checkpoint has no record of the chips it was trained on
    if loaded.manifest is not None:
        root, splits = loaded.datamodule.chips.root, loaded.datamodule.splits
        loaded.manifest.check_held_out(loaded.source, root, splits.digests)
    with file_lock(folder / FOLDER):
        return _write_score(loaded, folder)


def _write_score(loaded: LoadedRun, folder: Path) -> Score:
    names = loaded.datamodule.class_names
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictions = folder / FOLDER / PREDICTIONS
    predictions.mkdir(parents=True, exist_ok=True)
    # from here to the end of `made.write` the folder counts as not scored
    discard(folder)
    chips, scenes, rows = [], [], []
    for chip_id, scene_id, reference, predicted in _judge(loaded, device):
        rows.append(count_pixels(reference, predicted, len(names)))
        chips.append(chip_id)
        scenes.append(scene_id)
        place = loaded.datamodule.georeference("test", chip_id)
        write_classes(predictions, loaded.datamodule.chips, chip_id, predicted.astype(np.int16), place)
    # rows [class, class + 1] become [chip, class, class + 1]
    counts = Counts(tuple(chips), tuple(scenes), names, np.stack(rows))
    made = Score(folder, counts, _provenance(loaded, folder, counts, device))
    made.write()
    return made


def _judge(loaded: LoadedRun, device: torch.device) -> Iterator[Judged]:
    """Predict chip by chip."""
    for given, output, reference in run_network(loaded, device, loaded.datamodule.test_dataloader()):
        # logits [batch, class, y, x] become classes [batch, y, x]
        predicted = to_segmentation_prediction(output).cpu().numpy()
        yield from zip(given["chip_id"], given["scene_id"], reference, predicted, strict=True)


@torch.inference_mode()
def run_network(
    loaded: LoadedRun, device: torch.device, batches: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], ModelOutput, NDArray[np.int64]]]:
    """Run a network by the same steps as TerraTorch's `test_step`.

    Yields:
        A batch, the network's output with logits ``[batch, class, y, x]``, and the references ``[batch, y, x]``.
    """
    task = loaded.task.to(device)
    for given in batches:
        batch = loaded.datamodule.model_batch(move_data_to_device(given, device))
        with arithmetic(loaded.precision, device):
            output = task.handle_full_or_tiled_inference(batch["image"], task.tiled_inference_on_testing)
        yield given, output, task.squeeze_ground_truth(batch["mask"]).cpu().numpy()


def _provenance(loaded: LoadedRun, folder: Path, counts: Counts, device: torch.device) -> Provenance:
    manifest, datamodule = loaded.manifest, loaded.datamodule
    survey, store = datamodule.surveys["test"], datamodule.augmentation.store
    return Provenance(
        kind=ScoreSource.CHECKPOINT if manifest is None else ScoreSource.RUN,
        created=utc_now(),
        source=str((loaded.source if manifest is None else folder).resolve()),
        checkpoint=str(loaded.checkpoint.resolve()),
        checkpoint_sha256=loaded.checkpoint_sha256,
        chips=str(datamodule.chips.root.resolve()),
        test=split_record(counts, inputs=survey.inputs, masks=survey.masks),
        augment=augment_record(datamodule, "" if manifest is None else manifest.augment.new_columns),
        seed=None if manifest is None else manifest.seed,
        device=device.type,
        versions=versions(PACKAGES),
        run=manifest,
        layout=wherever_run(datamodule.layout),
        # a store that the network does not read has no part in its score
        spec=store.spec if store is not None and datamodule.augmentation.depends_on_store else None,
    )
