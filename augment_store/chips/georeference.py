"""Where chips lie on Earth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio.warp
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError

from augment_store.chips.geotiff import open_geotiff
from augment_store.chips.limits import MAX_RASTER_BYTES, FileFormatError
from augment_store.chips.zarr_zip import read_zarr_location
from augment_store.errors import ChipDataError, RemotePathError
from augment_store.io.remote import local_file

Ring = list[tuple[float, float]]
"""Corners as longitude and latitude in degrees (WGS 84): upper left, upper right, lower right, lower left."""

GRID_MAPPING: Final = "spatial_ref"
"""Name of the variable that holds the coordinate reference system, as rioxarray and GDAL call it."""


@dataclass(frozen=True)
class Georeference:
    """Where a chip lies.

    Attributes:
        crs_wkt: Coordinate reference system as WKT, empty if unknown.
        transform: Affine coefficients a, b, c, d, e, f (x = a·col + b·row + c), NaN if unknown.
    """

    crs_wkt: str = ""
    transform: tuple[float, float, float, float, float, float] = (np.nan,) * 6


def read_georeference(path: Path) -> Georeference:
    """Return where a GeoTIFF or a zipped Zarr group lies; unknown where it does not say, as with an identity transform.

    Raises:
        ChipDataError: If the file cannot be read.
    """
    if not path.is_file():
        raise ChipDataError(f"{path}: not a file")
    try:
        with local_file(path, MAX_RASTER_BYTES) as local:
            if path.suffix.lower() == ".zip":
                return _zarr_georeference(local)
            with open_geotiff(local) as source:
                # GDAL gives the identity where there is no transform: rows and columns, not coordinates.
                if source.crs is None or source.transform.is_identity:
                    return Georeference()
                return Georeference(source.crs.to_wkt(), tuple(source.transform)[:6])
    # that is the network, not the file, and has a remedy of its own
    except RemotePathError:
        raise
    except FileFormatError as error:
        raise ChipDataError(f"{path}: cannot be read ({error}); {error.remedy}") from error
    except Exception as error:  # damaged files make zarr and GDAL raise anything
        raise ChipDataError(f"{path}: cannot be read ({error}); restore the file") from error


def _zarr_georeference(path: Path) -> Georeference:
    system, transform = read_zarr_location(path)
    if not system or transform is None or not np.isfinite(transform).all():
        return Georeference()
    try:
        wkt = CRS.from_user_input(system).to_wkt()
    except CRSError:
        return Georeference()
    a, b, c, d, e, f = transform
    return Georeference(wkt, (a, b, c, d, e, f))


def difference(
    one: Georeference, other: Georeference, shape: tuple[int, int], *, corners: bool = False
) -> str:
    """Return how two known places of a chip differ, empty if by a tenth of a pixel at most.

    Args:
        one: The first place.
        other: The second.
        shape: Height and width of the chip in pixels.
        corners: Whether half a pixel down and to the right is the same place, since coordinates beside an array may be
            those of corners, as ImpactMesh's are, though CF takes them for centers.
    """
    if horizontal_system(CRS.from_wkt(one.crs_wkt)) != horizontal_system(CRS.from_wkt(other.crs_wkt)):
        names = (authority_code(place.crs_wkt) or place.crs_wkt[:40] for place in (one, other))
        return " and ".join(names)
    height, width = shape
    # the four corners as columns (col, row, 1), for 2 × 3 transforms to multiply
    pixels = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    first, second = (np.reshape(place.transform, (2, 3)) for place in (one, other))
    # [2, 4]: how far apart each corner is in x and in y
    shift = (first - second) @ pixels
    if corners:
        # half a column and half a row, in the system's unit
        half = (first[:, 0] + first[:, 1])[:, None] / 2
        shift = min((shift, shift - half, shift + half), key=lambda each: float(np.abs(each).max()))
    apart = float(np.hypot(*shift).max())
    side = float(np.hypot(first[0, 0], first[1, 0]))
    if apart <= 0.1 * side:
        return ""
    # a flip changes the sign of the determinant
    if np.sign(np.linalg.det(first[:, :2])) != np.sign(np.linalg.det(second[:, :2])):
        return "one is mirrored, as south-up rasters are"
    return f"{apart / side:.1f} pixels apart"


def horizontal_system(system: CRS) -> CRS:
    """Return a coordinate reference system without the heights that a compound one has, as those of many DEMs."""
    if not system.to_wkt().startswith("COMPD_CS"):
        return system
    return CRS.from_user_input(system.to_dict(projjson=True)["components"][0])


def is_known(georeference: Georeference) -> bool:
    """Return whether both the coordinate reference system and the transform are known."""
    return bool(georeference.crs_wkt) and bool(np.isfinite(georeference.transform).all())


def pixel_side(georeference: Georeference) -> float:
    """Return the length of a row's step, in the unit of the system."""
    return float(np.hypot(georeference.transform[0], georeference.transform[3]))


def coarser(georeference: Georeference, pixels: float) -> Georeference:
    """Return the same extent in cells of `pixels` × `pixels` pixels."""
    a, b, c, d, e, f = georeference.transform
    # c and f stay, since they are a corner and not a center
    return Georeference(georeference.crs_wkt, (a * pixels, b * pixels, c, d * pixels, e * pixels, f))


