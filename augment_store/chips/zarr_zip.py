"""The raster of a chip in a zipped Zarr group: its values, what its attributes declare, and where it lies."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from augment_store.chips.band_names import known_band
from augment_store.chips.declarations import FileContent
from augment_store.chips.limits import FileFormatError, check_size
from augment_store.chips.zarr_archive import (
    ARRAY,
    ZarrArchive,
    check_codecs,
    open_zarr_archive,
    unknown_codec,
)
from augment_store.chips.zarr_attributes import as_sequence, declared_by_attributes
from augment_store.modalities.definitions import INPUT_MODALITIES
from augment_store.utils.text import join_first

_AXES: Final = {
    **dict.fromkeys(("time", "t", "date", "dates", "datetime", "timestep", "step"), 0),
    **dict.fromkeys(
        ("band", "bands", "channel", "channels", "c", "variable", "polarization", "polarisation"), 1
    ),
    **dict.fromkeys(("y", "lat", "latitude", "row", "rows", "height", "northing"), 2),
    **dict.fromkeys(("x", "lon", "longitude", "column", "columns", "col", "width", "easting"), 3),
}
"""Axis of a chip that a dimension's name stands for."""


def read_zarr_zip(path: Path) -> FileContent:
    """Read the array ``bands``, or the only raster there is, with what it declares.

    Raises:
        FileFormatError: If there is no such array, or it is not one of numbers.
        ValueError: If chunks are missing, or it declares more than is read.
    """
    with open_zarr_archive(path) as archive:
        arrays, notes = _find_arrays(archive.group)
        # before any of them is read
        check_size(sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays.values()))
        alone = len(arrays) == 1
        parts = [_read_array(archive, array, own="" if alone else name) for name, array in arrays.items()]
    if len(parts) == 1:
        return dataclasses.replace(parts[0], notes=(*notes, *parts[0].notes))
    return FileContent(
        np.concatenate([part.values for part in parts], axis=1),
        tuple(band for part in parts for band in part.bands),
        notes=tuple(dict.fromkeys((*notes, *(note for part in parts for note in part.notes)))),
    )


def _read_array(archive: ZarrArchive, array: zarr.Array[Any], *, own: str) -> FileContent:
    """Read one array; `own` is the name of its band where each band has an array, else empty."""
    check_codecs(array)
    for shape in (array.shape, array.chunks, array.shards or ()):  # a chunk may be larger than its array
        check_size(math.prod(shape) * array.dtype.itemsize)
    missing = array.nchunks - array.nchunks_initialized
    if missing:  # zarr would read them as fill values
        raise ValueError(
            f"{missing} of {array.nchunks} chunks are missing; write it with write_empty_chunks=True"
        )
    dimensions = _dimensions(array)
    values, moved = _arrange(np.asarray(array[...]), dimensions)
    attributes = array.attrs.asdict()
    if attributes.get("_Unsigned") in {"true", True} and values.dtype.kind == "i":  # netCDF's way
        # the same bytes, read as unsigned
        values = values.view(values.dtype.str.replace("i", "u"))
    count = values.shape[1]
    names = [own] if own and count == 1 else _band_names(archive, attributes, dimensions, count)
    bands, notes = declared_by_attributes(attributes, array, names, values.dtype)
    return FileContent(values, bands, None, (*moved, *notes))


def _find_arrays(group: zarr.Group) -> tuple[dict[str, zarr.Array[Any]], tuple[str, ...]]:
    """Return the array of the raster, or one for each band, with a note if there is none called `ARRAY`."""
    try:
        found = group.get(ARRAY)
    except ValueError as error:
        raise unknown_codec(error) from error
    if isinstance(found, zarr.Array):
        return {ARRAY: found}, ()
    if found is not None:
        raise FileFormatError(f"{ARRAY!r} is a group", f"write {ARRAY!r} as an array [time, band, y, x]")
    members = dict(group.members())
    # not coordinates and tables, which lack two axes of more than one pixel
    large = {
        name: member
        for name, member in members.items()
        if isinstance(member, zarr.Array) and member.ndim >= 2 and min(member.shape[-2:]) > 1
    }
    if len(large) == 1:
        return large, (f"array {next(iter(large))!r} read, as there is no {ARRAY!r}",)
    # as xarray writes a data set with a variable for each band; others, such as a quality layer, are left out
    bands = {name: array for name, array in sorted(large.items()) if _is_band(name)}
    if bands and len({array.shape for array in bands.values()}) == 1 and not _have_bands(bands.values()):
        plural = "arrays" if len(bands) > 1 else "array"
        return bands, (f"{plural} {join_first(bands)} read, as there is no {ARRAY!r}",)
    there = ", ".join(sorted(members)[:8]) or "nothing"
    raise FileFormatError(
        f"no array {ARRAY!r}; it holds {there}", f"write the bands as one array {ARRAY!r} [time, band, y, x]"
    )


def _is_band(name: str) -> bool:
    return any(known_band(name, modality) for modality in INPUT_MODALITIES.values())


def _have_bands(arrays: Iterable[zarr.Array[Any]]) -> bool:
    """Return whether an array has an axis of bands of its own: one that is neither time, y nor x."""
    return any(
        array.ndim > 3 or not {_AXES.get(name.lower(), -1) for name in _dimensions(array)} <= {0, 2, 3}
        for array in arrays
    )


