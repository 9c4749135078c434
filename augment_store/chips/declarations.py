"""What a file says about its values beside them, and how it is applied: no data, mask, scale, offset, unit, names."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.errors import ChipDataError
from augment_store.modalities.definitions import S1_MODALITIES, S2_MODALITIES, Modality
from augment_store.modalities.values import missing, to_decibel

NO_DATA: Final = -9999
"""What declared no data becomes in integers; every input modality knows it. In floats it becomes NaN."""

_LENGTHS: Final = {
    **dict.fromkeys(("", "unknown", "m", "meter", "meters", "metre", "metres"), 1.0),
    **dict.fromkeys(("ft", "foot", "feet", "international foot", "international feet"), 0.3048),
    **dict.fromkeys(
        ("us survey foot", "us survey feet", "us_survey_foot", "foot us survey", "us-ft", "ftus"), 1200 / 3937
    ),
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres"), 1000.0),
    **dict.fromkeys(("dm", "decimeter", "decimeters", "decimetre", "decimetres"), 0.1),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 0.01),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 0.001),
}
"""Meters of a unit of height, by its names in lower case."""

_SILENT: Final = frozenset(
    {
        "",
        "1",
        "unknown",
        "none",
        "unitless",
        "dimensionless",
        "dn",
        "digital number",
        "digital numbers",
        "counts",
    }
)
"""Units that say nothing of reflectance or radar: the layout and the input audit decide as for files without one."""

_REFLECTANCE: Final = frozenset({"reflectance", "surface reflectance", "toa reflectance", "boa reflectance"})
_SCALED_REFLECTANCE: Final = frozenset(
    {"reflectance × 10⁴", "reflectance*10000", "reflectance x 10000", "1e-4"}
)
_DECIBEL: Final = frozenset({"db", "decibel", "decibels"})
_POWER: Final = frozenset({"linear", "power", "linear power", "intensity", "m2/m2", "m2 m-2"})
_AMPLITUDE: Final = frozenset({"amplitude", "linear amplitude"})


@dataclass(frozen=True)
class BandDeclaration:
    """What a file says about one band.

    Attributes:
        name: Name or description of the band; empty if it has none.
        nodata: Value that means "no observation"; None if there is none.
        scale: Factor from stored to physical values.
        offset: Added after that.
        unit: Unit of the physical values; empty if none is given.
        alpha: Whether the band is a mask of the others, 0 where nothing was observed.
        valid: Least and largest of the values that are valid; others mean "no observation".
    """

    name: str = ""
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    alpha: bool = False
    valid: tuple[float, float] = (-math.inf, math.inf)

    @property
    def is_scaled(self) -> bool:
        """Return whether a scale, an offset or a unit is declared."""
        return bool(self.unit) or (self.scale, self.offset) != (1.0, 0.0)

    def is_outside(self, values: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return where stored values are not valid, None where all are; NaN is neither."""
        least, most = self.valid
        if math.isinf(least) and math.isinf(most):
            return None
        outside: NDArray[np.bool_] = (values < least) | (values > most)
        return outside if outside.any() else None


