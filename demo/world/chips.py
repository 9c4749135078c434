"""Chips of the procedural world on disk, in the ImpactMesh layout that the real data set has."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.core.buffer import Buffer
from zarr.core.common import JSON
from zarr.storage import MemoryStore

from demo.world.landcover import PIXEL_SIZE
from demo.world.scenes import CHIP_SIDE, CRS, Raster

S2_BAND_IDS: Final = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
S1_BAND_IDS: Final = ("vv", "vh")
ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""The time stamp of every zip member, so that equal chips are equal files."""


def _add_array(
    group: zarr.Group, name: str, values: NDArray[Any], chunks: tuple[int, ...], **attributes: JSON
) -> None:
    """Write one Zarr v2 array, compressed as zarr 2.18 does by default."""
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        compressors=Blosc(cname="lz4", clevel=5, shuffle=Blosc.SHUFFLE) if values.ndim else None,
        fill_value="" if values.dtype.kind == "U" else 0,
        attributes=attributes,
        # zarr would write no chunk that holds the fill value alone
        config={"write_empty_chunks": True},
    )
    array[...] = values


def _series_group(
    bands: NDArray[Any], band_ids: Sequence[str], chip: Raster, masks: Mapping[str, NDArray[np.int8]]
) -> dict[str, Buffer]:
    """Return the files of a chip's series as a consolidated Zarr v2 group, with the members real files have."""
    files: dict[str, Buffer] = {}
    store = MemoryStore(files)
    group = zarr.create_group(store, zarr_format=2)
    timesteps, count, height, width = bands.shape
    chunks = (-(-timesteps // 2), -(-count // 2), height // 2 if count > 2 else height, width)
    # Zarr v2 has no names of dimensions; xarray finds them in this attribute
    _add_array(group, "bands", bands, chunks, _ARRAY_DIMENSIONS=["time", "band", "y", "x"])
    _add_array(group, "band", np.array(band_ids, dtype="<U6"), (count,))
    for name, mask in masks.items():
        _add_array(group, name, mask, mask.shape)
    _add_array(group, "data_mask", np.ones(timesteps, dtype=np.int8), (timesteps,))
    _add_array(group, "time", np.arange(timesteps, dtype=np.int64), (timesteps,))
    # centers of pixels, while `west` and `north` are those of the corner
    _add_array(group, "x", chip.west + PIXEL_SIZE * (np.arange(width) + 0.5), (width,))
    _add_array(group, "y", chip.north - PIXEL_SIZE * (np.arange(height) + 0.5), (height,))
    _add_array(group, "spatial_ref", np.array(0, dtype=np.int64), (), crs_wkt=CRS)
    zarr.consolidate_metadata(store, zarr_format=2)
    return files


def _write_zip(files: Mapping[str, Buffer], path: Path) -> None:
    """Pack files into an uncompressed zip, the same bytes for the same content."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, ZIP_TIME), files[name].to_bytes())


def _write_tif(path: Path, values: NDArray[Any], chip: Raster) -> None:
    """Write a one-band GeoTIFF [H, W] with the chip's georeferencing."""
    profile = {"driver": "GTiff", "dtype": values.dtype.name, "count": 1, "compress": "deflate", "crs": CRS}
    height, width = values.shape
    # rows run southwards, so a pixel's height is negative
    transform = rasterio.Affine(PIXEL_SIZE, 0.0, chip.west, 0.0, -PIXEL_SIZE, chip.north)
    with rasterio.open(path, "w", height=height, width=width, transform=transform, **profile) as file:
        file.write(values, 1)


def write_chip(folder: Path, chip: Raster) -> None:
    """Write one chip's S2L2A, S1RTC, DEM, MASK and true LULC below ``folder/data``; the folders exist."""
    data, cloud = folder / "data", chip.cloud.astype(np.int8)
    clear = np.zeros_like(cloud)
    masks = {"SCL": clear, "cloud_mask": cloud, "nan_mask": clear}
    optical = _series_group(chip.s2l2a, S2_BAND_IDS, chip, masks)
    _write_zip(optical, data / "S2L2A" / f"{chip.name}_S2L2A.zarr.zip")
    radar = _series_group(chip.s1rtc, S1_BAND_IDS, chip, {"nan_mask": clear})
    _write_zip(radar, data / "S1RTC" / f"{chip.name}_S1RTC.zarr.zip")
    _write_tif(data / "DEM" / f"{chip.name}_DEM.tif", chip.dem, chip)
    _write_tif(data / "MASK" / f"{chip.name}_annotation_flood.tif", chip.mask, chip)
    _write_tif(data / "LULC" / f"{chip.name}_LULC.tif", chip.lulc, chip)


def write_chips(
    folder: Path, splits: Mapping[str, Sequence[Raster]], side: int = CHIP_SIDE
) -> dict[str, list[str]]:
    """Cut scenes into chips and write them in the ImpactMesh layout.

    Besides what the real data set holds, ``data/LULC/<id>_LULC.tif`` has the true ten-class map, for scoring
    generated maps; no reader of the layout looks there.

    Args:
        folder: Root of the chip set; created where missing.
        splits: Scenes of each split, by its name (``train``, ``val``, ``test``). Splitting by scene keeps
            neighbouring chips on one side.
        side: Side of a chip in pixels.

    Returns:
        The chip ids of each split, as written to ``split/impactmesh_flood_<split>.txt``.
    """
    for modality in ("S2L2A", "S1RTC", "DEM", "MASK", "LULC"):
        (folder / "data" / modality).mkdir(parents=True, exist_ok=True)
    (folder / "split").mkdir(exist_ok=True)
    written: dict[str, list[str]] = {}
    for split, scenes in splits.items():
        chips = [chip for scene in scenes for chip in scene.chips(side)]
        for chip in chips:
            write_chip(folder, chip)
        written[split] = [chip.name for chip in chips]
        listing = "".join(f"{name}\n" for name in written[split])
        (folder / "split" / f"impactmesh_flood_{split}.txt").write_text(listing)
    return written
