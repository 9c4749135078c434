"""What a file of a chip holds, guessed from the words in its path and from its bands."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from augment_store.chips.band_names import known_band
from augment_store.chips.chip_folder import MASK
from augment_store.chips.rasters import read_file
from augment_store.errors import ChipDataError
from augment_store.modalities.definitions import S1RTC, S2L1C, S2L2A, Modality
from augment_store.utils.text import pluralize

_WORDS: Final = {
    MASK: "mask masks label labels labelhand annotation annotations target targets truth gt groundtruth reference "
    "segmentation seg landcover lulc lc worldcover y",
    "S2L1C": "s2l1c l1c s2hand toa",
    "S2L2A": "s2l2a l2a boa",
    "S2": "s2 sentinel2 optical msi multispectral image images img imgs x",
    "S1GRD": "s1grd grd s1hand",
    "S1RTC": "s1rtc rtc",
    "S1": "s1 sentinel1 sar radar",
    "DEM": "dem elevation height copdem srtm",
}
"""Words of each kind of file; ``S2`` and ``S1`` leave the product open."""

ROLES: Final = {word: role for role, words in _WORDS.items() for word in words.split()}

SUBSETS: Final = {
    10: tuple(band for band in S2L2A.bands if band not in {"COASTAL_AEROSOL", "WATER_VAPOR"}),
    6: ("BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2"),
    4: ("BLUE", "GREEN", "RED", "NIR_BROAD"),
    3: ("RED", "GREEN", "BLUE"),
}
"""Bands of Sentinel-2 that files with fewer usually have, by their number."""

MANY_LABELS: Final = 100
"""Whole numbers in one band are labels if there are no more different ones than this; heights have more."""


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case, split where it has neither letters nor digits."""
    return [word for word in re.split(r"[^0-9a-z]+", name.lower()) if word]


def role_of(text: str) -> str | None:
    """Return what the words of a name say, the word nearest its end first; None if they say nothing."""
    words = words_of(text)
    # two words may be one, as in S2_L2A and ground_truth
    joined = ["".join(pair) for pair in itertools.pairwise(words)]
    found = (ROLES[word] for word in (*reversed(joined), *reversed(words)) if word in ROLES)
    return next(found, None)


def band_of(word: str) -> str | None:
    """Return the band that a word of a file's name means: a code of Sentinel-2, VV or VH; a color may be an id."""
    coded = re.fullmatch(r"b\d{1,3}a?|vv|vh", word.lower())
    return known_band(word, S2L1C) or known_band(word, S1RTC) if coded else None


SAMPLE: Final = 512
"""Pixels of each side that are looked at, since a file may be a whole scene."""


@dataclass(frozen=True)
class FileLook:
    """A look at a file, which may be large.

    Attributes:
        names: What it calls its bands, empty where it does not; one for each, dates among them.
        size: Height and width in pixels.
        values: Values at its upper left, ``[bands, h, w]``.
    """

    names: tuple[str, ...]
    size: tuple[int, int]
    values: NDArray[Any]


def look_at(path: Path) -> FileLook:
    """Look at a file's bands, size and some of its values.

    Raises:
        ChipDataError: If it cannot be read.
    """
    if path.suffix.lower() not in {".tif", ".tiff"}:
        content = read_file(path)
        dates, _, *size = content.values.shape
        flat = content.values.reshape(-1, *size)
        return FileLook(tuple(band.name for band in content.bands) * dates, (size[0], size[1]), flat)
    try:
        with rasterio.open(path, driver="GTiff") as file:
            height, width = file.shape
            values = file.read(window=Window(0, 0, min(width, SAMPLE), min(height, SAMPLE)))
            names = tuple(name or "" for name in file.descriptions)
    except rasterio.errors.RasterioError as error:
        raise ChipDataError(f"{path}: cannot be read ({error}); restore the file") from error
    return FileLook(names, (height, width), values)


def role_by_content(look: FileLook) -> str | None:
    """Return what a file's bands look like; None if nothing that is known."""
    values = look.values
    count, whole = len(values), values.dtype.kind in "iub"
    if count == 1:
        # heights are many different numbers, labels a few
        return MASK if whole and len(np.unique(values)) <= MANY_LABELS else "DEM"
    if count == 2 or (count == 3 and not whole and _share_negative(values) > 0.5):
        return "S1"
    return "S2" if count in SUBSETS or count % 12 == 0 or count % 13 == 0 else None


def _share_negative(values: Any) -> float:
    return float((values < 0).mean())


def product_of(role: str, count: int) -> str:
    """Return the modality of a role that leaves the product open, by the number of bands."""
    if role == "S2":
        return "S2L1C" if count % 13 == 0 and count % 12 else "S2L2A"
    # terrain-corrected, as TerraMind's own radar mostly is
    return "S1RTC" if role == "S1" else role


def describe_bands(modality: Modality, names: Sequence[str], count: int) -> tuple[dict[str, Any], str]:
    """Return the keys ``bands`` and ``absent`` of a layout's image, and how the bands were told, in words.

    Args:
        modality: What the file holds.
        names: What the file calls its bands, empty where it does not.
        count: Number of its bands, dates among them.

    Raises:
        ValueError: If neither names nor number tell which bands they are.
    """
    known = [known_band(name, modality) for name in names]
    complete = set(modality.bands) <= set(known)
    if complete or count % len(modality.bands) == 0:
        how = "by their names in the files" if complete else "in TerraMind's order, as no name says otherwise"
        return {}, f"{pluralize(count, 'band')} {how}"
    if sum(band is not None for band in known) > 1 and len(set(known) - {None}) == len(names) - known.count(
        None
    ):
        order = [
            band or name or f"BAND_{place}"
            for place, (band, name) in enumerate(zip(known, names, strict=True), 1)
        ]
        how = "named by the files"
    elif modality.name.startswith("S2") and count in SUBSETS:
        order, how = list(SUBSETS[count]), f"taken for {' '.join(SUBSETS[count])}, as their number suggests"
    elif modality.name.startswith("S1") and count in (1, 3):
        order = [*modality.bands, "RATIO"][:count]
        how = f"taken for {' '.join(order)}"
    else:
        raise ValueError(
            f"{count} bands, and nothing says which; expected {len(modality.bands)} of {modality.name}"
        )
    absent = [band for band in modality.bands if band not in order]
    return {"bands": order, **({"absent": absent} if absent else {})}, f"{pluralize(count, 'band')} {how}"
