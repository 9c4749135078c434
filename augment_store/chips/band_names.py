"""What others call the bands of TerraMind's modalities."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from augment_store.modalities.definitions import S2_MODALITIES, Modality

_ESA: Final = {
    "COASTAL_AEROSOL": "1",
    "BLUE": "2",
    "GREEN": "3",
    "RED": "4",
    "RED_EDGE_1": "5",
    "RED_EDGE_2": "6",
    "RED_EDGE_3": "7",
    "NIR_BROAD": "8",
    "NIR_NARROW": "8a",
    "WATER_VAPOR": "9",
    "CIRRUS": "10",
    "SWIR_1": "11",
    "SWIR_2": "12",
}
"""Number of each Sentinel-2 band, after the B of ``B02``, ``B2`` or ``B8A``."""

_WORDS: Final = {
    "COASTAL_AEROSOL": ("coastal", "coastalaerosol", "aerosol", "aerosols", "ultrablue"),
    "BLUE": ("blue",),
    "GREEN": ("green",),
    "RED": ("red",),
    "RED_EDGE_1": ("rededge1", "rededge071", "re1"),
    "RED_EDGE_2": ("rededge2", "rededge075", "re2"),
    "RED_EDGE_3": ("rededge3", "rededge078", "re3"),
    "NIR_BROAD": ("nir", "nirbroad", "nir1"),
    "NIR_NARROW": ("nir08", "nirnarrow", "narrownir", "nir2", "rededge4"),
    "WATER_VAPOR": ("watervapor", "watervapour", "nir09"),
    "CIRRUS": ("cirrus",),
    "SWIR_1": ("swir1", "swir16"),
    "SWIR_2": ("swir2", "swir22"),
    "DEM": ("dem", "elevation", "height", "altitude"),
    "VV": ("vv",),
    "VH": ("vh",),
}
"""Words of each band: TerraTorch's, those of STAC's common names, and those of earth-search and Planetary Computer."""


def known_band(name: str, modality: Modality) -> str | None:
    """Return the band of a modality that a file means by a name, such as ``B04``, ``red`` or ``VV_2024-04-01``.

    Returns:
        TerraTorch's name; None if the name says nothing, or fits two bands.
    """
    # letters and digits alone, as writers differ in case and separators
    words = [word for word in re.split(r"[^0-9a-z]+", name.lower()) if word]
    codes = _codes(modality)
    # codes are exact, so they decide before any words do
    found = {codes[word] for word in words if word in codes}
    if len(found) == 1:
        return found.pop()
    if found:
        return None
    table = _table(modality)
    # The longest run of words first, so that `red_edge_1` is not taken for red.
    for length in range(len(words), 0, -1):
        runs = ("".join(words[start : start + length]) for start in range(len(words) - length + 1))
        found = {table[run] for run in runs if run in table}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def _codes(modality: Modality) -> dict[str, str]:
    """Return the bands by the codes of Sentinel-2's products, in lower case; none for other modalities."""
    if modality.name not in S2_MODALITIES:
        return {}
    return {
        f"b{number.zfill(width)}": band
        for band, number in _ESA.items()
        # a B10 in Level-2A has to be known for a band that is not wanted
        if band in modality.bands or band == "CIRRUS"
        # b4, b04 and b004
        for width in (1, 2, 3)
    }


def _table(modality: Modality) -> dict[str, str]:
    bands = (*modality.bands, "CIRRUS") if modality.name in S2_MODALITIES else modality.bands
    return {word: band for band in bands for word in (*_WORDS.get(band, ()), band.lower().replace("_", ""))}


def is_numbered(names: Sequence[str]) -> bool:
    """Return whether names merely count the bands, as ``b0 … b11`` or ``Band 1 … Band 12`` do."""
    # lazily, so that all digits at the end are the number: b12 is b and 12
    parts = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    numbers = [int(part[2]) for part in parts if part]
    prefixes = {part[1] for part in parts if part}
    # against len(names), so that a name without a number fails
    return len(prefixes) == 1 and numbers in ([*range(len(names))], [*range(1, len(names) + 1)])


def describe(names: Sequence[str]) -> str:
    """Return names for a message, whole up to the thirteen bands of Level-1C."""
    return " ".join(name or "–" for name in names[:13]) + (" …" if len(names) > 13 else "")
