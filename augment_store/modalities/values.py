"""Raster values: which are missing, conversion to pretraining units, and NDVI."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.modalities.definitions import AMPLITUDE, NATIVE, S2_MODALITIES, S2L2A, Modality

IMPOSSIBLE: Final = 1e6
"""No modality has values of this size; such values, like the float32 minimum of many DEMs, mean no data."""


def missing(
    raster: NDArray[Any], modality: Modality, values: NDArray[np.float32] | None = None
) -> NDArray[np.bool_]:
    """Return where a raster holds no observation; every stage asks this function.

    Missing are NaN, infinity, impossible values and the modality's no-data values; these are rounded to the
    raster's own type first, since −9999 is −10000 in float16. A Sentinel-2 pixel that is 0 in every band that has an
    observation is no data; 0 in some bands is a dark surface.

    Args:
        raster: Raw values ``[..., C, H, W]``, for Sentinel-2 all its bands.
        modality: Their modality.
        values: The same by `to_float32`, where the caller has them: to convert float16 takes longer than all else.

    Returns:
        bool of the same shape.
    """
    # a Python integer is compared in the raster's own type, which is fast, and equals nothing if it is out of its range
    own = raster.dtype.type if raster.dtype.kind == "f" else int
    # integers of two bytes are all possible, and need no conversion
    if raster.dtype.kind != "f" and raster.dtype.itemsize <= 2:
        found = np.zeros(raster.shape, bool)
    else:
        values = to_float32(raster) if values is None else values
        # not `>=`, with which NaN would count as observed
        found = ~(np.abs(values) < IMPOSSIBLE)
    # NumPy compares float16 number by number; as float32 they are the same
    compared = values if raster.dtype == np.float16 else raster
    for nodata in modality.nodata:
        found |= compared == own(nodata)
    # in most chips no pixel of the first band is 0, and then none is in all bands
    if modality.name in S2_MODALITIES and (found[..., 0, :, :] | (raster[..., 0, :, :] == 0)).any():
        # [..., C, H, W] → [..., 1, H, W], which holds for every band
        found |= (found | (raster == 0)).all(axis=-3, keepdims=True)
    return found


def to_float32(raster: NDArray[Any]) -> NDArray[np.float32]:
    """Return values as float32, in C order; a float64 beyond its range becomes infinite, and is missing in any case."""
    with np.errstate(over="ignore"):
        return raster.astype(np.float32, order="C")


def to_decibel(values: NDArray[np.float32], unit: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return radar in dB, and where there is none because the value is not positive.

    Args:
        values: Backscatter of any shape.
        unit: ``linear`` for power p, 10·log10(p) dB, or ``amplitude`` for its root a, 20·log10(a) dB.
    """
    invalid = ~(values > 0)  # NaN too
    # 1 stands in where there is no logarithm; callers drop those pixels
    decibel = (20 if unit == AMPLITUDE else 10) * np.log10(np.where(invalid, np.float32(1), values))
    return decibel.astype(np.float32, copy=False), invalid


def native(
    raster: NDArray[Any], modality: Modality, *, unit: str = "native", offset: float = 0.0
) -> NDArray[np.float32]:
    """Return a raster in pretraining units, NaN where nothing was observed.

    Args:
        raster: Raw values ``[..., C, H, W]``.
        modality: Their modality.
        unit: Their unit, ``native``, or of radar ``linear`` or ``amplitude``, which become dB; what is not positive
            becomes NaN.
        offset: Subtracted from every valid value, in the unit after that conversion. Of Sentinel-2, a digital number
            of 0 is then its band's no data: reflectance has the offset added before it is stored.

    Returns:
        float32 of the same shape.
    """
    values = to_float32(raster)
    invalid = missing(raster, modality, values)
    if unit != NATIVE:
        values, lost = to_decibel(values, unit)
        invalid |= lost
    if offset > 0 and modality.name in S2_MODALITIES:
        invalid |= values == 0
    values -= np.float32(offset)
    values[invalid] = np.nan
    return values


def ndvi_of(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return NDVI (NIR − red) / (NIR + red) of S2L2A, by the broad NIR band (B08) and B04.

    The control `analytic-ndvi` and the reference for generated NDVI both use this function.

    Args:
        bands: ``[..., 12, H, W]`` in any scale of reflectance, NaN where nothing was observed.

    Returns:
        ``[..., 1, H, W]`` in −1..1; NaN where a band is missing or negative, or both are 0.
    """
    red, nir = (bands[..., S2L2A.bands.index(name), :, :] for name in ("RED", "NIR_BROAD"))
    valid = (red >= 0) & (nir >= 0) & (red + nir > 0)
    # where it is not valid, the NaN of `out` stays
    ratio = np.divide(nir - red, nir + red, out=np.full_like(red, np.nan), where=valid)
    # [..., H, W] → [..., 1, H, W]
    banded: NDArray[np.float32] = ratio[..., None, :, :]
    return banded
