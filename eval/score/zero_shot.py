"""The generated map itself as a prediction, through a legend table: a row that needs no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layouts import wherever_run
from augment_store.errors import ChipSetError
from augment_store.inspect.references import masks_table
from augment_store.integrity.input_match import check_same, find_mismatch, generator_inputs
from augment_store.io.lock import file_lock
from augment_store.modalities.categorical import CONFIDENCE
from augment_store.modalities.definitions import IGNORED_LABEL, LULC
from augment_store.modalities.legend_table import LegendTable
from augment_store.modalities.map_arrays import SHARE_SCALE, TOKEN_PROBABILITY, by_pixel
from augment_store.store.chip_index import read_entry
from augment_store.store.schema import State
from augment_store.store.writer import AugmentStore
from augment_store.utils.text import pluralize, utc_now
from eval.errors import EvaluationError
from eval.score.calibration import Reliability, write_calibration
from eval.score.counts import Counts, count_pixels
from eval.score.record import FOLDER, PREDICTIONS, Provenance, Score, ScoreSource, discard, split_record
from finetune.data.survey_cache import digest_mask, digest_of_chips
from finetune.run.geotiff import write_classes
from finetune.run.manifest import AugmentRecord

Calibration = dict[str, Reliability]
"""Reliability by the source of the probability, ``confidence`` or ``token_probability``."""


def masks_legend(chips: ChipSet, legend: Path | None) -> LegendTable:
    """Load the table to the classes of a chip set's masks; see `masks_table`.

    Args:
        chips: The chip set.
        legend: File or name of a table; None for the one that its layout names.

    Raises:
        EvaluationError: If nobody says which classes the masks have.
        ChipSetError: If the table cannot be read, or maps no class.
    """
    table = masks_table(chips, legend)
    if table is None:
        raise EvaluationError(
            f"layout {chips.layout.name!r} does not say which classes the masks have; give their legend with --legend"
        )
    return table


def score_store(
    store: AugmentStore, chips: ChipSet, table: LegendTable, folder: Path, layout: str | None = None
) -> tuple[Score, Calibration]:
    """Score a store's LULC maps on the test split of its chips and write counts, record, maps and calibration.

    With several timesteps the most frequent class counts; with several samples, the first one. A pixel to which no
    timestep gives a class with a counterpart is a miss. Calibration covers timesteps that were generated, not copied.

    Args:
        store: A LULC store.
        chips: The chip set it was generated from.
        table: From TerraMind's legend to the masks' classes.
        folder: Folder to write to.
        layout: Layout that was named to open the chip set, for the record.

    Raises:
        StoreBusyError: If another process is writing a score there.
        EvaluationError: If it is not a LULC store, there is no test split, or a test chip is not complete in the store.
        ChipSetError: If a test chip is not what the store was generated from, or the table's labels are not 0 to one
            less than their number.
        AugmentStoreError: If a chip or a mask cannot be read.
    """
    # both may refuse, so they come before the record of an earlier score is discarded
    names = _table_classes(table)
    ids = _test_chips(store, chips)
    with file_lock(folder / FOLDER):
        masks, rows, kept = dict[str, bytes](), [], []
        (folder / FOLDER / PREDICTIONS).mkdir(parents=True, exist_ok=True)
        discard(folder)
        for chip_id in ids:
            _check_input(store, chips, chip_id)
            reference = _checked_reference(chips, chip_id, table)
            masks[chip_id] = digest_mask(reference)
            # [sample, time, y, x] of the store: the first sample [time, y, x] in the classes of the masks
            labels = table.apply(store.read(chip_id, store.spec.map.array)[0])
            predicted = vote(labels, len(names))
            rows.append(count_pixels(reference, predicted, len(names)))
            kept.append(_reliability(store, chip_id, labels, reference))
            write_classes(folder / FOLDER / PREDICTIONS, chips, chip_id, predicted.astype(np.int16))
        scenes = tuple(read_entry(store, chip_id).scene_id for chip_id in ids)
        counts = Counts(ids, scenes, names, np.stack(rows))
        made = Score(folder, counts, _map_provenance(store, chips, counts, digest_of_chips(masks), layout))
        # from the first chip's on, since `sum` would start from 0, to which no Reliability can be added
        found = {name: sum((entry[name] for entry in kept[1:]), kept[0][name]) for name in kept[0]}
        # before the record, which says that everything else is there
        write_calibration(folder / FOLDER, found)
        made.write()
        return made, found


def _reliability(
    store: AugmentStore, chip_id: str, labels: NDArray[np.int64], reference: NDArray[np.int64]
) -> Calibration:
    """Hold what a chip's first sample stated, with labels ``[T, H, W]``, against the reference ``[H, W]``."""
    # a copied timestep has the pixels of its source, which would count twice
    times = np.unique(store.read(chip_id, "timestep_source"))
    counted = np.broadcast_to(reference != IGNORED_LABEL, (times.size, *reference.shape))
    # [T, H, W] to one entry for each counted pixel, in the order that `values[counted]` has
    right = (labels[times] == reference)[counted]
    confidence = store.read(chip_id, CONFIDENCE)[0, times] * SHARE_SCALE
    # [T, ty, tx]: one per token, which stands for a patch of pixels
    probability = store.read(chip_id, TOKEN_PROBABILITY)[0, times]
    stated = {CONFIDENCE: confidence, TOKEN_PROBABILITY: by_pixel(probability, reference.shape)}
    return {name: Reliability.of(values[counted], right) for name, values in stated.items()}


