"""The generated map itself as a prediction, through a legend table: a row that needs no training."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip_set import ChipSet
from augment_store.entries import read_entry
from augment_store.errors import OtherChipsError
from augment_store.legend import LegendError, LegendTable
from augment_store.maps.arrays import SHARE_SCALE
from augment_store.modalities import IGNORED_LABEL, PATCH_SIZE
from augment_store.schema import State
from augment_store.store import AugmentStore
from eval.errors import MissingChipsError, ScoreError
from eval.score.calibration import Reliability, write_calibration
from eval.score.counts import Counts, count_pixels
from eval.score.record import FOLDER, PREDICTIONS, Origin, Score, discard, ids_digest
from finetune.run.predictions import write_classes

Calibration = dict[str, Reliability]
"""By what states the probability, ``confidence`` and ``token_probability``."""


def score_store(
    store: AugmentStore, chips: ChipSet, table: LegendTable, folder: Path
) -> tuple[Score, Calibration]:
    """Scores a store's LULC maps on the test split of its chips and writes counts, record, maps and calibration.

    Of several timesteps the class most of them have counts, and of several samples the first. A pixel that no
    timestep gives a class with a counterpart is a miss. Calibration is of each timestep with a generation of its own.

    Args:
        store: A LULC store.
        chips: The chip set it was generated from.
        table: From TerraMind's legend to the masks' classes.
        folder: Folder to write to.

    Raises:
        ScoreError: If it is no LULC store, or there is no test split.
        MissingChipsError: If a test chip is not complete in the store.
        OtherChipsError: If a test chip is not what the store was generated from.
        LegendError: If the table's labels are not 0 to their number less one.
        AugmentStoreError: If a chip or a mask cannot be read.
    """
    names = _class_names(table)
    ids = _test_chips(store, chips)
    masks, rows, kept = hashlib.sha256(), [], []
    (folder / FOLDER / PREDICTIONS).mkdir(parents=True, exist_ok=True)
    discard(folder)
    for chip_id in ids:
        _check_input(store, chips, chip_id)
        reference = chips.mask(chip_id)
        masks.update(chip_id.encode() + reference.tobytes())
        labels = table.apply(store.read("lulc", chip_id)[0])
        predicted = vote(labels, len(names))
        rows.append(count_pixels(reference, predicted, len(names)))
        kept.append(_reliability(store, chip_id, labels, reference))
        write_classes(folder / FOLDER / PREDICTIONS, chips, chip_id, predicted.astype(np.int16))
    scenes = tuple(read_entry(store, chip_id).scene_id for chip_id in ids)
    counts = Counts(ids, scenes, names, np.stack(rows))
    made = Score(folder, counts, _origin(store, chips, counts, masks.hexdigest()))
    found = {name: sum((entry[name] for entry in kept[1:]), kept[0][name]) for name in kept[0]}
    write_calibration(folder / FOLDER, found)
    made.write()
    return made, found


def _reliability(
    store: AugmentStore, chip_id: str, labels: NDArray[np.int64], reference: NDArray[np.int64]
) -> Calibration:
    """What a chip's first sample states of itself against the reference ``[H, W]``, of labels ``[T, H, W]``."""
    times = np.unique(store.read("timestep_source", chip_id))
    counted = np.broadcast_to(reference != IGNORED_LABEL, (times.size, *reference.shape))
    right = (labels[times] == reference)[counted]
    confidence = store.read("confidence", chip_id)[0, times] * SHARE_SCALE
    probability = store.read("token_probability", chip_id)[0, times]
    by_pixel = probability.repeat(PATCH_SIZE, axis=-1).repeat(PATCH_SIZE, axis=-2)
    stated = {"confidence": confidence, "token_probability": by_pixel}
    return {name: Reliability.of(values[counted], right) for name, values in stated.items()}


def vote(labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Most frequent class ``[H, W]`` of labels ``[T, H, W]``, the lowest of equals; −1 without any."""
    votes = np.stack([(labels == label).sum(axis=0) for label in range(classes)])
    return np.where(votes.any(axis=0), votes.argmax(axis=0), IGNORED_LABEL).astype(np.int64)


def _class_names(table: LegendTable) -> tuple[str, ...]:
    values = [entry.value for entry in table.classes]
    if sorted(values) != list(range(len(values))):
        raise LegendError(f"legend table {table.name}: labels {values}; expected 0 to {len(values) - 1}")
    return tuple(entry.name for entry in sorted(table.classes, key=lambda entry: entry.value))


def _test_chips(store: AugmentStore, chips: ChipSet) -> tuple[str, ...]:
    """Chips of the test split in the order of their ids, all complete in the store."""
    if store.spec.modality != "LULC":
        raise ScoreError(
            f"{store.path}: holds {store.spec.modality}; only LULC maps are predictions of classes"
        )
    if "test" not in chips.splits:
        raise ScoreError(
            f"no test split: {chips.root / chips.layout.split.format(split='test')} does not exist"
        )
    ids = tuple(sorted(chips.splits["test"]))
    missing = sorted(set(ids) - set(store.chips_in(State.COMPLETE)))
    if missing:
        raise MissingChipsError(
            f"{store.path}: {len(missing)} test chips are not complete, the first {missing[0]}; run generate again"
        )
    return ids


def _check_input(store: AugmentStore, chips: ChipSet, chip_id: str) -> None:
    inputs = tuple(entry.name for entry in store.spec.inputs)
    if not np.array_equal(chips.read(chip_id, inputs).digests(), store.read("input_digest", chip_id)):
        raise OtherChipsError(
            f"{store.path}: was generated from another chip {chip_id} than {chips.root} has; name its own as --chips"
        )


def _origin(store: AugmentStore, chips: ChipSet, counts: Counts, masks: str) -> Origin:
    spec = store.spec
    return Origin(
        kind="zero-shot",
        created=datetime.now(UTC).replace(microsecond=0).isoformat(),
        source=str(store.path.resolve()),
        checkpoint="",
        checkpoint_sha256="",
        chips=str(chips.root.resolve()),
        ids_sha256=ids_digest(counts),
        masks_sha256=masks,
        seed=spec.sampling.seed,
        encoding=(),
        control=None,
        store=str(store.path.resolve()),
        fingerprint=store.fingerprint,
        smoke=False,
        parameters=0,
        wall_seconds=0.0,
        device=spec.device,
        versions=dict(spec.versions),
    )