@dataclass(frozen=True)
class FileContent:
    """One raster file: its values as stored, and what it declares.

    Attributes:
        values: ``[T, C, H, W]``, in the file's own type.
        bands: Declaration of each of the C bands.
        unobserved: The file's own mask, True where nothing was observed, ``[1, 1, H, W]``; None if it has none.
        notes: What was done to get at the values, such as transposing named dimensions.
    """

    values: NDArray[Any]
    bands: tuple[BandDeclaration, ...]
    unobserved: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def plain(cls, values: NDArray[Any]) -> FileContent:
        """Return the content of a file that declares nothing; fewer than four dimensions lack the first ones."""
        values = values.reshape((1,) * (4 - values.ndim) + values.shape)
        return cls(values, (BandDeclaration(),) * values.shape[1])

    def part(self, rows: slice, columns: slice) -> FileContent:
        """Return a part of the content, which shares its memory."""
        mask = None if self.unobserved is None else self.unobserved[..., rows, columns]
        return replace(self, values=self.values[..., rows, columns], unobserved=mask)

    def without_alpha(self, where: object, expected: Sequence[int] = ()) -> FileContent:
        """Return the content with an alpha band turned into a mask, unless it is one of the bands expected.

        Args:
            where: The file, for messages.
            expected: Numbers of bands that a file may have; a uint8 file of four bands gets an alpha band by default.

        Raises:
            ChipDataError: If another band than the last is marked as alpha, as some writers do with the second.
        """
        alphas = [index for index, band in enumerate(self.bands) if band.alpha]
        if not alphas or len(self.bands) in expected:
            return self
        kept = [index for index, band in enumerate(self.bands) if not band.alpha]
        if alphas != [len(kept)]:
            number = alphas[0] + 1
            raise ChipDataError(
                f"{where}: band {number} of {len(self.bands)} is marked as alpha, and is not the last; correct its "
                f"color interpretation (gdal_edit.py -colorinterp_{number} undefined), or name the bands in a layout "
                "file (bands, --layout FILE)"
            )
        # [T, alpha, H, W] → [1, 1, H, W]: what is hidden at one timestep is hidden at all
        mask = (self.values[:, alphas] == 0).any(axis=(0, 1))[None, None]
        if self.unobserved is not None:
            mask = mask | self.unobserved
        bands = tuple(self.bands[index] for index in kept)
        return FileContent(self.values[:, kept], bands, mask, (*self.notes, "alpha band taken as a mask"))


@dataclass
class _Applied:
    """Notes in the order in which they were made, each once."""

    notes: dict[str, None] = field(default_factory=dict)

    def note(self, text: str) -> None:
        self.notes.setdefault(text)