def vote(labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return the most frequent class ``[H, W]`` of labels ``[T, H, W]``, the lowest on a tie; −1 without any."""
    # [class, H, W]; −1 is none of the classes, so it gets no votes
    votes = np.stack([(labels == label).sum(axis=0) for label in range(classes)])
    return np.where(votes.any(axis=0), votes.argmax(axis=0), IGNORED_LABEL).astype(np.int64)


def _checked_reference(chips: ChipSet, chip_id: str, table: LegendTable) -> NDArray[np.int64]:
    """Read a chip's mask, and check that the legend table has all of its labels."""
    reference = chips.mask(chip_id)
    known = {entry.value for entry in table.classes} | {IGNORED_LABEL}
    strange = sorted(set(np.unique(reference).tolist()) - known)
    if strange:
        raise EvaluationError(
            f"chip {chip_id}: mask holds label {strange[0]}; legend table {table.name} has the labels 0 to "
            f"{len(table.classes) - 1}, and {IGNORED_LABEL} is ignored; give the legend of these masks with --legend"
        )
    return reference


def _table_classes(table: LegendTable) -> tuple[str, ...]:
    values = [entry.value for entry in table.classes]
    # labels are the rows and columns of the counts, so they must have no gaps
    if sorted(values) != list(range(len(values))):
        raise ChipSetError(f"legend table {table.name}: labels {values}; expected 0 to {len(values) - 1}")
    return tuple(entry.name for entry in sorted(table.classes, key=lambda entry: entry.value))


def _test_chips(store: AugmentStore, chips: ChipSet) -> tuple[str, ...]:
    """Return the chips of the test split in the order of their ids, all complete in the store."""
    if store.spec.modality != LULC.name:
        raise EvaluationError(
            f"{store.path}: holds {store.spec.modality}; only {LULC.name} maps are predictions of classes"
        )
    if "test" not in chips.splits:
        expected = (
            chips.split_path("test") or f"a file that the layout {chips.layout.name!r} names under splits"
        )
        raise EvaluationError(f"{chips.root}: no test split; expected {expected}, with a chip id a line")
    ids = tuple(sorted(chips.splits["test"]))
    missing = sorted(set(ids) - set(store.chips_in(State.COMPLETE)))
    if missing:
        raise EvaluationError(
            f"{store.path}: {pluralize(len(missing), 'test chip')} not complete, the first {missing[0]}; run "
            "generate again"
        )
    return ids


def _check_input(store: AugmentStore, chips: ChipSet, chip_id: str) -> None:
    # maps of what a chip showed earlier would be judged by its present mask
    what = find_mismatch(store, chips.read(chip_id, generator_inputs(store)))
    check_same(store, chips, {} if what is None else {chip_id: what})


def _map_provenance(
    store: AugmentStore, chips: ChipSet, counts: Counts, masks: str, layout: str | None
) -> Provenance:
    spec, place = store.spec, str(store.path.resolve())
    return Provenance(
        kind=ScoreSource.ZERO_SHOT,
        created=utc_now(),
        source=place,
        checkpoint="",
        checkpoint_sha256="",
        chips=str(chips.root.resolve()),
        test=split_record(counts, inputs="", masks=masks),
        # nothing was joined: no encoding, planes, control or new columns, but a store
        augment=AugmentRecord((), (), None, 0, "", place, store.fingerprint, (spec.map.array,)),
        seed=spec.sampling.seed,
        device=spec.device,
        versions=spec.versions,
        layout=wherever_run(layout),
        spec=spec,
    )