def outlines(places: Mapping[str, Georeference], shape: tuple[int, int]) -> dict[str, NDArray[np.float64]]:
    """Return the corners ``[4, 2]`` of each chip as longitude and latitude in degrees, not rounded as in `footprint`.

    Chips without a georeference, or in a local system that has no place on Earth, are left out. A chip across the
    antimeridian has longitudes beyond 180.

    Raises:
        ChipDataError: If a coordinate reference system cannot be used.
    """
    by_system: dict[str, list[str]] = defaultdict(list)
    for chip_id, place in places.items():
        if is_known(place):
            by_system[place.crs_wkt].append(chip_id)
    found: dict[str, NDArray[np.float64]] = {}
    for wkt, ids in by_system.items():
        if is_on_earth(wkt):
            transforms = np.array([places[chip_id].transform for chip_id in ids])
            corners = _corners(wkt, transforms, shape)
            # within a chip across the antimeridian, longitudes jump from 180 to −180
            corners[np.ptp(corners[..., 0], axis=1) > 180, :, 0] %= 360
            found |= dict(zip(ids, corners, strict=True))
    return found


def is_on_earth(crs_wkt: str) -> bool:
    """Return whether a coordinate reference system leads to longitude and latitude, as a local one does not."""
    crs = CRS.from_wkt(crs_wkt)
    return bool(crs.is_geographic or crs.is_projected)


def _corners(wkt: str, transforms: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return longitude and latitude ``[n, 4, 2]`` of the corners of chips with `transforms` ``[n, 6]``."""
    height, width = shape
    # columns (col, row, 1) of the upper left, upper right, lower right and lower left corner
    pixels = np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]])
    # [n, 2, 3] × [3, 4] → x and y of each corner [n, 2, 4] → [2, n · 4]
    xs, ys = np.moveaxis(transforms.reshape(-1, 2, 3) @ pixels, 1, 0).reshape(2, -1)
    try:
        longitudes, latitudes = rasterio.warp.transform(wkt, "EPSG:4326", xs, ys)[:2]
    except RasterioError as error:
        raise ChipDataError(f"coordinate reference system cannot be used ({error})") from error
    return np.stack([longitudes, latitudes], axis=-1).reshape(-1, 4, 2)


def footprint(georeference: Georeference, shape: tuple[int, int]) -> Ring | None:
    """Return the corners of a chip of `shape`, its height and width in pixels; None where it has no georeference.

    Raises:
        ChipDataError: If the coordinate reference system cannot be used.
    """
    if not is_known(georeference):
        return None
    corners = _corners(georeference.crs_wkt, np.array([georeference.transform]), shape)[0]
    # six decimals of a degree are about 0.1 m
    return [(round(float(x), 6), round(float(y), 6)) for x, y in corners]


def pixel_metres(georeference: Georeference) -> float | None:
    """Return the side of a pixel in meters; None if unknown, or if the system is not projected."""
    if not is_known(georeference):
        return None
    crs = CRS.from_wkt(georeference.crs_wkt)
    if not crs.is_projected:
        return None
    # `linear_units_factor` is (name, meters per unit): feet become meters
    return float(np.hypot(georeference.transform[0], georeference.transform[3]) * crs.linear_units_factor[1])


def authority_code(crs_wkt: str) -> str | None:
    """Return the code of a coordinate reference system, for example ``EPSG:32618``; None if it has none."""
    authority = CRS.from_wkt(crs_wkt).to_authority()
    return None if authority is None else ":".join(authority)


def grid_mapping(georeference: Georeference) -> dict[str, Any]:
    """Return the attributes of CF's grid mapping variable, with GDAL's transform, which rioxarray reads as well."""
    a, b, c, d, e, f = georeference.transform
    # GDAL's order; `!r` keeps all digits
    return {"crs_wkt": georeference.crs_wkt, "GeoTransform": f"{c!r} {a!r} {b!r} {f!r} {d!r} {e!r}"}


def pixel_centres(georeference: Georeference, shape: tuple[int, int]) -> dict[str, NDArray[np.float64]]:
    """Return the coordinates ``y`` and ``x`` of pixel centers in the unit of the system, by axis.

    Empty for a rotated raster, which has no coordinate per row and column: its transform alone says where it lies.

    Args:
        georeference: Georeference, which must be known.
        shape: Height and width in pixels.
    """
    a, b, c, d, e, f = georeference.transform
    if b or d:
        return {}
    # half a pixel in from the edge, as the transform's origin is a corner
    rows, columns = (np.arange(count, dtype=np.float64) + 0.5 for count in shape)
    return {"y": f + rows * e, "x": c + columns * a}


def axis_attributes(axis: str, georeference: Georeference) -> dict[str, Any]:
    """Return the CF attributes of the coordinate ``y`` or ``x``: in degrees if the system is not projected."""
    long_name = {"long_name": f"{axis} of pixel centres"}
    if CRS.from_wkt(georeference.crs_wkt).is_projected:
        return {"standard_name": f"projection_{axis}_coordinate", **long_name}
    degrees = {"y": ("latitude", "degrees_north"), "x": ("longitude", "degrees_east")}
    name, units = degrees[axis]
    return {"standard_name": name, "units": units, **long_name}
