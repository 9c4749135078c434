"""Every modality that a generator can make.

The storage of each is chosen so that rounding stays far below what the generator can know: half a step is at most
0.001 of the modality's pretraining deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from augment_store.modalities.categorical import CategoricalMap
from augment_store.modalities.continuous import ContinuousMap, Ramp
from augment_store.modalities.definitions import DEM, LULC, LULC_LEGEND, NDVI, S1GRD, S1RTC, S2L2A, Modality
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.modalities.rendering import draw_hillshade, draw_radar, draw_rgb
from augment_store.modalities.values import ndvi_of

_VEGETATION: Final[Ramp] = (
    (-1.0, (49, 91, 138)),
    (0.0, (236, 231, 218)),
    (0.4, (150, 190, 110)),
    (1.0, (16, 74, 42)),
)
_HEIGHT: Final[Ramp] = (
    (0.0, (70, 120, 80)),
    (1000.0, (214, 196, 136)),
    (3000.0, (140, 96, 64)),
    (6000.0, (250, 250, 250)),
)
_BACKSCATTER: Final[Ramp] = ((-30.0, (20, 20, 24)), (0.0, (240, 240, 236)))
_REFLECTANCE: Final[Ramp] = ((0.0, (24, 26, 36)), (6000.0, (250, 240, 214)))


def _radar(modality: Modality) -> ContinuousMap:
    """Describe backscatter, kept in steps of 0.01 dB: −60 to 35 dB are −6000 to 3500."""
    return ContinuousMap(
        modality=modality,
        scale=0.01,
        units="dB",
        tolerance=2.0,
        shown="VV",
        bins=(-40.0, 10.0, 20),
        ramp=_BACKSCATTER,
        source=modality.name,
        draw=draw_radar,
    )


_ENTRIES: Final[tuple[GeneratedMap, ...]] = (
    CategoricalMap(modality=LULC, classes=LULC_LEGEND, meaning="land use and land cover"),
    ContinuousMap(
        modality=NDVI,
        scale=1e-4,
        units="1",
        tolerance=0.1,
        shown=NDVI.bands[0],
        bins=(-1.0, 1.0, 20),
        ramp=_VEGETATION,
        source=S2L2A.name,
        derive=ndvi_of,
    ),
    ContinuousMap(  # whole metres, as the DEMs it was trained on
        modality=DEM,
        scale=1.0,
        units="m",
        tolerance=20.0,
        shown=DEM.bands[0],
        bins=(-500.0, 9000.0, 19),
        ramp=_HEIGHT,
        source=DEM.name,
        draw=draw_hillshade,
    ),
    _radar(S1RTC),
    _radar(S1GRD),
    ContinuousMap(  # the unit and type of the products on disk; CF has no word for it but the number 1e-4
        modality=S2L2A,
        scale=1.0,
        units="1e-4",
        tolerance=500.0,
        shown="NIR_BROAD",
        bins=(0.0, 10_000.0, 20),
        ramp=_REFLECTANCE,
        source=S2L2A.name,
        draw=draw_rgb,
    ),
)

MAPS: Final[Mapping[str, GeneratedMap]] = {entry.name: entry for entry in _ENTRIES}
"""By modality. Store, verify, inspect, export, encodings, command line and weight catalogue all look here."""

CONTINUOUS: Final[Mapping[str, ContinuousMap]] = {
    entry.name: entry for entry in _ENTRIES if isinstance(entry, ContinuousMap)
}
"""Those that hold values, not classes."""
