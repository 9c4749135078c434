"""Pictures of the chips that gained and lost most: inputs, generated map, reference, predictions, where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.rasters import read_raster
from augment_store.inspect.views import draw_first
from augment_store.io.remote import as_path
from augment_store.modalities.definitions import (
    IGNORED_LABEL,
    LULC,
    S1_MODALITIES,
    S2_MODALITIES,
    LegendClass,
)
from augment_store.modalities.legend_table import LegendTable, legend, shipped_table
from augment_store.modalities.pictures import MapPicture, map_uri, photo_uri
from augment_store.modalities.rendering import NO_CODE
from augment_store.store.writer import AugmentStore
from eval.compare.arms import Arm, Comparison
from eval.score.record import Score

Row = TypeVar("Row")

SIDE: Final = 256
QUALITY: Final = 60

AGREEMENT: Final = (
    LegendClass(0, "both right", (0xD9, 0xDC, 0xD6)),
    LegendClass(1, "only the candidate right", (0x2A, 0x9D, 0x8F)),
    LegendClass(2, "only the baseline right", (0xD1, 0x5B, 0x35)),
    LegendClass(3, "both wrong", (0x5B, 0x60, 0x66)),
)


@dataclass(frozen=True)
class PictureSources:
    """What pictures are made from.

    Attributes:
        chips: The chip set.
        store: The candidate's store, or None.
        table: From the store's classes to those of the reference, None where no table is known.
        classes: Legend of reference and predictions.
        baseline: Run whose predictions stand for the baseline.
        candidate: Run whose predictions stand for the candidate.
    """

    chips: ChipSet
    store: AugmentStore | None
    table: LegendTable | None
    classes: tuple[LegendClass, ...]
    baseline: Score
    candidate: Score


def find_pictures(
    comparison: Comparison, chips: Path | None, layout: str | None = None
) -> PictureSources | None:
    """Find what to make pictures from; None if the chips or predicted maps are no longer there.

    Args:
        comparison: What was compared.
        chips: Where the chip set is, if it has moved since it was scored.
        layout: Its layout, if that has changed since.

    Raises:
        ChipSetError: If there are no chips in that place, or not in this layout.
    """
    origin = comparison.candidate.scores[0].origin
    root = chips or as_path(origin.chips)
    # only a recorded folder may be gone; one that was named and is not there is an error of `open`
    if chips is None and not root.is_dir():
        return None
    chip_set = ChipSet.open(root, layout or origin.layout)
    baseline, candidate = (_with_predictions(arm) for arm in (comparison.baseline, comparison.candidate))
    if baseline is None or candidate is None:
        return None
    # a store that is gone costs the picture of the generated map, not the report
    path = candidate.origin.augment.store
    store = AugmentStore.open(path) if path and (as_path(path) / "zarr.json").is_file() else None
    generated = store is not None and store.spec.modality == LULC.name
    table = shipped_table(comparison.class_names) if generated else None
    return PictureSources(chip_set, store, table, legend(comparison.class_names), baseline, candidate)


def generated_legend(shown: PictureSources) -> tuple[LegendClass, ...]:
    """Return the legend of the generated map; empty if it is that of the reference, or there is no map."""
    if shown.store is None or shown.table is not None:
        return ()
    return shown.store.spec.map.legend


def _with_predictions(arm: Arm) -> Score | None:
    """Return the first run of an arm whose predicted maps are all there."""
    return next((s for s in arm.scores if all(s.prediction(i).is_file() for i in s.counts.chip_ids)), None)


def choose(rows: Sequence[Row], count: int) -> list[Row]:
    """Return the `count` chips that lost most and the `count` that gained most, most gained first."""
    worst = rows[:count]
    # with fewer than two times `count` rows the ends would overlap, and a chip would be shown twice
    best = rows[max(len(rows) - count, len(worst)) :]
    return [*reversed(best), *reversed(worst)]


def draw_chip(shown: PictureSources, chip_id: str) -> dict[str, str]:
    """Draw a chip's pictures as data URIs by layer; inputs that are not on disk are left out.

    Raises:
        AugmentStoreError: If a file or the store cannot be read.
    """
    reference = shown.chips.mask(chip_id)
    # [T, C, H, W] of a file with one timestep and one band: [H, W]
    predicted = [read_raster(score.prediction(chip_id))[0, 0] for score in (shown.baseline, shown.candidate)]
    return {
        **_input_pictures(shown, chip_id),
        **_generated(shown, chip_id),
        "reference": map_uri(_map_codes(reference), shown.classes),
        "baseline": map_uri(_map_codes(predicted[0]), shown.classes),
        "candidate": map_uri(_map_codes(predicted[1]), shown.classes),
        "agreement": map_uri(_agreement(reference, predicted[0], predicted[1]), AGREEMENT),
    }


def _input_pictures(shown: PictureSources, chip_id: str) -> dict[str, str]:
    """Return the first optical and the first radar modality that a chip has, at its first timestep."""
    inputs = () if shown.store is None else shown.store.spec.inputs
    drawn = {
        layer: draw_first(shown.chips, chip_id, names, inputs)
        for layer, names in (("rgb", S2_MODALITIES), ("radar", S1_MODALITIES))
    }
    return {
        layer: photo_uri(picture, SIDE, QUALITY) for layer, picture in drawn.items() if picture is not None
    }


def _generated(shown: PictureSources, chip_id: str) -> dict[str, str]:
    """Draw the generated map, in the reference's classes if the table to them is known: what is right looks right."""
    store = shown.store
    if store is None or chip_id not in store.chip_ids:
        return {}
    kind = store.spec.map
    # first sample, first timestep
    values = store.read(chip_id, kind.array)[0, 0]
    if shown.table is not None:
        return {"generated": map_uri(_map_codes(shown.table.apply(values)), shown.classes)}
    return {"generated": MapPicture.from_values(kind, values).uri(SIDE, QUALITY)}


def _map_codes(labels: NDArray[Any]) -> NDArray[np.uint8]:
    return np.where(labels == IGNORED_LABEL, NO_CODE, labels).astype(np.uint8)


def _agreement(reference: NDArray[Any], baseline: NDArray[Any], candidate: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the code of `AGREEMENT` for each pixel."""
    ours, theirs = candidate == reference, baseline == reference
    # the first condition that holds decides, so `ours` by itself means that only the candidate is right
    codes = np.select([ours & theirs, ours, theirs], [0, 1, 2], default=3)
    return np.where(reference == IGNORED_LABEL, NO_CODE, codes).astype(np.uint8)
