"""Rows of what a chip's input costs a training: `python -m tests.benchmarks load-zarr load-folder survey`.

- ``load-zarr``: a chip as the New York set has them (T = 4, 256 px; S2L2A and S1RTC in zipped Zarr of eight and four
  chunks with the names of the bands, the DEM in a GeoTIFF) becomes float32 tensors, against zarr and rasterio reading
  the same files into float32.
- ``load-folder``: a chip of one timestep in GeoTIFFs, against rasterio reading them into float32.
- ``survey``: what a fit does before its first step, with 2,000 chips of 32 px, that an earlier fit has surveyed,
  against that of the first.

Processor time of all threads; files are read from a warm page cache.
"""

from __future__ import annotations

import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import ZipStore

from augment_store.chips.chip_set import ChipSet
from augment_store.modalities.definitions import INPUT_MODALITIES
from finetune.data.datamodule import TimStoreDataModule
from finetune.data.dataset import ChipDataset, ReadConfig, SplitMembers, find_bands
from finetune.data.survey_cache import SETTLED
from finetune.data.transforms import SampleTransform
from tests.benchmarks.store_scale import read_tif
from tests.benchmarks.table import Row, paired, seconds
from tests.worlds import make_world, rasters, write_folder_chips, write_tif

SIZE, TIMESTEPS, CHIPS = 256, 4, 8
MODALITIES = ("S2L2A", "S1RTC", "DEM")
SURVEYED = 2_000

Images = Mapping[str, NDArray[np.float32]]


def write_new_york_chips(root: Path, ids: Sequence[str]) -> ChipSet:
    """Chips with the chunks, the codec and the coordinate of the New York set's files."""
    for seed, chip_id in enumerate(ids):
        made = rasters(seed, SIZE, TIMESTEPS)
        for name in ("S2L2A", "S1RTC"):
            write_named_bands(root / "data" / name / f"{chip_id}_{name}.zarr.zip", name, made[name])
        write_tif(root / "data" / "DEM" / f"{chip_id}_DEM.tif", made["DEM"])
    return ChipSet.open(root)


def write_folder(root: Path, ids: Sequence[str]) -> ChipSet:
    """Chips of one timestep in GeoTIFFs."""
    return ChipSet.open(write_folder_chips(root, ids, SIZE))


def write_named_bands(path: Path, modality: str, values: NDArray[Any]) -> None:
    """Write ``[T, C, H, W]`` as xarray does by zarr 2, with the names of the bands beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names, lz4 = INPUT_MODALITIES[modality].bands, numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE)
    with ZipStore(path, mode="w", compression=zipfile.ZIP_STORED) as store:
        group = zarr.create_group(store, zarr_format=2)
        array = group.create_array(
            "bands",
            shape=values.shape,
            dtype=values.dtype,
            chunks=(2, min(6, len(names)), SIZE // 2, SIZE),
            compressors=lz4,
            attributes={"_ARRAY_DIMENSIONS": ["time", "band", "y", "x"]},
        )
        array[...] = values
        group.create_array("band", data=np.array(names), compressors=lz4)


def read_by_zarr(chips: ChipSet, chip_id: str) -> Images:
    """The same files by zarr and rasterio alone; the format of the metadata is given, which spares zarr a search."""
    found = {"DEM": read_tif(chips.path(chip_id, "DEM")).astype(np.float32)}
    for name in ("S2L2A", "S1RTC"):
        with ZipStore(chips.path(chip_id, name), mode="r") as store:
            array = zarr.open_array(store, path="bands", mode="r", zarr_format=2)
            found[name] = np.asarray(array[...]).astype(np.float32)
    return found


def read_by_rasterio(chips: ChipSet, chip_id: str) -> Images:
    """The same files by rasterio alone."""
    return {name: read_tif(chips.path(chip_id, name)).astype(np.float32) for name in MODALITIES}


def load(
    write: Callable[[Path, Sequence[str]], ChipSet],
    timesteps: int,
    read_bare: Callable[[ChipSet, str], Images],
) -> list[float]:
    """Seconds that the images of some chips take a training, over those of reading them alone."""
    ids = [f"s_r{number:03d}c000" for number in range(CHIPS)]
    with tempfile.TemporaryDirectory() as folder:
        chips = write(Path(folder), ids)
        reading = ReadConfig(find_bands(MODALITIES, None), tuple(range(timesteps)), mask=False)
        dataset = ChipDataset(
            chips, SplitMembers(tuple(ids)), reading, SampleTransform(None, MODALITIES, (), timesteps)
        )
        ours, bare = dataset.read_images(ids[0]), read_bare(chips, ids[0])
        # [C, T, H, W] or [C, H, W]; nothing is missing in what was made up
        assert np.array_equal(ours["S2L2A"], bare["S2L2A"].swapaxes(0, 1) if timesteps > 1 else bare["S2L2A"])
        return paired(
            lambda: [dataset.read_images(chip_id) for chip_id in ids],
            lambda: [read_bare(chips, chip_id) for chip_id in ids],
            repeats=15,
        )


def survey() -> list[float]:
    """Seconds of a later fit's set-up over those of the first, each pair with a folder of surveys of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        roots = {chips: write_splits(folder / str(chips), chips) for chips in (10, SURVEYED)}
        time.sleep(SETTLED / 1e9)  # what has just been written is read again

        def set_up(chips: int, surveys: str) -> float:
            # a new one each time, as each process has
            module = TimStoreDataModule(str(roots[chips]))
            module.survey_folder = folder / surveys
            return seconds(lambda: module.setup("fit"))

        set_up(10, "warm")
        pairs = [(set_up(SURVEYED, turn), set_up(SURVEYED, turn)) for turn in ("one", "other")]
    sys.stdout.write(f"survey: {pairs[0][0]:.1f} s first, {pairs[0][1]:.2f} s then\n")
    return [later / first for first, later in pairs]


def write_splits(root: Path, chips: int) -> Path:
    """Chips of 32 px, a fifth of which are for validation."""
    ids = [f"s{number:04d}_0_0" for number in range(chips)]
    cut = chips * 4 // 5
    return make_world(root, 32, 1, {"train": ids[:cut], "val": ids[cut:]}).root


TABLE = (
    Row(
        "load-zarr",
        "images of a chip, zipped Zarr, T = 4, 256 px",
        "zarr's read into float32",
        lambda: load(write_new_york_chips, TIMESTEPS, read_by_zarr),
        at_most=1.5,
    ),
    Row(
        "load-folder",
        "images of a chip, folder of GeoTIFFs, 256 px",
        "rasterio's read into float32",
        lambda: load(write_folder, 1, read_by_rasterio),
        at_most=1.5,
    ),
    Row("survey", "set-up of a second fit, 2,000 chips", "of the first", survey, at_most=0.1),
)
