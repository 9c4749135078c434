"""What others call the bands of TerraMind's modalities, and which band of a file is which."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augment_store.modalities.definitions import S2_MODALITIES, Modality
from augment_store.utils.text import join_first

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


@functools.cache
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


@functools.cache
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


@dataclass(frozen=True)
class BandOrder:
    """Which band of a file is which.

    Attributes:
        index: Position in the file of each wanted band, ``[T, C]`` if the dates lie among the bands, or ``[1, C]``;
            read-only.
        notes: How the names of the bands were used.
    """

    index: NDArray[np.intp]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.index.setflags(write=False)


# most files of a chip set name their bands alike
@functools.lru_cache(maxsize=256)
def order_bands(
    names: tuple[str, ...],
    modality: Modality,
    present: tuple[str, ...],
    dates: int,
    *,
    described: bool,
    by_date: bool = True,
) -> BandOrder | None:
    """Return which of a file's bands are the modality's, by their names if they have any, else by position.

    Args:
        names: What the file calls its bands, empty where it has no name.
        modality: Which bands are wanted.
        present: The bands in the order of the file, as the layout or the modality has them.
        dates: Timesteps that lie among the bands, 1 or more.
        described: Whether the layout itself names the bands, which is then followed.
        by_date: Whether all bands of a date come together, and not all dates of a band.

    Returns:
        None if the number of bands does not fit and names do not help.

    Raises:
        ValueError: If the names contradict the order that is taken for granted.
    """
    wanted = [band for band in modality.bands if band in present]
    # names that only count say nothing of the bands
    names = ("",) * len(names) if is_numbered(names) else names
    known = [known_band(name, modality) if name else None for name in names]
    # every position in the file that bears the band's name
    at = {band: [k for k, found in enumerate(known) if found == band] for band in wanted}
    if not described and all(len(found) == dates for found in at.values()):
        # [C, T] → [T, C]
        return _by_name(np.array([at[band] for band in wanted], np.intp).T, names, present, by_date=by_date)
    if len(names) != dates * len(present):
        return None
    steps = np.arange(dates)[:, None]
    slots = np.array([present.index(band) for band in wanted], np.intp)
    # [T, 1] and [C] give [T, C], counted date by date or band by band
    index = steps * len(present) + slots if by_date else slots * dates + steps
    # What each position should be called; only names that say something else speak against the order.
    expected = dict(zip(index.ravel().tolist(), wanted * dates, strict=True))
    against = [k for k, found in enumerate(known) if found and found != expected.get(k, found)]
    if against and not described:
        raise ValueError(
            f"its bands are named {describe(names)}, which is neither all of {' '.join(wanted)} nor their order"
        )
    notes = []
    if against:
        notes.append(f"bands by the layout, which names them otherwise than the file ({describe(names)})")
    # names that tell bands apart, some of which are not understood: worth a remark
    elif len(wanted) > 1 and len(set(names)) == len(names) and not all(known):
        notes.append(f"bands by position; the file calls them {join_first(names)}")
    return BandOrder(index, tuple(notes))


def _by_name(
    index: NDArray[np.intp], names: Sequence[str], present: Sequence[str], *, by_date: bool
) -> BandOrder:
    """Return an order found by names, with a note where it is not the one that would be taken anyway."""
    dates, count = index.shape
    # the positions without names: [T, C], or [C, T] that is turned
    plain = np.arange(dates * count).reshape((dates, count) if by_date else (count, dates))
    plain = plain if by_date else plain.T
    if count == len(present) and len(names) == index.size and np.array_equal(index, plain):
        return BandOrder(index)
    return BandOrder(index, (f"bands by their names {describe([names[k] for k in index.ravel().tolist()])}",))
