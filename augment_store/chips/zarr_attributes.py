"""What the attributes of a Zarr array say about its values, by the conventions that are in use."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr

from augment_store.chips.declarations import BandDeclaration
from augment_store.chips.limits import FileFormatError


def declared_by_attributes(
    attributes: Mapping[str, Any], array: zarr.Array[Any], names: Sequence[str]
) -> tuple[BandDeclaration, ...]:
    """Return what attributes say of each band: CF's, else those of STAC's raster extension and of odc-stac.

    Raises:
        FileFormatError: If one of them is neither a number nor one for each band.
    """
    count = len(names)
    scales = _by_band(attributes, ("scale_factor", "scale", "scales"), count)
    offsets = _by_band(attributes, ("add_offset", "offset", "offsets"), count)
    # where several are given, _FillValue counts
    nodata = _by_band(attributes, ("_FillValue", "missing_value", "nodata", "nodatavals"), count)
    if nodata[0] is None and array.metadata.zarr_format == 2:
        # There xarray keeps _FillValue as the fill value; 0 is what every other writer leaves there.
        fill = array.fill_value
        own = float(fill) if fill is not None and np.isfinite(fill) and fill != 0 else None
        nodata = [own] * count
    unit = str(attributes.get("units", attributes.get("unit", "")) or "")
    valid = _valid_range(attributes)
    return tuple(
        BandDeclaration(name, value, 1.0 if scale is None else scale, offset or 0.0, unit, valid=valid)
        for name, value, scale, offset in zip(names, nodata, scales, offsets, strict=True)
    )


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


def _valid_range(attributes: Mapping[str, Any]) -> tuple[float, float]:
    """Return the least and the largest valid value, as stored; infinite where CF's attributes name none."""
    both = attributes.get("valid_range")
    if both is not None and not (isinstance(both, (list, tuple)) and len(both) == 2):
        raise FileFormatError(f"attribute valid_range is {str(both)[:40]!r}", "write it as two numbers")
    ends = {"valid_min": both[0], "valid_max": both[1]} if both else attributes
    least, most = (_number(ends, key, None) for key in ("valid_min", "valid_max"))
    return (-math.inf if least is None else least, math.inf if most is None else most)
