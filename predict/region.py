"""The part of a scene that is mapped: bounds, and a mask of pixels to leave out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import geopandas
import numpy as np
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from rasterio.io import DatasetReader
from rasterio.windows import Window

from augment_store.chips.raster_grid import check_grid, open_raster
from augment_store.errors import ChipDataError, ChipSetError

VECTORS: Final = (".geojson", ".json", ".gpkg", ".shp", ".fgb", ".parquet")
"""File types of masks that are polygons; any other is a raster."""


class Box(NamedTuple):
    """A part of a raster: its upper left pixel and its size, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def window(self) -> Window:
        """Return it as rasterio has it."""
        return Window(self.left, self.top, self.width, self.height)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Return its rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def within(self, outer: Box) -> Box:
        """Return this part of a part, as a part of the whole."""
        return self._replace(top=self.top + outer.top, left=self.left + outer.left)

    def relative_to(self, outer: Box) -> Box:
        """Return this part of the whole, as a part of a part around it."""
        return self._replace(top=self.top - outer.top, left=self.left - outer.left)

    def covers(self, other: Box) -> bool:
        """Tell whether another part lies in this one."""
        return self.around(other) == self

    def around(self, *others: Box) -> Box:
        """Return the smallest part that covers this and others."""
        boxes = (self, *others)
        top, left = min(box.top for box in boxes), min(box.left for box in boxes)
        bottom, right = (
            max(box.top + box.height for box in boxes),
            max(box.left + box.width for box in boxes),
        )
        return Box(top, left, bottom - top, right - left)


Outside = Callable[[Box], NDArray[np.bool_]]
"""Tells which pixels ``[h, w]`` of a part of a raster are left out."""


def box_of_bounds(source: DatasetReader, bounds: tuple[float, float, float, float] | None) -> Box:
    """Return the part of a raster that bounds touch, in whole pixels.

    Args:
        source: The raster.
        bounds: West, south, east and north in its reference system; None for all of it.

    Raises:
        ChipSetError: If they are no bounds, or outside of the raster, or it is not north up.
    """
    if bounds is None:
        return Box(0, 0, source.height, source.width)
    west, south, east, north = bounds
    told = f"--bounds {' '.join(f'{edge:g}' for edge in bounds)}"
    if not (west < east and south < north):
        raise ChipSetError(f"{told}: expected west, south, east and north, in this order")
    grid = source.transform
    if grid.b or grid.d or grid.a < 0 or grid.e > 0:
        raise ChipSetError(
            f"{told}: {source.name} has no north at the top; warp it with gdalwarp, or leave bounds out"
        )
    # a thousandth of a pixel: bounds that were taken from the grid itself touch no further pixel
    left, right = math.floor((west - grid.c) / grid.a + 1e-3), math.ceil((east - grid.c) / grid.a - 1e-3)
    top, bottom = math.floor((north - grid.f) / grid.e + 1e-3), math.ceil((south - grid.f) / grid.e - 1e-3)
    top, left = max(top, 0), max(left, 0)
    height, width = min(bottom, source.height) - top, min(right, source.width) - left
    if height <= 0 or width <= 0:
        there = " ".join(f"{edge:g}" for edge in source.bounds)
        raise ChipSetError(f"{told}: outside of {source.name}, whose bounds are {there}, in {source.crs}")
    return Box(top, left, height, width)


@contextmanager
def open_mask(path: Path | None, first: DatasetReader) -> Iterator[Outside | None]:
    """Open a mask: polygons around what is mapped, or a raster of 0 where it is not.

    Args:
        path: The file; None for no mask.
        first: A raster of the scene, on whose grid it lies.

    Raises:
        ChipDataError: If it cannot be read, has no polygons or reference system, or lies on another grid.
    """
    if path is None:
        yield None
    elif path.suffix.lower() in VECTORS:
        yield _polygons(path, first)
    else:
        with open_raster(path) as source:
            check_grid(source, first)
            # GDAL's mask is 0 where a raster has no data
            yield (
                lambda box: (
                    (source.read(1, window=box.window) == 0) | (source.read_masks(1, window=box.window) == 0)
                )
            )


def _polygons(path: Path, first: DatasetReader) -> Outside:
    try:
        table = geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)
    except Exception as error:  # each of GDAL's vector drivers raises errors of its own
        raise ChipDataError(f"--mask {path}: cannot be read as polygons ({error})") from error
    if table.crs is None or first.crs is None or not len(table):
        raise ChipDataError(
            f"--mask {path}: {len(table)} polygons in {table.crs}, the scene in {first.crs}; expected one or more, and "
            "a coordinate reference system of both"
        )
    shapes: list[Any] = list(table.to_crs(first.crs).geometry)

    def outside(box: Box) -> NDArray[np.bool_]:
        place = first.window_transform(box.window)
        found: NDArray[np.bool_] = geometry_mask(shapes, (box.height, box.width), place)
        return found

    return outside
