"""Scoring: one forward pass over the test split, kept as confusion counts and predicted maps."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from eval.errors import EvaluationError
from eval.score.counts import Confusion, Counts, count_pixels
from eval.score.record import (
    ENSEMBLE,
    FOLDER,
    PREDICTIONS,
    SAMPLES,
    Provenance,
    Score,
    ScoreSource,
    discard,
    run_of,
    split_record,
)
from eval.score.recorded import check_recipe
from finetune.data.survey_cache import SURVEY_FOLDER
from finetune.model.shapes import check_shape
from finetune.run.geotiff import write_classes
from finetune.run.load import LoadedRun, arithmetic
from finetune.run.manifest_builder import augment_record

PACKAGES: Final = ("terramind-tim-store", "terratorch", "torch", "numpy")


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
    _set_up(loaded, folder, cache=cache)
    with file_lock(folder / FOLDER):
        (made,) = _write_scores([ScoreDraft(loaded, folder, sample=0)])
        return made


def score_samples(loaded: LoadedRun, folder: Path, *, cache: bool = True) -> tuple[Score, ...]:
    """Score each generated sample of the chips, and all of them by the mean of their class probabilities.

    Args:
        loaded: The network and its data.
        folder: Run directory to write to; the first sample is its own score.
        cache: See `score`.

    Returns:
        The scores of the samples in order, then that of all.

    Raises:
        EvaluationError: If chips have one generated sample or none; and as `score`.
    """
    _set_up(loaded, folder, cache=cache)
    augmentation = loaded.datamodule.augmentation
    joined = augmentation.store if augmentation.depends_on_store else None
    count = 0 if joined is None else joined.spec.sampling.samples
    if count < 2:
        found = "one generated sample of each chip" if count else "no generated maps"
        raise EvaluationError(
            f"--samples all: {loaded.source} joins {found}; train on a store that was generated with --samples"
        )
    with file_lock(folder / FOLDER):
        places = [folder, *(folder / SAMPLES / f"sample_{number}" for number in range(1, count))]
        drafts = [ScoreDraft(loaded, place, sample=number) for number, place in enumerate(places)]
        return _write_scores([*drafts, ScoreDraft(loaded, folder / SAMPLES / ENSEMBLE, sample=None)])


def _set_up(loaded: LoadedRun, folder: Path, *, cache: bool) -> None:
    """Read the test split, and make sure that it may be scored."""
    check_recipe(loaded)
    loaded.datamodule.survey_folder = folder.parent / SURVEY_FOLDER if cache else None
    loaded.datamodule.setup("test")
    check_shape(loaded.task, loaded.datamodule.shapes["test"])
    # a bare checkpoint has no record of the chips it was trained on
    if loaded.manifest is not None:
        root, splits = loaded.datamodule.chips.root, loaded.datamodule.splits
        loaded.manifest.check_held_out(loaded.source, root, splits.digests)


class ScoreDraft:
    """A score while its chips are being judged.

    Args:
        loaded: The network and its data.
        folder: Folder to write to.
        sample: Which generated sample is joined, None for all of them.
    """

    def __init__(self, loaded: LoadedRun, folder: Path, sample: int | None) -> None:
        self.loaded, self.folder, self.sample = loaded, folder, sample
        self._chips: list[str] = []
        self._scenes: list[str] = []
        self._rows: list[Confusion] = []
        (folder / FOLDER / PREDICTIONS).mkdir(parents=True, exist_ok=True)
        # from here to the end of `write` the folder counts as not scored
        discard(folder)

    def add(self, given: Mapping[str, Any], output: ModelOutput, reference: NDArray[np.int64]) -> None:
        """Count the pixels of a batch's chips and write their maps; see `run_network`."""
        datamodule = self.loaded.datamodule
        # logits or probabilities [batch, class, y, x] become classes [batch, y, x]
        classes = to_segmentation_prediction(output).cpu().numpy()
        for chip_id, labels, predicted in zip(given["chip_id"], reference, classes, strict=True):
            self._rows.append(count_pixels(labels, predicted, len(datamodule.class_names)))
            place = datamodule.georeference("test", chip_id)
            maps = self.folder / FOLDER / PREDICTIONS
            write_classes(maps, datamodule.chips, chip_id, predicted.astype(np.int16), place)
        self._chips += given["chip_id"]
        self._scenes += given["scene_id"]

    def write(self, device: torch.device) -> Score:
        """Write counts and record."""
        names = self.loaded.datamodule.class_names
        # rows [class, class + 1] become [chip, class, class + 1]
        counts = Counts(tuple(self._chips), tuple(self._scenes), names, np.stack(self._rows))
        origin = _provenance(self.loaded, run_of(self.folder), counts, device)
        made = Score(self.folder, counts, dataclasses.replace(origin, sample=self.sample))
        made.write()
        return made


def _write_scores(drafts: Sequence[ScoreDraft]) -> tuple[Score, ...]:
    """Run the network on each generated sample that is asked for, batch by batch, and write the scores."""
    loaded = drafts[0].loaded
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    samples = [draft.sample for draft in drafts if draft.sample is not None]
    runs = [run_network(loaded, device, _batches_of(loaded, sample)) for sample in samples]
    # all samples of a batch before the next one, so that no more than a batch of each is held
    for found in zip(*runs, strict=True):
        outputs = [output for _, output, _ in found]
        for draft in drafts:
            output = _mean_of(outputs) if draft.sample is None else outputs[draft.sample]
            given, _, reference = found[0]  # chips and references are those of every sample
            draft.add(given, output, reference)
    return tuple(draft.write(device) for draft in drafts)


def _mean_of(outputs: Sequence[ModelOutput]) -> ModelOutput:
    """Return the mean of the class probabilities of several outputs."""
    return ModelOutput(torch.stack([output.output.float().softmax(dim=1) for output in outputs]).mean(dim=0))


def _batches_of(loaded: LoadedRun, sample: int) -> Iterator[Mapping[str, Any]]:
    """Return batches of the test chips with one generated sample of each."""
    datasets = loaded.datamodule.datasets
    first = datasets["test"]
    # a copy, since the batches of several samples are read side by side
    datasets["test"] = copy.copy(first)
    datasets["test"].sample = sample
    try:
        return iter(loaded.datamodule.test_dataloader())
    finally:
        datasets["test"] = first


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
