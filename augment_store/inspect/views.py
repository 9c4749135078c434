"""One chip as pictures: its inputs made visible, its maps, confidence, reference and tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip import at_timestep
from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference
from augment_store.inspect.references import Reference
from augment_store.inspect.statistics import ChipStatistics
from augment_store.inspect.store_inspector import StoreInspector
from augment_store.modalities.definitions import DEM, S1_MODALITIES, S2_MODALITIES
from augment_store.modalities.map_arrays import SHARE_SCALE, TOKENS, by_pixel
from augment_store.modalities.pictures import MapPicture, draw_input
from augment_store.modalities.rendering import Picture
from augment_store.store.chip_index import read_entry
from augment_store.store.spec import InputSpec, units_on_disk


@dataclass(frozen=True)
class ChipView:
    """Everything that is drawn for one chip at one timestep.

    Attributes:
        statistics: Numbers about the chip.
        scene_id: Parent acquisition.
        georeference: Where it lies.
        series_index: Position of the timestep in the chip's file of each input modality, from 0.
        rgb: Natural colors of Sentinel-2, None if the chip set has none.
        radar: VV, VH and VV of S1, or None.
        relief: Hillshaded DEM, or None.
        maps: The generated map of each sample.
        token_probability: ``[sample, y, x]`` in 0..1, the same over a token's patch.
        confidence: ``[sample, y, x]`` in 0..1, None if the store has none.
        reference: What the map is compared with, None if there is none.
        tokens: ``[sample, ty, tx]`` codebook indices; of the first codebook where there are several,
            None if the store has none.
    """

    statistics: ChipStatistics
    scene_id: str
    georeference: Georeference
    series_index: dict[str, int]
    rgb: Picture | None
    radar: Picture | None
    relief: Picture | None
    maps: tuple[MapPicture, ...]
    token_probability: NDArray[np.float64]
    confidence: NDArray[np.float64] | None
    reference: Reference | None
    tokens: NDArray[np.uint16] | None


def view_chip(inspector: StoreInspector, statistics: ChipStatistics, timestep: int) -> ChipView:
    """Read one chip and draw its inputs.

    Raises:
        ChipDataError: If an input or the reference cannot be read.
    """
    chip_id, store = statistics.chip_id, inspector.store
    entry = read_entry(store, chip_id)
    maps = inspector.maps(chip_id)
    confidence = (
        # [sample, time, y, x] → [sample, y, x], from bytes to 0..1
        None if maps.confidence is None else maps.confidence[:, timestep].astype(np.float64) * SHARE_SCALE
    )
    # [sample, time, ty, tx] → [sample, ty, tx], which `by_pixel` spreads over pixels below
    probability = maps.token_probability[:, timestep].astype(np.float64)
    tokens = store.read(chip_id, TOKENS)[:, timestep] if TOKENS in store.map_names else None
    # of several codebooks, the first is shown
    return ChipView(
        statistics=statistics,
        scene_id=entry.scene_id,
        georeference=entry.georeference,
        series_index=store.series_index(chip_id, timestep),
        rgb=_input_picture(inspector, chip_id, timestep, S2_MODALITIES),
        radar=_input_picture(inspector, chip_id, timestep, S1_MODALITIES),
        relief=_input_picture(inspector, chip_id, timestep, (DEM.name,)),
        maps=tuple(MapPicture.from_values(inspector.kind, sample) for sample in maps.values[:, timestep]),
        token_probability=by_pixel(probability, store.extent.shape),
        confidence=confidence,
        reference=inspector.reference(chip_id),
        tokens=tokens[:, 0] if tokens is not None and store.spec.codebooks > 1 else tokens,
    )


def _input_picture(
    inspector: StoreInspector, chip_id: str, timestep: int, modalities: Sequence[str]
) -> Picture | None:
    if inspector.chips is None or not inspector.has_inputs(chip_id):
        return None
    return draw_first(inspector.chips, chip_id, modalities, inspector.store.spec.inputs, timestep)


def draw_first(
    chips: ChipSet, chip_id: str, modalities: Sequence[str], inputs: Iterable[InputSpec], timestep: int = 0
) -> Picture | None:
    """Draw the first of the modalities that a chip has on disk; None if it has none of them.

    Args:
        chips: The chip set.
        chip_id: Id of the chip.
        modalities: Names of input modalities, the preferred one first.
        inputs: How a generator took its inputs, see `augment_store.chips.units.units_on_disk`.
        timestep: Which timestep, counted from 0.

    Raises:
        ChipDataError: If the file cannot be read.
    """
    name = next((name for name in modalities if chips.has(chip_id, name)), None)
    if name is None:
        return None
    raster = chips.raster(chip_id, name)
    # the offset is left out: pictures are stretched over their own range
    unit, _ = units_on_disk(name, chips.layout, inputs)
    return draw_input(at_timestep(raster, timestep), name, unit=unit)
