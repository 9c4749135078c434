"""Scenes of rasters: read window by window, in part, through VRTs and from a server by ranges."""

import os
import tarfile
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio.shutil
from shapely.geometry import box as rectangle

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layouts import shipped_layout
from augment_store.chips.raster_grid import read_window
from augment_store.errors import ChipDataError, ChipSetError
from predict.options import PredictOptions
from predict.region import Box
from predict.scene import ChipScene, SceneWindows, open_scene
from predict.scene_map import _sources
from tests.predict.conftest import write_scene
from tests.servers import Ranges, web_site
from tests.worlds import EAST, NORTH, rasters, write_tif, write_zarr_zip

pytestmark = pytest.mark.slow

INPUTS = ("S2L2A", "S1RTC", "DEM")
MADE = rasters(3, (48, 64), 2)
BOX = Box(5, 9, 32, 32)
HERE = (..., slice(5, 37), slice(9, 41))


@pytest.fixture
def files(tmp_path):
    return write_scene(tmp_path / "one", MADE)


def test_a_window_holds_the_pixels_of_the_scene(files):
    with open_scene(files, INPUTS, 2) as scene:
        chip = scene.read(BOX, INPUTS)
        assert (scene.name, scene.shape) == ("scene", (48, 64))
    for name, values in MADE.items():
        np.testing.assert_array_equal(chip.rasters[name], values[HERE])


def test_a_file_for_each_date_is_the_same_scene(files, tmp_path):
    for date in (0, 1):
        write_tif(tmp_path / f"{date}.tif", MADE["S2L2A"][date])
    several = files | {"S2L2A": [str(tmp_path / "0.tif"), str(tmp_path / "1.tif")]}
    with open_scene(several, INPUTS, 2) as scene:
        np.testing.assert_array_equal(scene.read(BOX, INPUTS).rasters["S2L2A"], MADE["S2L2A"][HERE])


def test_a_scene_is_read_through_a_vrt_and_from_a_server(files, tmp_path):
    rasterio.shutil.copy(files["S2L2A"][0], tmp_path / "s2.vrt", driver="VRT")
    with (
        web_site(tmp_path / "one", Ranges) as address,
        open_scene(
            {**files, "S2L2A": [str(tmp_path / "s2.vrt")], "DEM": [f"{address}/scene_DEM.tif"]}, INPUTS, 2
        ) as scene,
    ):
        chip = scene.read(BOX, INPUTS)
    for name in ("S2L2A", "DEM"):
        np.testing.assert_array_equal(chip.rasters[name], MADE[name][HERE])


def test_bounds_are_a_scene_of_their_own(files):
    # rows 5 to 36 and columns 9 to 40, the last of them cut by the bounds
    bounds = (EAST + 90, NORTH - 370, EAST + 405, NORTH - 50)
    with open_scene(files, INPUTS, 2, bounds=bounds) as scene:
        assert scene.shape == (32, 32)
        assert scene.georeference.transform[2::3] == (EAST + 90, NORTH - 50)
        chip = scene.read(Box(0, 0, 32, 32), INPUTS)
    np.testing.assert_array_equal(chip.rasters["DEM"], MADE["DEM"][HERE])


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((0, 0, 100, 100), "--bounds 0 0 100 100: outside of .*, whose bounds are 580000 4.50952e"),
        ((100, 0, 0, 100), "--bounds 100 0 0 100: expected west, south, east and north"),
    ],
)
def test_bounds_that_are_none_of_the_scene_are_refused(bounds, message, files):
    with pytest.raises(ChipSetError, match=message), open_scene(files, INPUTS, 2, bounds=bounds):
        pass


@pytest.mark.parametrize("kind", ["raster", "polygons"])
def test_a_mask_leaves_out_what_is_outside_of_it(kind, files, tmp_path):
    # mapped are rows 10 to 29 and columns 20 to 39
    expected = np.ones((48, 64), bool)
    expected[10:30, 20:40] = False
    if kind == "raster":
        path = tmp_path / "mask.tif"
        write_tif(path, (~expected).astype(np.uint8))
    else:
        path = tmp_path / "mask.geojson"
        shape = rectangle(EAST + 200, NORTH - 300, EAST + 400, NORTH - 100)
        geopandas.GeoDataFrame(geometry=[shape], crs="EPSG:32618").to_file(path, driver="GeoJSON")
    with open_scene(files, INPUTS, 2, mask=path) as scene:
        np.testing.assert_array_equal(scene.outside(Box(0, 0, 48, 64)), expected)
        np.testing.assert_array_equal(scene.outside(BOX), expected[HERE])


