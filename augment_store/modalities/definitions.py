"""What TerraMind's modalities are: bands, units, what "no data" is, pretraining statistics and legend.

Band order, means and standard deviations are those TerraMind v1
was pretrained with (`v1_pretraining_mean` and `v1_pretraining_std` of TerraTorch's
`terramind_register.py`; a test compares them with the installed TerraTorch).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PATCH_SIZE: Final = 16
"""Side of a ViT token in pixels."""


def patches(pixels: int) -> int:
    """Return how many patches cover so many pixels; the last one may reach beyond them."""
    # rounded up
    return -(-pixels // PATCH_SIZE)


@dataclass(frozen=True)
class Modality:
    """One modality as TerraMind was pretrained on it.

    Attributes:
        name: TerraTorch's name, for example ``S2L2A``.
        bands: TerraTorch's band names in pretraining order.
        unit: Unit of the values the statistics are given in.
        nodata: Values that mean "no observation", besides NaN.
        mean: Pretraining mean per band, in `unit`.
        std: Pretraining standard deviation per band, in `unit`.
        valid_range: Smallest and largest value that is physically plausible, in `unit`.
        temporal: Whether a chip holds one raster per timestep (a DEM holds one for all).
    """

    name: str
    bands: tuple[str, ...]
    unit: str
    nodata: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    valid_range: tuple[float, float]
    temporal: bool = True


S2L2A: Final = Modality(
    name="S2L2A",
    bands=(
        "COASTAL_AEROSOL",
        "BLUE",
        "GREEN",
        "RED",
        "RED_EDGE_1",
        "RED_EDGE_2",
        "RED_EDGE_3",
        "NIR_BROAD",
        "NIR_NARROW",
        "WATER_VAPOR",
        "SWIR_1",
        "SWIR_2",
    ),
    unit="reflectance × 10⁴",
    nodata=(-9999.0,),
    mean=(
        *(1390.458, 1503.317, 1718.197, 1853.91, 2199.1, 2779.975),
        *(2987.011, 3083.234, 3132.22, 3162.988, 2424.884, 1857.648),
    ),
    std=(
        *(2106.761, 2141.107, 2038.973, 2134.138, 2085.321, 1889.926),
        *(1820.257, 1871.918, 1753.829, 1797.379, 1434.261, 1334.311),
    ),
    # −1000 is a digital number of 0 less the 1000 that baseline 04.00 adds
    valid_range=(-1000.0, 30_000.0),
)


S2L1C: Final = Modality(
    name="S2L1C",
    bands=(*S2L2A.bands[:10], "CIRRUS", *S2L2A.bands[10:]),
    unit="reflectance × 10⁴",
    nodata=(-9999.0,),
    mean=(
        *(2357.089, 2137.385, 2018.788, 2082.986, 2295.651, 2854.537),
        *(3122.849, 3040.56, 3306.481, 1473.847, 506.07, 2472.825, 1838.929),
    ),
    std=(
        *(1624.683, 1675.806, 1557.708, 1833.702, 1823.738, 1733.977),
        *(1732.131, 1679.732, 1727.26, 1024.687, 442.165, 1331.411, 1160.419),
    ),
    valid_range=(-1000.0, 30_000.0),
)
"""Level-1C: top of the atmosphere, with B10 (cirrus) between B09 and B11."""


S1RTC: Final = Modality(
    name="S1RTC",
    bands=("VV", "VH"),
    unit="dB",
    nodata=(-9999.0,),
    mean=(-10.93, -17.329),
    std=(4.391, 4.459),
    valid_range=(-60.0, 35.0),
)


S1GRD: Final = Modality(
    name="S1GRD",
    bands=("VV", "VH"),
    unit="dB",
    nodata=(-9999.0,),
    mean=(-12.599, -20.293),
    std=(5.195, 5.89),
    valid_range=(-60.0, 35.0),
)


DEM: Final = Modality(
    name="DEM",
    bands=("DEM",),
    unit="m",
    # −32768 marks voids in the int16 tiles of SRTM
    nodata=(-9999.0, -32768.0),
    mean=(670.665,),
    std=(951.272,),
    # from below the Dead Sea's shore, about −430 m, to above Mount Everest, 8849 m
    valid_range=(-500.0, 9000.0),
    temporal=False,
)


LULC: Final = Modality(
    name="LULC",
    bands=("LULC",),
    unit="class",
    nodata=(0.0,),
    mean=(0.0,),
    std=(1.0,),
    valid_range=(0.0, 9.0),
)


NDVI: Final = Modality(
    name="NDVI",
    bands=("NDVI",),
    unit="1",
    nodata=(),
    mean=(0.327,),
    std=(0.322,),
    valid_range=(-1.0, 1.0),
)


INPUT_MODALITIES: Final[dict[str, Modality]] = {m.name: m for m in (S2L2A, S2L1C, S1RTC, S1GRD, DEM)}
"""Modalities a generator reads from chips, by name."""


REFERENCE_MODALITIES: Final[dict[str, Modality]] = {m.name: m for m in (LULC, NDVI)}
"""Modalities that chips may hold to compare generated maps with; no generator reads them."""


S2_MODALITIES: Final = ("S2L2A", "S2L1C")
"""Optical modalities, whose values may have the +1000 offset of processing baseline 04.00."""


S1_MODALITIES: Final = ("S1RTC", "S1GRD")
"""Radar modalities, whose values may come as linear power or amplitude instead of dB."""


NATIVE: Final = "native"
LINEAR: Final = "linear"
AMPLITUDE: Final = "amplitude"
S1_UNITS: Final = ("dB", LINEAR, AMPLITUDE)
"""Units of radar on disk, as a layout's ``s1_unit`` and ``--s1-unit`` take them; a spec calls dB `NATIVE`."""

UNIT_NAMES: Final = {LINEAR: "linear power", AMPLITUDE: "amplitude"}
"""Units that are not the pretraining unit, in words."""


@dataclass(frozen=True)
class LegendClass:
    """One class of a categorical legend.

    Attributes:
        value: Pixel value.
        name: Class name in lower case with spaces.
        rgb: Display color as red, green and blue in 0..255.
    """

    value: int
    name: str
    rgb: tuple[int, int, int]

    @property
    def flag(self) -> str:
        """Return the name as a CF `flag_meanings` word: no spaces or slashes."""
        return self.name.replace(" ", "_").replace("/", "_or_")

    @property
    def hex(self) -> str:
        """Return the color as in ``#3171ad``."""
        return "#{:02x}{:02x}{:02x}".format(*self.rgb)


LULC_LEGEND: Final[tuple[LegendClass, ...]] = (
    LegendClass(0, "no data", (0x00, 0x00, 0x00)),
    LegendClass(1, "water", (0x31, 0x71, 0xAD)),
    LegendClass(2, "trees", (0x46, 0x9C, 0x76)),
    LegendClass(3, "flooded vegetation", (0x83, 0xCA, 0x70)),
    LegendClass(4, "crops", (0xEA, 0xE1, 0x59)),
    LegendClass(5, "built area", (0xC0, 0x7C, 0xB8)),
    LegendClass(6, "bare ground", (0xC1, 0x93, 0x68)),
    LegendClass(7, "snow/ice", (0x6F, 0xB2, 0xE4)),
    LegendClass(8, "clouds", (0xF1, 0xF1, 0xF1)),
    LegendClass(9, "rangeland", (0xC6, 0x65, 0x26)),
)
"""TerraMind's ten LULC classes (after Esri's land cover) in its color-blind palette."""


IGNORED_LABEL: Final = -1
"""Mask value that no loss and no metric counts."""
