"""GeoTIFFs: opened as nothing else, so that a file leads to no other, and read with what they declare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from augment_store.chips.declarations import BandDeclaration, FileContent
from augment_store.chips.limits import FileFormatError, check_bands, check_size

_MAGIC: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
"""First bytes of a TIFF and of a BigTIFF, in both byte orders."""


@contextmanager
def open_geotiff(path: Path) -> Iterator[DatasetReader]:
    """Open a local GeoTIFF by GDAL's driver for it alone, without listing the folder.

    Raises:
        FileFormatError: If it is something else: a VRT, for one, could name any file or address.
        OSError: If GDAL cannot open it.
    """
    for file in (path, path.with_name(f"{path.name}.msk")):  # GDAL would open a mask beside it by any driver
        if file.is_file():
            _check_magic(file)
    # With TRUE, GDAL looks for .aux.xml and .msk by their names and lists no folder.
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
        try:
            # absolute: GDAL reads a name that begins with GTIFF_DIR: as an instruction
            with rasterio.open(path.absolute(), driver="GTiff") as source:
                yield source
        except RasterioError as error:
            raise OSError(str(error)) from error


def _check_magic(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(_MAGIC):
        return
    if b"<VRTDataset" in head:
        raise FileFormatError(
            "a VRT, which leads to other files",
            f"write a GeoTIFF: gdal_translate -of GTiff {path.name} out.tif",
        )
    if not head:
        raise FileFormatError("an empty file", "restore the file")
    text = head.lstrip()[:40]
    if text.startswith(b"<"):
        raise FileFormatError(
            f"a web page or XML, {text.decode('ascii', 'replace')!r}", "download the file again"
        )
    raise FileFormatError("not a TIFF", "restore the file")


def read_geotiff(path: Path) -> FileContent:
    """Read a local GeoTIFF whole; several pages of one size are taken as its bands.

    Raises:
        FileFormatError: If it is no TIFF, or its pages differ.
        OSError: If it cannot be read.
        ValueError: If it declares more than is read.
    """
    with open_geotiff(path) as source:
        pages = source.subdatasets
        # GDAL lists pages only where there are several
        if not pages:
            return read_dataset(source)
        first, shape = read_dataset(source), (source.height, source.width, source.dtypes)
        # within `open_geotiff`, whose settings and errors hold for every page
        return _with_pages(first, shape, path, len(pages))


def _with_pages(first: FileContent, shape: tuple[Any, ...], path: Path, count: int) -> FileContent:
    """Return the pages of a TIFF joined along the bands."""
    # before the other pages are read
    check_bands(len(first.bands) * count)
    check_size(first.values.nbytes * count)
    pages = [first]
    # GDAL counts pages from 1, and the first is read already
    for number in range(2, count + 1):
        with rasterio.open(f"GTIFF_DIR:{number}:{path.absolute()}", driver="GTiff") as source:
            if (source.height, source.width, source.dtypes) != shape:
                raise FileFormatError(
                    f"{count} pages of different sizes or types",
                    "write one page with all bands, or a file for each",
                )
            pages.append(read_dataset(source))
    # [1, C, H, W] each → [1, all C, H, W]
    values = np.concatenate([page.values for page in pages], axis=1)
    bands = tuple(band for page in pages for band in page.bands)
    masks = [page.unobserved for page in pages if page.unobserved is not None]
    # what one page hides is hidden in all bands
    mask = np.logical_or.reduce(masks) if masks else None
    return FileContent(values, bands, mask, (f"{count} pages read as bands",))


def read_dataset(source: DatasetReader, window: Window | None = None) -> FileContent:
    """Read an open raster, or a window of it, with what it declares.

    Args:
        source: A raster that rasterio opened.
        window: The part to read; None for all of it.

    Raises:
        FileFormatError: If it has no bands, or complex values.
        ValueError: If it declares more than is read.
        RasterioError: If it cannot be read.
    """
    if not source.count:
        names = ", ".join(source.subdatasets[:5]) or "none"
        raise FileFormatError(
            f"no bands of its own; it holds {names}", "name one of these in place of the file"
        )
    # NumPy does not know rasterio's complex_int16
    kinds = {
        np.dtype("complex64") if kind.startswith("complex") else np.dtype(kind) for kind in source.dtypes
    }
    if any(kind.kind == "c" for kind in kinds):
        raise FileFormatError(
            f"data type {source.dtypes[0]}, complex values",
            "compute their power or amplitude first, as radar needs",
        )
    common = np.result_type(*kinds)
    height, width = (source.height, source.width) if window is None else (window.height, window.width)
    check_bands(source.count)
    check_size(source.count * height * width * common.itemsize)
    notes = []
    if len(kinds) > 1:
        # rasterio reads bands of several types one by one only
        read = [source.read(band, window=window).astype(common) for band in source.indexes]
        values: NDArray[Any] = np.stack(read)
        notes.append(f"bands of types {', '.join(sorted(map(str, kinds)))} read as {common}")
    else:
        values = source.read(window=window)
    if source.compression is not None and source.compression.name == "jpeg":
        notes.append("compressed as JPEG, which blurs values and mixes labels")
    # [C, H, W] → [1, C, H, W]
    return FileContent(values[None], _declared(source), _dataset_mask(source, window), tuple(notes))


def _declared(source: DatasetReader) -> tuple[BandDeclaration, ...]:
    columns = zip(
        source.descriptions,
        source.nodatavals,
        source.scales,
        source.offsets,
        source.units,
        source.colorinterp,
        strict=True,
    )
    return tuple(
        BandDeclaration(name or "", nodata, scale, offset, unit or "", color == ColorInterp.alpha)
        for name, nodata, scale, offset, unit, color in columns
    )


def _dataset_mask(source: DatasetReader, window: Window | None) -> NDArray[np.bool_] | None:
    """Return where the file's own mask, internal or in a ``.msk`` beside it, says that nothing was observed."""
    flags = source.mask_flag_enums[0]
    # masks that stem from no data or alpha are dealt with as the bands' declarations
    if MaskFlags.per_dataset not in flags or MaskFlags.alpha in flags:
        return None
    # GDAL's masks are 0 where a pixel is hidden; [H, W] → [1, 1, H, W]
    masked: NDArray[np.bool_] = source.read_masks(1, window=window) == 0
    return masked[None, None]
