"""Small chip sets that pass the input audit, written in either layout."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import zarr
from rasterio.transform import from_origin
from zarr.storage import ZipStore

S2_MEDIANS = np.array([400, 480, 620, 610, 1100, 2170, 2480, 2640, 2720, 2770, 1890, 1150])
BANDS = {"S2L2A": 12, "S1RTC": 2, "DEM": 1}


def rasters(seed: int, size: int, timesteps: int = 1) -> dict[str, np.ndarray]:
    """Plausible values ``[T, C, H, W]``: brightness common to all bands, radar in dB, a sloping DEM."""
    rng = np.random.default_rng(seed)
    brightness = rng.normal(1, 0.4, (timesteps, 1, size, size)).clip(0.05)
    noise = rng.normal(1, 0.03, (timesteps, 12, size, size))
    vv = rng.normal(-11, 4, (timesteps, 1, size, size))
    return {
        "S2L2A": (S2_MEDIANS[:, None, None] * brightness * noise).astype(np.int16),
        "S1RTC": np.concatenate([vv, vv - 6], axis=1).astype(np.float16),
        "DEM": (np.add.outer(np.arange(size), np.arange(size)) + seed).astype(np.int16)[None, None],
    }


def write_tif(path: Path, raster: np.ndarray, east: float = 580_000.0, north: float = 4_510_000.0) -> None:
    """Writes ``[C, H, W]`` as a GeoTIFF of 10 m pixels in UTM zone 18 N (New York City)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    profile: dict[str, Any] = {"driver": "GTiff", "count": len(raster), "dtype": raster.dtype}
    transform = from_origin(east, north, 10, 10)
    height, width = raster.shape[1:]
    with rasterio.open(
        path, "w", **profile, height=height, width=width, crs="EPSG:32618", transform=transform
    ) as file:
        file.write(raster)


def write_zarr_zip(path: Path, raster: np.ndarray) -> None:
    """Writes ``[T, C, H, W]`` as the array ``bands`` of a zipped Zarr v2 group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipStore(path, mode="w", compression=zipfile.ZIP_STORED) as store:
        group = zarr.create_group(store, zarr_format=2)
        array = group.create_array("bands", shape=raster.shape, dtype=raster.dtype, chunks=raster.shape)
        array[...] = raster


def write_folder_chips(root: Path, ids: Sequence[str], size: int = 32) -> Path:
    """A chip set in the folder layout, one timestep."""
    for seed, chip_id in enumerate(ids):
        for name, raster in rasters(seed, size).items():
            stored = raster[0].astype(np.float32) if name == "S1RTC" else raster[0]
            write_tif(root / name / f"{chip_id}.tif", stored, east=580_000 + 10 * size * seed)
    return root


def write_impactmesh_chips(root: Path, ids: Sequence[str], size: int = 32, timesteps: int = 2) -> Path:
    """A chip set in the ImpactMesh layout; every second chip has identical timesteps."""
    for seed, chip_id in enumerate(ids):
        made = rasters(seed, size, timesteps)
        if seed % 2:
            made = {name: np.repeat(r[:1], len(r), axis=0) for name, r in made.items()}
        for name in ("S2L2A", "S1RTC"):
            write_zarr_zip(root / "data" / name / f"{chip_id}_{name}.zarr.zip", made[name])
        write_tif(root / "data" / "DEM" / f"{chip_id}_DEM.tif", made["DEM"][0])
    return root


def write_sen1floods11(root: Path, ids: Sequence[str], size: int = 64) -> Path:
    """Files as the public description of Sen1Floods11's hand-labelled chips has them: 13 bands, VV and VH, labels."""
    data = root / "data" / "flood_events" / "HandLabeled"
    for seed, chip_id in enumerate(ids):
        made = rasters(seed, size)
        cirrus = np.random.default_rng(seed).integers(5, 30, (1, 1, size, size), dtype=np.int16)
        level1 = np.concatenate([made["S2L2A"][:, :10], cirrus, made["S2L2A"][:, 10:]], axis=1)
        labels = np.indices((size, size)).sum(axis=0) % 3 - 1
        write_tif(data / "S2Hand" / f"{chip_id}_S2Hand.tif", level1[0].astype(np.uint16))
        write_tif(data / "S1Hand" / f"{chip_id}_S1Hand.tif", made["S1RTC"][0].astype(np.float32))
        write_tif(data / "LabelHand" / f"{chip_id}_LabelHand.tif", labels[None].astype(np.int16))
    splits = root / "splits" / "flood_handlabeled"
    splits.mkdir(parents=True)
    for split, chosen in {"train": ids[:-2], "valid": ids[-2:-1], "test": ids[-1:]}.items():
        lines = [f"{chip_id}_S1Hand.tif,{chip_id}_LabelHand.tif\n" for chip_id in chosen]
        (splits / f"flood_{split}_data.csv").write_text("".join(lines))
    return root
