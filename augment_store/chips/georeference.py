"""Where chips lie on Earth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augment_store.errors import ChipDataError

Ring = list[tuple[float, float]]
"""Corners as longitude and latitude in degrees (WGS 84): upper left, upper right, lower right, lower left."""


@dataclass(frozen=True)
class Georeference:
    """Where a chip lies.

    Attributes:
        crs_wkt: Coordinate reference system as WKT, empty where it is not known.
        transform: Affine coefficients a, b, c, d, e, f (x = a·col + b·row + c), NaN where not known.
    """

    crs_wkt: str = ""
    transform: tuple[float, float, float, float, float, float] = (np.nan,) * 6


def read_georeference(path: Path) -> Georeference:
    """Georeference of a GeoTIFF.

    Raises:
        ChipDataError: If the file cannot be read.
    """
    import rasterio
    from rasterio.errors import RasterioError

    if not path.is_file():
        raise ChipDataError(f"{path}: not a file")
    try:
        with rasterio.open(path) as source:
            wkt = source.crs.to_wkt() if source.crs else ""
            return Georeference(wkt, tuple(source.transform)[:6])
    except RasterioError as error:
        raise ChipDataError(f"{path}: cannot be read ({error}); restore the file") from error


def is_known(georeference: Georeference) -> bool:
    """Whether both the coordinate reference system and the transform are known."""
    return bool(georeference.crs_wkt) and bool(np.isfinite(georeference.transform).all())


def coarser(georeference: Georeference, pixels: int) -> Georeference:
    """The same extent in cells of `pixels` × `pixels` pixels."""
    a, b, c, d, e, f = georeference.transform
    return Georeference(georeference.crs_wkt, (a * pixels, b * pixels, c, d * pixels, e * pixels, f))


def footprint(georeference: Georeference, size: int) -> Ring | None:
    """Corners of a chip of `size` pixels a side; None where the chip has no georeference.

    Raises:
        ChipDataError: If the coordinate reference system cannot be used.
    """
    if not is_known(georeference):
        return None
    import rasterio.warp
    from rasterio.errors import RasterioError

    a, b, c, d, e, f = georeference.transform
    corners = [(0, 0), (size, 0), (size, size), (0, size)]
    xs, ys = ([p * col + q * row + o for col, row in corners] for p, q, o in ((a, b, c), (d, e, f)))
    try:
        longitudes, latitudes = rasterio.warp.transform(georeference.crs_wkt, "EPSG:4326", xs, ys)[:2]
    except RasterioError as error:
        raise ChipDataError(f"coordinate reference system cannot be used ({error})") from error
    return [(round(float(x), 6), round(float(y), 6)) for x, y in zip(longitudes, latitudes, strict=True)]


def pixel_metres(georeference: Georeference) -> float | None:
    """Side of a pixel in metres; None where it is not known or the system is not projected."""
    if not is_known(georeference):
        return None
    from rasterio.crs import CRS

    crs = CRS.from_wkt(georeference.crs_wkt)
    if not crs.is_projected:
        return None
    return float(np.hypot(georeference.transform[0], georeference.transform[3]) * crs.linear_units_factor[1])
