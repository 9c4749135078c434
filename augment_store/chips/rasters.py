"""Reading one raster file, whole, whatever wrote it, and picking the bands that TerraMind takes."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.layouts import Layout
from augment_store.errors import ChipDataError, ChipNotFoundError, RemotePathError
from augment_store.io.remote import local_file
from augment_store.modalities.definitions import PATCH_SIZE, S2L1C, Modality

MAX_RASTER_BYTES: Final = 2**30
"""Bytes that one modality of a chip may take; a NYC chip takes 6 MB."""


def read_raster(path: Path) -> NDArray[Any]:
    """Reads a GeoTIFF, a NumPy file, or the array ``bands`` of a zipped Zarr group, as ``[T, C, H, W]``.

    Raises:
        ChipNotFoundError: If there is no such file.
        ChipDataError: If it cannot be read, or is not two- to four-dimensional.
    """
    if not path.is_file():
        raise ChipNotFoundError(f"{path}: no such file")
    try:
        with local_file(path, MAX_RASTER_BYTES) as local:
            raster = READERS.get(path.suffix.lower(), _read_tif)(local)
    except RemotePathError:
        raise
    except Exception as error:  # damaged files make zarr and GDAL raise anything; all mean the same
        reason = str(error) or type(error).__name__
        raise ChipDataError(f"{path}: cannot be read ({reason}); restore the file") from error
    if not 2 <= raster.ndim <= 4:
        raise ChipDataError(f"{path}: {raster.ndim} dimensions {raster.shape}; expected time, band, y, x")
    return raster.reshape((1,) * (4 - raster.ndim) + raster.shape)


def pick_bands(
    raster: NDArray[Any], path: Path, modality: Modality, layout: Layout
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """TerraMind's bands of a raster in TerraMind's order, ``[T, C, H, W]``, and each timestep's position in the file.

    Args:
        raster: As `read_raster` gives it.
        path: Its file, for messages; the timesteps of a GeoTIFF lie one after another among its bands.
        modality: What it holds.
        layout: Which bands the file has, and how many timesteps.

    Raises:
        ChipDataError: If bands, timesteps, type or size are not as expected.
    """
    if not raster.shape[0]:
        raise ChipDataError(f"{path}: no timestep; expected one or more")
    if raster.dtype.kind not in "iuf":
        raise ChipDataError(
            f"{path}: data type {raster.dtype}; expected integers or floats in {modality.unit}"
        )
    image = layout.images[modality.name]
    present = image.bands or modality.bands
    times = layout.timesteps if path.suffix.lower() != ".zip" and modality.temporal else None
    if times and raster.shape[:2] == (1, times * len(present)):
        raster = raster.reshape(times, len(present), *raster.shape[2:])
    found, bands, height, width = raster.shape
    if bands != len(present):
        raise ChipDataError(f"{path}: {bands} bands; expected {_expected(bands, present, modality, layout)}")
    if layout.timesteps and modality.temporal and found != layout.timesteps:
        raise ChipDataError(f"{path}: {found} timesteps; the layout {layout.name!r} says {layout.timesteps}")
    positions = np.arange(found, dtype=np.int32)
    if layout.evenly_spaced and modality.temporal:
        positions = _evenly_spaced(found, layout.evenly_spaced, path)
        raster = raster[positions]
    if min(height, width) < PATCH_SIZE:
        raise ChipDataError(
            f"{path}: {height} × {width} pixels; expected {PATCH_SIZE} or more each way; cut larger chips of the "
            "original raster (python -m augment_store cut)"
        )
    if present == modality.bands and not image.absent:
        return raster, positions
    if image.absent:
        raster, present = _with_no_data(raster, modality.nodata[0]), (*present, *image.absent)
    last = raster.shape[1] - 1
    picked = raster[:, [min(present.index(band), last) for band in modality.bands]]
    return np.ascontiguousarray(picked), positions


def _evenly_spaced(found: int, count: int, path: Path) -> NDArray[np.int32]:
    """Positions of `count` timesteps of a series of `found`, from the first to the last in even steps."""
    if found < count:
        raise ChipDataError(
            f"{path}: {found} timesteps; the layout takes {count}, evenly spaced (its key evenly_spaced)"
        )
    return np.linspace(0, found - 1, count).round().astype(np.int32)


def _with_no_data(raster: NDArray[Any], nodata: float) -> NDArray[Any]:
    """A raster ``[T, C, H, W]`` with one more band of no data at the end, in a type that holds it."""
    if raster.dtype.kind == "u":
        raster = raster.astype(np.promote_types(raster.dtype, np.int16))
    return np.concatenate([raster, np.full_like(raster[:, :1], nodata)], axis=1)


def _expected(bands: int, present: Sequence[str], modality: Modality, layout: Layout) -> str:
    """What a file should hold, and what to do if it holds something else."""
    if modality.name == "S2L2A" and bands == len(S2L1C.bands):
        remedy = (
            "13 bands are those of Level-1C, at the top of the atmosphere: give them as S2L1C (--inputs S2L1C); if it "
            "is Level-2A with an empty B10, drop B10 (CIRRUS), or name it in a layout"
        )
    else:
        remedy = "If the file has other bands or another order, describe it in a layout file (--layout FILE)"
    times = f" × {layout.timesteps} timesteps" if layout.timesteps and layout.timesteps > 1 else ""
    return f"{len(present)}{times} ({' '.join(present)}). {remedy}"


def _read_zarr_zip(path: Path) -> NDArray[Any]:
    import zarr
    from zarr.storage import ZipStore

    if not zipfile.is_zipfile(path):
        raise ValueError("not a whole zip file")
    with ZipStore(path, mode="r") as store:
        array = zarr.open_group(store, mode="r")["bands"]
        if not isinstance(array, zarr.Array):
            raise ValueError("'bands' is a group, expected an array")
        for shape in (array.shape, array.chunks, array.shards or ()):  # a chunk may be larger than its array
            _check_size(math.prod(shape) * array.dtype.itemsize)
        missing = array.nchunks - array.nchunks_initialized
        if missing:  # zarr would read them as fill values
            raise ValueError(
                f"{missing} of {array.nchunks} chunks are missing; write it with write_empty_chunks=True"
            )
        return np.asarray(array[...])


def _read_npy(path: Path) -> NDArray[Any]:
    # A map of the file instead of a read: a header that declares more than there is takes no memory.
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind not in "iufb":
        raise ValueError(f"data type {array.dtype}, expected numbers")
    _check_size(array.nbytes)
    return np.array(array)


def _check_size(declared: int) -> None:
    """Refuses a size before memory is allocated for it: a few bytes can declare any number of pixels."""
    if declared > MAX_RASTER_BYTES:
        raise ValueError(
            f"declares {declared / 2**30:.1f} GiB, at most {MAX_RASTER_BYTES / 2**30:.0f} are read"
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


READERS: Final[Mapping[str, Callable[[Path], NDArray[Any]]]] = {".zip": _read_zarr_zip, ".npy": _read_npy}
"""Reader by file type, for all that GDAL does not read."""