def apply_declarations(
    values: NDArray[Any],
    bands: Sequence[BandDeclaration],
    unobserved: NDArray[np.bool_] | None,
    modality: Modality,
    where: object,
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return values as the modality's unit has them, declared no data as values that `missing` knows, and notes.

    Values of which nothing is declared, or nothing that the modality does not know anyway, are returned as they are.

    Args:
        values: ``[T, C, H, W]`` in the modality's order of bands, or any part of them.
        bands: What the file says about each of ``T · C`` bands, or of C bands that hold for every timestep.
        unobserved: The file's own mask, which broadcasts to `values`.
        modality: What the values are.
        where: The file, for messages.

    Raises:
        ChipDataError: If a scale, an offset or a unit cannot be used.
    """
    applied = _Applied()
    factors = [
        _to_unit(band, modality, where, applied) if band.is_scaled else (1.0, 0.0, "") for band in bands
    ]
    invalid = _declared_missing(values, bands, factors, modality, applied)
    if unobserved is not None and unobserved.any():
        applied.note("masked pixels are missing")
        masked = np.broadcast_to(unobserved, values.shape)
        invalid = masked if invalid is None else invalid | masked
    # nothing to convert, so values keep their type, as in a file that declares nothing
    if all(factor == (1.0, 0.0, "") for factor in factors):
        converted = values if invalid is None else _filled(values, invalid)
    else:
        converted = _converted(values, factors, invalid, modality)
    return converted, tuple(applied.notes)


def _declared_missing(
    values: NDArray[Any],
    bands: Sequence[BandDeclaration],
    factors: Sequence[tuple[float, float, str]],
    modality: Modality,
    applied: _Applied,
) -> NDArray[np.bool_] | None:
    """Return where declared no data stands, None if nowhere; −9999 and the like are left to `missing`."""
    found: NDArray[np.bool_] | None = None
    invalid: Counter[tuple[float, float]] = Counter()
    for number, band in enumerate(bands):
        # bands are declared date by date, so the number gives date and band
        slot = (number // values.shape[1], number % values.shape[1])
        # one declaration for each date and band, or one for the band at all dates
        index = slot if len(bands) > values.shape[1] else (slice(None), number)
        nodata = _nodata_of(band, factors[number][1], modality)
        hits = None if nodata is None else _equal_to(nodata, values, index, modality)
        if hits is not None:
            applied.note(f"no data {nodata:g}")
        outside = band.is_outside(values[index])
        if outside is not None:
            invalid[band.valid] += int(outside.sum())
            hits = outside if hits is None else hits | outside
        if hits is not None:
            found = np.zeros(values.shape, bool) if found is None else found
            found[index] |= hits
    for (least, most), count in invalid.items():
        share = count / values.size
        told = f"{share:.0%}" if share >= 0.01 else "less than 1%"
        applied.note(f"values outside the valid range {least:g} to {most:g} are missing ({told})")
    return found


def _nodata_of(band: BandDeclaration, offset: float, modality: Modality) -> float | None:
    """Return the value that means no data in a band, None if it is one that `missing` finds anyway."""
    nodata = band.nodata
    # With an offset, a digital number of 0 is below every reflectance: it is how ESA's products mark no data.
    if nodata is None and modality.name in S2_MODALITIES and offset < 0:
        nodata = 0.0
    return None if nodata is None or math.isnan(nodata) or nodata in modality.nodata else nodata


def _equal_to(
    nodata: float, values: NDArray[Any], index: tuple[Any, int], modality: Modality
) -> NDArray[np.bool_] | None:
    """Return where a band equals its no data, None if nowhere."""
    stored = _as_stored(nodata, values.dtype)
    if stored is None:
        return None
    hits: NDArray[np.bool_] = values[index] == stored
    if not hits.any():
        return None
    if modality.name in S2_MODALITIES and nodata == 0:
        # 0 in every band is no data in any case, and stays as it is.
        # [C, H, W] → [H, W], or [T, C, H, W] → [T, H, W]: the shape of `hits`
        hits &= (values[index[0]] != 0).any(axis=-3)
    return hits if hits.any() else None


def _as_stored(nodata: float, dtype: np.dtype[Any]) -> Any:
    """Return a no-data value as the raster's own type has it, None if it has none: 0.1 is another number in float32."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        # a float would turn each array into one of floats to be compared, which takes three times as long
        return int(nodata) if limits.min <= nodata <= limits.max and nodata == int(nodata) else None
    if dtype.kind != "f":
        return nodata
    # a float64 beyond float32 becomes infinite, of which NumPy would warn
    with np.errstate(over="ignore"):
        return dtype.type(nodata)


def _filled(values: NDArray[Any], invalid: NDArray[np.bool_]) -> NDArray[Any]:
    """Return values with no data where `invalid`, in a type that holds it."""
    if values.dtype.kind == "f":
        return np.where(invalid, values.dtype.type(np.nan), values)
    held = np.promote_types(values.dtype, np.int16)  # uint8 and int8 become int16, uint16 int32
    return np.where(invalid, held.type(NO_DATA), values.astype(held))


def _converted(
    values: NDArray[Any],
    factors: Sequence[tuple[float, float, str]],
    invalid: NDArray[np.bool_] | None,
    modality: Modality,
) -> NDArray[np.float32]:
    """Return scaled values in float32; no data is looked for before it is scaled out of recognition."""
    lost = missing(values, modality)
    lost = lost if invalid is None else lost | invalid
    # factors [T·C] or [C] → [T or 1, C, 1, 1], which broadcast over pixels
    shape = (-1, values.shape[1], 1, 1)
    scale, offset = (np.array([f[part] for f in factors], float).reshape(shape) for part in (0, 1))
    physical = (values * scale + offset).astype(np.float32)
    units = np.array([unit for _, _, unit in factors]).reshape(shape)
    # bands may differ in unit: all are converted from each, and those taken that declare it
    for unit in {unit for _, _, unit in factors if unit}:
        decibel, lost_too = to_decibel(physical, unit)
        chosen = np.broadcast_to(units == unit, physical.shape)
        physical = np.where(chosen, decibel, physical)
        lost = lost | (chosen & lost_too)
    converted: NDArray[np.float32] = physical
    converted[lost] = np.nan
    return converted


def _to_unit(
    band: BandDeclaration, modality: Modality, where: object, applied: _Applied
) -> tuple[float, float, str]:
    """Return scale and offset into the modality's unit, and the radar unit that is left to convert, or ""."""
    scale, offset, unit = band.scale, band.offset, _plain_unit(band.unit)
    if not (math.isfinite(scale) and math.isfinite(offset) and scale):
        raise ChipDataError(
            f"{where}: declares scale {scale:g} and offset {offset:g}; expected finite numbers, scale not 0"
        )
    factor, left = 1.0, ""
    if modality.name in S2_MODALITIES:
        factor = _reflectance_factor(scale, offset, unit, where)
    elif modality.name in S1_MODALITIES:
        left = _radar_unit(unit, where)
    elif modality.unit == "m":
        factor = _LENGTHS.get(unit, 0.0)
        if not factor:
            raise _unknown_unit(band.unit, "m, ft, US survey foot, km, dm, cm or mm", where)
    # 0.0003 · 10⁴ is 2.9999999999999996: rounded, so that a factor of 1 is found to be 1
    scale, offset = round(scale * factor, 12), round(offset * factor, 9)
    if (scale, offset) != (1.0, 0.0):
        told = [
            f"scale {band.scale:g}" if band.scale != 1 else "",
            f"offset {band.offset:g}" if band.offset else "",
        ]
        told += [f"unit {band.unit}" if factor != 1 and band.unit else ""]
        applied.note(", ".join(filter(None, told)) or f"unit {modality.unit}")
    if left:
        applied.note(f"unit {band.unit}, converted to dB")
    return scale, offset, left


def _plain_unit(unit: str) -> str:
    """Return a unit in lower case without brackets: ``[m]`` is m, ``Foot (US survey)`` is foot us survey."""
    return " ".join(re.sub(r"[\[\]()]", " ", unit.lower()).split())


def _reflectance_factor(scale: float, offset: float, unit: str, where: object) -> float:
    """Return what brings declared reflectance to reflectance × 10⁴; ints without a scale are in that unit already."""
    if unit in {"%", "percent"}:
        return 100.0
    if unit in _SCALED_REFLECTANCE:
        return 1.0
    if unit not in _SILENT | _REFLECTANCE:
        raise _unknown_unit(unit, "reflectance or %", where)
    if (
        abs(scale) <= 1e-3
    ):  # 0.0001 and −0.1, as baseline 04.00's products declare, give reflectance of 0 to 1
        return 1e4
    if scale == 1 and not offset:
        return 1.0
    # an offset such as −1000 is one of reflectance × 10⁴, so the values are in that unit
    if scale >= 1 and (not offset or abs(offset) >= 10):
        return 1.0
    raise ChipDataError(
        f"{where}: declares scale {scale:g} and offset {offset:g} and no unit; its values may be reflectance or "
        "per cent of it: correct the file's scale (0.0001 for reflectance × 10⁴), or declare the unit % or reflectance"
    )


def _radar_unit(unit: str, where: object) -> str:
    if unit in _SILENT | _DECIBEL:
        return ""
    if unit in _POWER:
        return "linear"
    if unit in _AMPLITUDE:
        return "amplitude"
    raise _unknown_unit(unit, "dB, linear or amplitude", where)


def _unknown_unit(unit: str, expected: str, where: object) -> ChipDataError:
    return ChipDataError(
        f"{where}: declares values in {unit!r}; expected {expected}: convert them, or correct the file's unit"
    )