def test_a_mask_that_is_none_is_refused(files, tmp_path):
    (tmp_path / "mask.geojson").write_text("nothing")
    mask = tmp_path / "mask.geojson"
    with (
        pytest.raises(ChipDataError, match="cannot be read as polygons"),
        open_scene(files, INPUTS, 2, mask=mask),
    ):
        pass


def test_windows_cover_the_scene_and_one_window_keeps_its_name(files):
    with open_scene(files, INPUTS, 2) as scene:
        windows = SceneWindows(scene, (32, 32), INPUTS, shipped_layout("folders"))
        # rows 0 and 16; columns 0, 16 and 32
        assert tuple(windows.window_id(1, column) for column in range(3)) == (
            "scene_r001c000",
            "scene_r001c001",
            "scene_r001c002",
        )
        np.testing.assert_array_equal(
            windows.read("scene_r001c002", ("DEM",)).rasters["DEM"], MADE["DEM"][..., 16:, 32:]
        )
        whole = SceneWindows(scene, (48, 64), INPUTS, shipped_layout("folders"))
        assert whole.ids == ("scene",)


def test_windows_that_are_read_together_are_what_each_is_alone(files, monkeypatch):
    """Declared no data in one widens the type of that one's values, and of no other's."""
    dem = np.full((48, 64), 100, np.uint16)
    dem[2, 63] = 7
    write_tif(Path(files["DEM"][0]), dem)
    with rasterio.open(files["DEM"][0], "r+") as file:
        file.nodata = 7
    # rows 1 to 47 and columns 2 to 63, so that the windows of the first row begin in columns 0, 15 and 30
    bounds = (EAST + 20, NORTH - 480, EAST + 640, NORTH - 10)
    with open_scene(files, INPUTS, 2, bounds=bounds) as scene:
        windows = SceneWindows(scene, (32, 32), INPUTS, shipped_layout("folders"))
        ids = windows.ids[:3]
        alone = [windows.read(chip_id, INPUTS) for chip_id in ids]
        windows.hold(ids)
        monkeypatch.setattr("predict.scene.read_window", None)
        together = [windows.read(chip_id, INPUTS) for chip_id in ids]
    for one, other in zip(alone, together, strict=True):
        # of values, types and shapes
        np.testing.assert_array_equal(one.digests(), other.digests())
        assert (one.chip_id, one.notes) == (other.chip_id, other.notes)
    assert [chip.rasters["DEM"].dtype for chip in together] == ["uint16", "uint16", "int32"]


def test_windows_that_cannot_be_read_together_are_read_one_by_one(files, monkeypatch):
    def narrow(source, window):
        if window.width > 32:
            raise ChipDataError("a broken block")
        return read_window(source, window)

    monkeypatch.setattr("predict.scene.read_window", narrow)
    with open_scene(files, INPUTS, 2) as scene:
        windows = SceneWindows(scene, (32, 32), INPUTS, shipped_layout("folders"))
        windows.hold(windows.ids[:3])
        dem = windows.read(windows.ids[1], INPUTS).rasters["DEM"]
    np.testing.assert_array_equal(dem, MADE["DEM"][..., :32, 16:48])


def test_every_file_of_a_chip_decides_its_map(tmp_path):
    """Of a layout with a file for each band, and of one whose files lie in archives."""
    folder = tmp_path / "BigEarthNet-S2" / "tile" / "one"
    words = shipped_layout("bigearthnet").images["S2L2A"].bands
    for word in words:
        write_tif(folder / f"one_{word}.tif", np.ones((16, 16), np.uint16))
    write_zarr_zip(tmp_path / "two.zarr.zip", np.ones((1, 12, 16, 16), np.uint16))
    shard = tmp_path / "S2L2A" / "shard.tar"
    shard.parent.mkdir()
    with tarfile.open(shard, "w") as tar:
        tar.add(tmp_path / "two.zarr.zip", "two.zarr.zip")
    for layout, changed in (("bigearthnet", folder / "one_B09.tif"), ("terramesh", shard)):
        chips = ChipSet.open(tmp_path, layout)
        scene = ChipScene(chips, chips.ids[0], ["S2L2A"])
        options = PredictOptions("run", "out", chips=tmp_path)
        before = _sources(options, scene)
        assert _sources(options, scene) == before
        os.utime(changed, ns=(0, 1))
        assert _sources(options, scene) != before
