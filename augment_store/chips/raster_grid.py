"""Rasters of any size that a user names: opened, on one grid, and read window by window."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from augment_store.chips.declarations import FileContent
from augment_store.chips.georeference import horizontal_system
from augment_store.chips.geotiff import read_dataset
from augment_store.chips.limits import FileFormatError
from augment_store.errors import ChipDataError


def open_raster(path: str | Path) -> DatasetReader:
    """Open a raster that the user named, by any of GDAL's drivers: stacks of bands are VRTs.

    Raises:
        ChipDataError: If it cannot be opened, or holds several rasters.
    """
    try:
        source = rasterio.open(path)
    except RasterioError as error:
        raise ChipDataError(f"{path}: cannot be read as a raster ({error})") from error
    if source.subdatasets:
        names = ", ".join(source.subdatasets[:6])
        source.close()
        raise ChipDataError(f"{path}: holds several rasters: {names}; give one of them in place of the file")
    return source


def read_window(source: DatasetReader, window: Window) -> FileContent:
    """Read a window of an open raster with what the raster declares.

    Raises:
        ChipDataError: If it cannot be read; the message names the file and the remedy.
    """
    try:
        return read_dataset(source, window)
    except FileFormatError as error:
        raise ChipDataError(f"{source.name}: cannot be read ({error}); {error.remedy}") from error
    except (RasterioError, ValueError) as error:
        raise ChipDataError(f"{source.name}: cannot be read ({error})") from error


def check_grid(source: DatasetReader, first: DatasetReader) -> None:
    """Make sure that a raster lies on the first raster's grid.

    Raises:
        ChipDataError: If it does not; the message says the command that brings it there.
    """
    _check_ground_control(source, first)
    if _on_one_grid(source, first):
        return
    # either of the two may lack its system
    for raster, other in ((source, first), (first, source)):
        if raster.crs is None and other.crs is not None:
            out = _beside(raster.name, "placed")
            words = ["gdal_translate", "-a_srs", _system(other), raster.name, out]
            raise ChipDataError(
                f"{raster.name}: no coordinate reference system, so not on the grid of {other.name}; if it has the "
                f"same, say so, as with {shlex.join(words)}"
            )
    upright = first.transform.e < 0 < first.transform.a and not (first.transform.b or first.transform.d)
    # gdalwarp writes rasters with north at the top alone: a first raster that is not so has to be turned first.
    moved = source if upright else first
    words = ["gdalwarp", *(["-t_srs", _system(first)] if first.crs else []), *_extent(first)]
    words += [moved.name, _beside(moved.name, "warped")]
    reason = f"{source.name}: not on the grid of {first.name}; bring it there"
    if not upright:
        reason = (
            f"{source.name}: not on the grid of {first.name}, which lacks north at the top; turn that first"
        )
    raise ChipDataError(f"{reason}, as with {shlex.join(words)}")


def _check_ground_control(source: DatasetReader, first: DatasetReader) -> None:
    """Make sure that a raster has a transform, if it has points on the ground instead, as products of radar have.

    Raises:
        ChipDataError: If it has not; the message says the command that makes one.
    """
    points, system = source.gcps
    if not points or source.crs is not None:
        return
    # the first raster's grid, or one of its own
    words = ["gdalwarp", "-t_srs", _system(first) if first.crs else f"EPSG:{system.to_epsg() or 4326}"]
    if first.crs:
        words += _extent(first)
    words += [source.name, _beside(source.name, "warped")]
    raise ChipDataError(
        f"{source.name}: lies by {len(points)} ground control points and has no grid; warp it, as with "
        f"{shlex.join(words)}"
    )


def _extent(first: DatasetReader) -> list[str]:
    """Return the options of gdalwarp for a raster's extent and size."""
    # sorted, as a mirrored raster has its bounds the other way around
    west, east = sorted((first.bounds.left, first.bounds.right))
    south, north = sorted((first.bounds.bottom, first.bounds.top))
    # `repr` keeps all digits: a rounded edge would shift the grid
    edges = [repr(float(edge)) for edge in (west, south, east, north)]
    return ["-te", *edges, "-ts", str(first.width), str(first.height)]


def _system(source: DatasetReader) -> str:
    """Return a coordinate reference system as GDAL's commands take it."""
    system = horizontal_system(source.crs)
    authority = system.to_authority()
    return ":".join(authority) if authority else str(system.to_wkt())


def _beside(name: str, what: str) -> str:
    """Return a name for what a command makes of a raster, in the working folder."""
    return f"{Path(name).stem}_{what}.tif"


def _on_one_grid(source: DatasetReader, first: DatasetReader) -> bool:
    """Return whether the corners of two rasters lie within a hundredth of a pixel of each other."""
    one, other = (horizontal_system(raster.crs) if raster.crs else None for raster in (source, first))
    if one != other or source.shape != first.shape:
        return False
    apart = np.reshape(tuple(source.transform)[:6], (2, 3)) - np.reshape(tuple(first.transform)[:6], (2, 3))
    corners = apart @ [
        [0, first.width, 0],
        [0, 0, first.height],
        [1, 1, 1],
    ]  # x = a·col + b·row + c; y likewise
    return bool(np.abs(corners).max() <= 0.01 * np.hypot(first.transform.a, first.transform.d))
