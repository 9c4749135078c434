"""One chip as pictures: its inputs made visible, its maps, confidence, reference and tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.georeference import Georeference
from augment_store.chips.rasters import read_raster
from augment_store.entries import read_entry
from augment_store.inspect.references import Reference
from augment_store.inspect.statistics import ChipStatistics
from augment_store.inspect.survey import Survey
from augment_store.modalities import DEM, PATCH_SIZE, S1_MODALITIES, S2L2A
from augment_store.schema import SHARE_SCALE
from augment_store.spec import GenerationSpec

Picture = NDArray[np.uint8]
"""``[y, x, 3]`` red, green, blue."""

_RGB: Final = tuple(S2L2A.bands.index(name) for name in ("RED", "GREEN", "BLUE"))
_NODATA: Final = (-9999.0, -10_000.0, -32768.0)
"""Values that mean "no observation"; −10,000 is what float16 makes of −9999."""

_CLOUD: Final = 3000.0
"""Reflectance × 10⁴ from which a pixel is taken for cloud or snow if all visible bands have it."""

_FEWEST_CLEAR: Final = 0.05
"""Share of clear pixels below which a chip is stretched over all of them."""

_SUN: Final = (-1.0, 1.0, 1.6)
"""Direction the hillshade's light comes from, as x east, y north, z up: north-west, 49° high."""

_GENTLE_STEP: Final = 0.5
"""Height difference between pixels in metres below which relief is not exaggerated further."""


@dataclass(frozen=True)
class ChipView:
    """Everything that is drawn of one chip at one timestep.

    Attributes:
        statistics: Numbers about the chip.
        scene_id: Parent acquisition.
        georeference: Where it lies.
        rgb: Natural colours of S2L2A, None where the chip set has none.
        radar: VV, VH and VV of S1, None likewise.
        relief: Hillshaded DEM, None likewise.
        codes: ``[sample, y, x]`` codes of the generated map.
        token_probability: ``[sample, y, x]`` in 0..1, the same over a token's patch.
        confidence: ``[sample, y, x]`` in 0..1, None where the store has none.
        reference: What the map is compared with, None where there is none.
        tokens: ``[sample, ty, tx]`` codebook indices.
    """

    statistics: ChipStatistics
    scene_id: str
    georeference: Georeference
    rgb: Picture | None
    radar: Picture | None
    relief: Picture | None
    codes: NDArray[np.uint8]
    token_probability: NDArray[np.float64]
    confidence: NDArray[np.float64] | None
    reference: Reference | None
    tokens: NDArray[np.uint16]


def view_chip(survey: Survey, statistics: ChipStatistics, timestep: int) -> ChipView:
    """Reads one chip and draws its inputs.

    Raises:
        ChipDataError: If an input or the reference cannot be read.
    """
    chip_id, store = statistics.chip_id, survey.store
    entry = read_entry(store, chip_id)
    maps = survey.maps(chip_id)
    confidence = (
        None if maps.confidence is None else maps.confidence[:, timestep].astype(np.float64) * SHARE_SCALE
    )
    probability = maps.token_probability[:, timestep].astype(np.float64)
    return ChipView(
        statistics=statistics,
        scene_id=entry.scene_id,
        georeference=entry.georeference,
        rgb=_drawn(survey, chip_id, timestep, ("S2L2A",)),
        radar=_drawn(survey, chip_id, timestep, S1_MODALITIES),
        relief=_drawn(survey, chip_id, timestep, ("DEM",)),
        codes=survey.kind.codes(maps.values[:, timestep]),
        token_probability=probability.repeat(PATCH_SIZE, axis=-1).repeat(PATCH_SIZE, axis=-2),
        confidence=confidence,
        reference=survey.reference(chip_id),
        tokens=store.read("tokens", chip_id)[:, maps.sources[timestep]],
    )


def _drawn(survey: Survey, chip_id: str, timestep: int, modalities: tuple[str, ...]) -> Picture | None:
    """Draws the first of the modalities that the chip set has of a chip."""
    if survey.chips is None or not survey.has_inputs(chip_id):
        return None
    for name in modalities:
        path = survey.chips.path(chip_id, name) if name in survey.chips.layout.images else None
        if path is not None and path.is_file():
            raster = read_raster(path)
            return draw_input(name, raster[timestep % raster.shape[0]], survey.store.spec)
    return None


def draw_input(name: str, bands: NDArray[Any], spec: GenerationSpec | None) -> Picture:
    """Draws one timestep of an input.

    Args:
        name: Its modality.
        bands: ``[band, y, x]`` as on disk.
        spec: Of a store that was generated from these chips, which knows the unit of their radar; None for dB.
    """
    values = bands.astype(np.float64)
    values[np.isin(values, _NODATA)] = np.nan
    if name == S2L2A.name:
        return draw_rgb(values)
    if name == DEM.name:
        return draw_relief(values)
    units = {} if spec is None else {entry.name: entry.unit for entry in spec.inputs}
    return draw_radar(values, linear=units.get(name) == "linear")


def draw_rgb(bands: NDArray[np.float64]) -> Picture:
    """Natural colours of the twelve S2L2A bands ``[12, y, x]``, stretched over the chip's own range without clouds."""
    chosen = bands[list(_RGB)]
    clear = chosen[:, ~(chosen >= _CLOUD).all(axis=0)]
    return _picture(_stretch(chosen, clear if clear.size > _FEWEST_CLEAR * chosen.size else chosen) ** 0.8)


def draw_radar(bands: NDArray[np.float64], *, linear: bool) -> Picture:
    """VV as red and blue, VH as green, of the two S1 bands ``[2, y, x]``, stretched; power is shown in dB."""
    if linear:
        bands = 10 * np.log10(np.where(bands > 0, bands, np.nan))
    vv, vh = (_stretch(band) for band in bands)
    return _picture(np.stack([vv, vh, vv]))


def draw_relief(bands: NDArray[np.float64]) -> Picture:
    """Hillshade of a DEM ``[1, y, x]`` in metres, lighter where higher."""
    height = np.where(np.isfinite(bands[0]), bands[0], 0.0)
    south, east = np.gradient(height)
    steep = max(float(np.percentile(np.hypot(south, east), 90)), _GENTLE_STEP)
    normal = np.stack([-east / steep, south / steep, np.ones_like(height)])
    light = np.tensordot(np.array(_SUN), normal / np.linalg.norm(normal, axis=0), axes=1) / np.linalg.norm(
        _SUN
    )
    grey = 0.65 * light.clip(0, 1) + 0.35 * _stretch(bands[0])
    return _picture(np.stack([grey, grey, grey * 0.96]))


def _stretch(values: NDArray[np.float64], over: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Values between the 2nd and 98th percentile of `over`, or their own, as 0..1; 0 where there is none.

    Where all are equal they are ½.
    """
    over = values if over is None else over
    finite = over[np.isfinite(over)]
    if not finite.size:
        return np.zeros_like(values)
    low, high = np.percentile(finite, (2, 98))
    if high <= low:
        return np.where(np.isfinite(values), 0.5, 0.0)
    stretched: NDArray[np.float64] = np.nan_to_num((values - low) / (high - low)).clip(0, 1)
    return stretched


def _picture(channels: NDArray[np.float64]) -> Picture:
    return np.ascontiguousarray((channels * 255).round().astype(np.uint8).transpose(1, 2, 0))