def _dimensions(array: zarr.Array[Any]) -> tuple[str, ...]:
    """Return the names of an array's dimensions, empty if it has none: format 3's own, or xarray's of format 2."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    found = tuple(str(name) for name in as_sequence(names) if name is not None)
    return found if len(found) == array.ndim else ()


def _arrange(values: NDArray[Any], names: tuple[str, ...]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return an array as ``[T, C, H, W]`` by the names of its dimensions, or by their order if they say nothing.

    Raises:
        FileFormatError: If it has not two to four dimensions.
    """
    if not 2 <= values.ndim <= 4:
        raise FileFormatError(f"{values.ndim} dimensions {values.shape}", "write time, band, y, x")
    axes = [_AXES.get(name.lower(), -1) for name in names]
    if axes.count(-1) == 1 and {2, 3} <= set(axes):
        # one axis of another name beside y and x: the bands, or the dates if the bands are named
        axes[axes.index(-1)] = 0 if 1 in axes else 1
    # two axes of one meaning, an unknown name, or no y and x: by order then
    if len(set(axes)) < len(axes) or -1 in axes or not {2, 3} <= set(axes):
        # [H, W] → [1, 1, H, W], [C, H, W] → [1, C, H, W]
        return values.reshape((1,) * (4 - values.ndim) + values.shape), ()
    order = np.argsort(axes)
    shape = [1, 1, 1, 1]
    for axis, length in zip(axes, values.shape, strict=True):
        shape[axis] = length
    moved = () if order.tolist() == [*range(len(axes))] else (f"dimensions {', '.join(names)} transposed",)
    # in the order T, C, H, W, with 1 for axes that are not there
    return values.transpose(order).reshape(shape), moved


def _band_names(
    archive: ZarrArchive, attributes: Mapping[str, Any], dimensions: Sequence[str], count: int
) -> list[str]:
    """Return the names of the bands: an attribute of the array, or the coordinate of its bands beside it."""
    for key in ("band_names", "band_name", "long_name"):
        found = as_sequence(attributes.get(key))
        # of a single band, long_name describes the array and not the band
        if len(found) == count and count > 1:
            return [str(name) for name in found]
    # the axis that is neither time, y nor x
    own = [name for name in dimensions if _AXES.get(name.lower(), 1) == 1]
    name = own[0] if own else "band"
    coordinate = archive.text_coordinate(name, count) if count > 1 else ()
    return list(coordinate) or [""] * count


def read_zarr_location(path: Path) -> tuple[str, tuple[float, ...] | None]:
    """Return the coordinate reference system as written, and the affine coefficients a, b, c, d, e, f, if known.

    They come from ``spatial_ref`` and the coordinates ``x`` and ``y``, as xarray and rioxarray write them, or from the
    attributes ``proj:`` and ``spatial:``.

    Raises:
        FileFormatError: If the file holds no Zarr group.
    """
    with open_zarr_archive(path) as archive:
        # the group's own attributes are asked before those of its variables
        holders: list[Mapping[str, Any]] = [archive.group.attrs.asdict()]
        for name in ("spatial_ref", "crs", ARRAY):
            member = archive.member(name)
            if isinstance(member, zarr.Array):
                holders.append(member.attrs.asdict())
        return _system(holders), _transform(archive, holders)


def _system(holders: Sequence[Mapping[str, Any]]) -> str:
    for key in ("crs_wkt", "spatial_ref", "proj:wkt2", "proj:code", "proj:epsg"):
        for attributes in holders:
            value = attributes.get(key)
            if value and isinstance(value, (str, int)):
                return f"EPSG:{value}" if isinstance(value, int) else value
    return ""


def _transform(archive: ZarrArchive, holders: Sequence[Mapping[str, Any]]) -> tuple[float, ...] | None:
    x, y = (_coordinate(archive.member(axis)) for axis in ("x", "y"))
    if x is not None and y is not None:
        (x0, dx), (y0, dy) = x, y
        # coordinates are of centers, the transform's origin is a corner: half a pixel before
        return (dx, 0.0, x0 - dx / 2, 0.0, dy, y0 - dy / 2)
    for attributes in holders:
        for key in ("spatial:transform", "proj:transform"):
            value = attributes.get(key)
            # nine numbers are a whole 3 × 3 matrix, whose last row says nothing
            if isinstance(value, (list, tuple)) and len(value) in {6, 9}:
                return tuple(float(number) for number in value[:6])
        text = attributes.get("GeoTransform")
        numbers = str(text).split() if text else []
        if len(numbers) == 6:  # GDAL's order
            c, a, b, f, d, e = map(float, numbers)
            return (a, b, c, d, e, f)
    return None


def _coordinate(array: Any) -> tuple[float, float] | None:
    """Return the first pixel center of an axis and the step to the next; None if they are not evenly spaced."""
    # a single center gives no step; the upper limit keeps a stranger's file from filling memory
    if not isinstance(array, zarr.Array) or array.ndim != 1 or not 2 <= array.shape[0] <= 2**16:
        return None
    # missing chunks would read as fill values
    if array.dtype.kind not in "iuf" or array.nchunks != array.nchunks_initialized:
        return None
    check_codecs(array)
    centers = np.asarray(array[...], float)
    step = float(centers[-1] - centers[0]) / (len(centers) - 1)
    if not step or np.abs(np.diff(centers) - step).max() > 0.01 * abs(step):
        return None
    return float(centers[0]), step
