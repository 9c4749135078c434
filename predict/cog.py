"""Layers as cloud-optimized GeoTIFFs, written strip by strip and read again before they get their name."""

from __future__ import annotations

import errno
import filecmp
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter
from rasterio.transform import Affine
from rasterio.windows import Window

from augment_store.chips.georeference import Georeference, is_known
from augment_store.errors import OutputError
from augment_store.export.sidecars import write_sidecars
from augment_store.io.files import atomic_path
from predict.layers import MapLayer

TILE: Final = 512
"""Side of a tile in pixels, as GDAL's COG driver has it by default."""

SETTINGS: Final = "SETTINGS_SHA256"
"""Tag with the digest of all that made a map."""

Strips = Callable[[], Iterable[tuple[int, NDArray[Any]]]]
"""Gives the strips of a layer, each with its first row, ``[bands, rows, W]``; as often as it is called."""


def write_cog_of_strips(
    path: Path,
    layer: MapLayer,
    shape: tuple[int, int],
    place: Georeference,
    strips: Strips,
    tags: Mapping[str, str],
    scratch: Path,
) -> None:
    """Write a layer; with class names and colors in files beside it if it has classes.

    Args:
        path: The file.
        layer: What it holds.
        shape: Height and width in pixels.
        place: Where it lies.
        strips: Its values.
        tags: What made it.
        scratch: Folder on the same disk, for a raster that is not optimized yet, and for a second copy.

    Raises:
        OutputError: If it cannot be written, or what was written is not what it should hold.
    """
    # the COG driver only copies a finished raster
    plain, again = scratch / "plain.tif", scratch / "again.tif"
    # GDAL trips over what a kill or a full disk left of its own files
    for left in (plain, again):
        left.unlink(missing_ok=True)
    with atomic_path(path) as draft:
        try:
            with rasterio.open(plain, "w", **_profile(layer, shape, place)) as target:
                _fill(target, layer, strips, tags)
            # twice, as GDAL goes on after a write that failed, and only another copy shows overviews that lack one
            for copy in (draft, again):
                _copy(plain, copy, layer)
            whole = filecmp.cmp(draft, again, shallow=False) and _holds(draft, layer, strips, tags)
        except (RasterioError, CPLE_BaseError, SystemError) as error:
            # rasterio tells by one of an error of GDAL that has no number; any other is a bug of NumPy's or Python's
            if isinstance(error, SystemError) and "GDAL" not in str(error):
                raise
            raise _cut_short(path, error) from error
        if not whole:
            raise _cut_short(path, "what was written is not what was predicted")
    plain.unlink()
    again.unlink()
    write_sidecars(path, layer.classes)


def _cut_short(path: Path, reason: object) -> OutputError:
    """Return the error for a disk that is full: GDAL may write a file short and raise nothing."""
    failed = OutputError(path, f"{reason}; the disk may be full")
    failed.errno = errno.ENOSPC
    return failed


def _profile(layer: MapLayer, shape: tuple[int, int], place: Georeference) -> dict[str, Any]:
    profile: dict[str, Any] = {"driver": "GTiff", "height": shape[0], "width": shape[1]}
    profile |= {"count": len(layer.bands), "dtype": layer.dtype, "nodata": layer.nodata}
    # strips of whole rows, as they are written; BigTIFF from 4 GiB on
    profile |= {"bigtiff": "if_safer"}
    if is_known(place):
        profile |= {"crs": place.crs_wkt, "transform": Affine(*place.transform)}
    return profile


def _fill(target: DatasetWriter, layer: MapLayer, strips: Strips, tags: Mapping[str, str]) -> None:
    target.descriptions = layer.bands
    target.scales = (layer.scale,) * len(layer.bands)
    target.update_tags(AREA_OR_POINT="Area", LAYER=layer.name, **tags)
    if layer.classes:
        colors = {entry.value: (*entry.rgb, 255) for entry in layer.classes}
        names = {
            "flag_values": " ".join(str(entry.value) for entry in layer.classes),
            "flag_meanings": " ".join(entry.flag for entry in layer.classes),
        }
        for band in range(1, len(layer.bands) + 1):
            # CF's names of classes, for readers that do not look into the files beside the raster
            target.update_tags(band, **names)
        target.write_colormap(1, colors)
    # last, as GDAL rewrites a file's directory for what comes later, and crashes if a write has failed before
    for top, values in strips():
        target.write(values, window=Window(0, top, values.shape[-1], values.shape[-2]))


def _copy(plain: Path, draft: Path, layer: MapLayer) -> None:
    rasterio.shutil.copy(
        plain,
        draft,
        driver="COG",
        compress="deflate",
        # differences of neighbors compress better: whole numbers, or bytes of floats
        predictor="yes",
        blocksize=TILE,
        overview_resampling=layer.resampling,
        bigtiff="if_safer",
    )


def _holds(path: Path, layer: MapLayer, strips: Strips, tags: Mapping[str, str]) -> bool:
    """Read a file again and tell whether it says what it should, and holds the values to the last bit."""
    with rasterio.open(path) as written:
        described = tags.items() <= written.tags().items() and written.descriptions == layer.bands
        return described and all(
            np.array_equal(
                written.read(window=Window(0, top, values.shape[-1], values.shape[-2])),
                values,
                equal_nan=values.dtype.kind == "f",
            )
            for top, values in strips()
        )


def settings_of(path: Path) -> str | None:
    """Return the digest of the settings that made a map; None if it is missing, or another program's."""
    if not path.is_file():
        return None
    try:
        with rasterio.open(path) as source:
            found: str | None = source.tags().get(SETTINGS)
    except RasterioError:
        return None
    return found
