"""Reading one raster file, whole, whatever wrote it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.errors import ChipDataError, ChipNotFoundError

LARGEST_RASTER: Final = 2**30
"""Bytes that one modality of a chip may take; a NYC chip takes 6 MB."""


def read_raster(path: Path) -> NDArray[Any]:
    """Reads a GeoTIFF, or the array ``bands`` of a zipped Zarr group, as ``[T, C, H, W]``.

    Raises:
        ChipNotFoundError: If there is no such file.
        ChipDataError: If it cannot be read, or is not two- to four-dimensional.
    """
    if not path.is_file():
        raise ChipNotFoundError(f"{path}: no such file")
    try:
        raster = _read_zarr_zip(path) if path.suffix == ".zip" else _read_tif(path)
    except Exception as error:  # damaged files make zarr and GDAL raise anything; all mean the same
        reason = str(error) or type(error).__name__
        raise ChipDataError(f"{path}: cannot be read ({reason}); restore the file") from error
    if not 2 <= raster.ndim <= 4:
        raise ChipDataError(f"{path}: {raster.ndim} dimensions {raster.shape}; expected time, band, y, x")
    return raster.reshape((1,) * (4 - raster.ndim) + raster.shape)


def _read_zarr_zip(path: Path) -> NDArray[Any]:
    import zarr
    from zarr.storage import ZipStore

    if not zipfile.is_zipfile(path):
        raise ValueError("not a whole zip file")
    with ZipStore(path, mode="r") as store:
        array = zarr.open_group(store, mode="r")["bands"]
        if not isinstance(array, zarr.Array):
            raise ValueError("'bands' is a group, expected an array")
        _check_size(array.nbytes)
        missing = array.nchunks - array.nchunks_initialized
        if missing:  # zarr would read them as fill values
            raise ValueError(
                f"{missing} of {array.nchunks} chunks are missing; write it with write_empty_chunks=True"
            )
        return np.asarray(array[...])


def _check_size(declared: int) -> None:
    """Before memory is asked for it: a few bytes can declare any number of pixels."""
    if declared > LARGEST_RASTER:
        raise ValueError(
            f"declares {declared / 2**30:.1f} GiB, at most {LARGEST_RASTER / 2**30:.0f} are read"
        )


def _read_tif(path: Path) -> NDArray[Any]:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as source:
            _check_size(source.count * source.height * source.width * np.dtype(source.dtypes[0]).itemsize)
            return np.asarray(source.read())
    except RasterioError as error:
        raise OSError(str(error)) from error
