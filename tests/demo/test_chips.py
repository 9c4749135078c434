import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import zarr

from demo.world.chips import write_chips
from demo.world.scenes import Raster, draw_scene


@pytest.fixture(scope="module")
def scene() -> Raster:
    return draw_scene(7, rows=1, columns=2, side=64)


@pytest.fixture(scope="module")
def folder(scene: Raster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips")
    write_chips(folder, {"train": [scene], "test": [draw_scene(8, rows=1, columns=1, side=64)]}, side=64)
    return folder


def test_chips_come_back_as_drawn(folder: Path, scene: Raster) -> None:
    for chip in scene.chips(64):
        for modality, values in (("S2L2A", chip.s2l2a), ("S1RTC", chip.s1rtc)):
            path = folder / "data" / modality / f"{chip.name}_{modality}.zarr.zip"
            with zarr.storage.ZipStore(path, mode="r") as store:
                bands = zarr.open_group(store, mode="r")["bands"]
                assert bands.dtype == values.dtype
                np.testing.assert_array_equal(bands[...], values)
        rasters = {
            "DEM": (chip.dem, "DEM"),
            "MASK": (chip.mask, "annotation_flood"),
            "LULC": (chip.lulc, "LULC"),
        }
        for name, (values, suffix) in rasters.items():
            with rasterio.open(folder / "data" / name / f"{chip.name}_{suffix}.tif") as file:
                np.testing.assert_array_equal(file.read(1), values)
                assert file.dtypes == (values.dtype.name,)
                assert file.crs.to_epsg() == 32618
                assert tuple(file.transform)[:6] == (10.0, 0.0, chip.west, 0.0, -10.0, chip.north)


def test_split_files_keep_scenes_together(folder: Path) -> None:
    listed = {path.name: path.read_text() for path in (folder / "split").iterdir()}
    assert listed == {
        "impactmesh_flood_train.txt": "demo000007_r0c0\ndemo000007_r0c1\n",
        "impactmesh_flood_test.txt": "demo000008_r0c0\n",
    }


def test_equal_chips_are_equal_files(folder: Path, scene: Raster, tmp_path: Path) -> None:
    write_chips(tmp_path, {"train": [scene]}, side=64)
    for path in sorted((tmp_path / "data").rglob("*.*")):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes(), path.name


@pytest.mark.shared_data
@pytest.mark.parametrize("modality", ["S2L2A", "S1RTC"])
def test_zarr_metadata_is_that_of_the_real_files(folder: Path, shared_data: Path, modality: str) -> None:
    real = shared_data / "impactmesh_layout" / "data" / modality / f"433D_629L_3_1_{modality}.zarr.zip"
    ours = folder / "data" / modality / f"demo000007_r0c0_{modality}.zarr.zip"
    theirs, mine = (json.loads(zipfile.ZipFile(path).read(".zmetadata"))["metadata"] for path in (real, ours))
    for key, entry in theirs.items():
        sizes = {"shape", "chunks", "crs_wkt"}  # these differ from chip to chip
        assert {name: mine[key][name] for name in entry.keys() - sizes} == {
            name: entry[name] for name in entry.keys() - sizes
        }, key
    with zipfile.ZipFile(real) as a, zipfile.ZipFile(ours) as b:
        assert {name for name in a.namelist() if name.endswith(".zarray")} <= set(b.namelist())
        assert all(item.compress_type == zipfile.ZIP_STORED for item in b.infolist())
