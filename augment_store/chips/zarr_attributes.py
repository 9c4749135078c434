"""What the attributes of a Zarr array say about its values, by the conventions that are in use."""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import zarr

from augment_store.chips.declarations import BandDeclaration
from augment_store.chips.limits import FileFormatError


def declared_by_attributes(
    attributes: Mapping[str, Any], array: zarr.Array[Any], names: Sequence[str], stored: np.dtype[Any]
) -> tuple[tuple[BandDeclaration, ...], tuple[str, ...]]:
    """Return what attributes say of each band, and notes on those that are not used.

    Args:
        attributes: CF's attributes, else those of STAC's raster extension and of odc-stac.
        array: The array that they are of.
        names: Names of its bands.
        stored: Type of the values as they are read: unsigned where netCDF's ``_Unsigned`` says so of a signed array.

    Raises:
        FileFormatError: If scale, offset or no data is neither a number nor one for each band.
    """
    count = len(names)
    attributes, notes = _packing_alone(attributes)
    scales = [
        1.0 if s is None else s for s in _by_band(attributes, ("scale_factor", "scale", "scales"), count)
    ]
    offsets = [o or 0.0 for o in _by_band(attributes, ("add_offset", "offset", "offsets"), count)]
    # where several are given, _FillValue counts
    nodata = _by_band(attributes, ("_FillValue", "missing_value", "nodata", "nodatavals"), count)
    if all(value is None for value in nodata) and array.metadata.zarr_format == 2:
        # There xarray keeps _FillValue as the fill value; 0 is what every other writer leaves there.
        fill = array.fill_value
        own = float(fill) if fill is not None and np.isfinite(fill) and fill != 0 else None
        nodata = [own] * count
    # netCDF writes numbers of such an array in its signed type: −1 is the largest
    span = 2 ** (8 * stored.itemsize) if (array.dtype.kind, stored.kind) == ("i", "u") else 0
    try:
        ends = _valid_ends(attributes, count)
    # it only advises, so it is no reason to refuse a file
    except ValueError as error:
        ends, notes = [(None, None)] * count, (*notes, f"{error}: not used")
    declared = zip(names, nodata, scales, offsets, _units(attributes, count), ends, strict=True)
    return tuple(
        BandDeclaration(
            name,
            _wrapped(value, span),
            scale,
            offset,
            unit,
            valid=_as_packed(pair, scale, offset, span, stored),
        )
        for name, value, scale, offset, unit, pair in declared
    ), notes


def _packing_alone(attributes: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return attributes without a ``scale`` and ``offset`` that are no packing but a pixel size, say, and a note."""
    bare = {key: attributes[key] for key in ("scale", "offset") if attributes.get(key) is not None}
    try:
        numbers = {
            key: [float(each) for each in as_sequence(value) if each is not None]
            for key, value in bare.items()
        }
    except (TypeError, ValueError):
        numbers = {"scale": [math.inf]}
    if all(abs(scale) <= 1 for scale in numbers.get("scale", ())):
        return attributes, ()
    told = " and ".join(f"{key} {str(value)[:40]!r}" for key, value in bare.items())
    kept = {key: value for key, value in attributes.items() if key not in bare}
    return kept, (f"{told} not applied: expected a number up to 1 (packing by more is called scale_factor)",)


def _units(attributes: Mapping[str, Any], count: int) -> list[str]:
    """Return the unit of each band; empty where none is given."""
    unit = attributes.get("units", attributes.get("unit"))
    each = list(unit) if isinstance(unit, (list, tuple)) and len(unit) == count else [unit] * count
    return [str(one or "") for one in each]


def _wrapped(value: float | None, span: int) -> float | None:
    """Return a number of a signed type as the unsigned one of as many values has it; `span` is 0 for other arrays."""
    return value + span if value is not None and -span <= value < 0 else value


def _by_band(attributes: Mapping[str, Any], keys: Sequence[str], count: int) -> list[float | None]:
    """Return the number of the first of some attributes that is there, for each band; None where none is."""
    key = next((key for key in keys if attributes.get(key) is not None), keys[0])
    value = attributes.get(key)
    if isinstance(value, (list, tuple)) and len(value) == count:
        return [_number({key: each}, key, None) for each in value]
    return [_number(attributes, key, None)] * count


def _number(attributes: Mapping[str, Any], key: str, default: float | None) -> float | None:
    value = attributes.get(key)
    if value is None:
        return default
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and key == "_FillValue":  # xarray writes floats of format 3 in base64
        try:
            return float(struct.unpack("<d", base64.standard_b64decode(value))[0])
        except (ValueError, struct.error):
            pass
    try:
        return float(value)
    except (TypeError, ValueError):
        raise FileFormatError(
            f"attribute {key} is {str(value)[:40]!r}", "write it as one number, or one for each band"
        ) from None


def as_sequence(value: Any) -> Sequence[Any]:
    """Return an attribute as a sequence: a single value in one, and none of None."""
    if value is None:
        return ()
    return value if isinstance(value, (list, tuple)) else (value,)


def _valid_ends(
    attributes: Mapping[str, Any], count: int
) -> list[tuple[int | float | None, int | float | None]]:
    """Return the least and the largest valid value of each band as CF's attributes have them; None where none is named.

    Raises:
        ValueError: If one of them is no number, or there are not as many as expected.
    """
    if attributes.get("valid_range") is not None:
        both = _numbers(attributes, "valid_range", {2})
        return [(both[0], both[1])] * count
    least, most = (
        _numbers(attributes, key, {1, count}) if attributes.get(key) is not None else [None]
        for key in ("valid_min", "valid_max")
    )
    return [(least[band % len(least)], most[band % len(most)]) for band in range(count)]


def _numbers(attributes: Mapping[str, Any], key: str, lengths: Collection[int]) -> list[int | float]:
    """Return the numbers of an attribute, whole ones as int, be it ``[0, 1]``, ``0, 1`` or ``{0,1}``.

    Raises:
        ValueError: If one of them is no number, or there are not as many as one of `lengths`.
    """
    value = attributes[key]
    words = re.split(r"[,\s]+", value.strip("[](){} ")) if isinstance(value, str) else as_sequence(value)
    try:
        found = [_number_of(word) for word in words]
    except (TypeError, ValueError):
        found = []
    if len(found) not in lengths:
        raise ValueError(f"attribute {key} is {str(value)[:40]!r}")
    return found


def _number_of(word: Any) -> int | float:
    """Return a number, an int if it is written as one."""
    try:
        return word if isinstance(word, (int, float)) else int(word)
    except ValueError:
        return float(word)


def _as_packed(
    ends: tuple[int | float | None, int | float | None],
    scale: float,
    offset: float,
    span: int,
    stored: np.dtype[Any],
) -> tuple[float, float]:
    """Return the ends of a valid range as stored, infinite where there is none."""
    # CF: ends in the wider type of the scale are of the unpacked values
    unpacked = stored.kind in "iu" and any(isinstance(end, float) for end in ends)
    if unpacked and scale and (scale, offset) != (1.0, 0.0):
        physical = np.array(
            [-math.inf if ends[0] is None else ends[0], math.inf if ends[1] is None else ends[1]]
        )
        # rounded, as 0.3 / 0.0001 is 2999.9999999999995; sorted, as a negative scale turns them round
        first, last = np.sort(np.round((physical - offset) / scale))
        return float(first), float(last)
    least, most = (_wrapped(end, span) for end in ends)
    return (-math.inf if least is None else float(least), math.inf if most is None else float(most))
