"""The picture of a scene's map: the scene as files, and the map's files in their own colors."""

import numpy as np
import rasterio

from demo.world.scenes import draw_scene
from tests.worlds import write_tif
from tools.scene_picture import draw, panels, write_scene


def write_classes(path, codes):
    write_tif(path, codes)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (1, 2, 3, 255), 1: (4, 5, 6, 255)})


def test_a_scene_is_written_as_its_map_reads_it(tmp_path):
    raster = draw_scene(3, rows=1, columns=1, side=32, timesteps=2)
    files = write_scene(raster, tmp_path)
    with rasterio.open(files["S2L2A"]) as source:
        # all bands of the first date first
        np.testing.assert_array_equal(source.read(13), raster.s2l2a[1, 0])
        assert source.transform[2:6:3] == (raster.west, raster.north)
    assert list(files) == ["S2L2A", "S1RTC", "DEM"]


def test_maps_are_drawn_in_their_own_colors(tmp_path):
    codes = np.array([[0, 1], [1, 0]], np.uint8)
    write_classes(tmp_path / "map.tif", codes)
    write_classes(tmp_path / "map_generated.tif", 1 - codes)
    write_tif(tmp_path / "map_entropy.tif", np.array([[0, 1], [0, 0]], np.float32))
    shown = panels(np.ones((12, 2, 2), np.int16), tmp_path / "map.tif")
    assert [panel.title for panel in shown[1:]] == [
        "map.tif",
        "map_entropy.tif",
        "map_generated.tif, first date",
    ]
    _, classes, entropy, generated = (panel.pixels for panel in shown)
    assert classes[0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert generated[0].tolist() == [[4, 5, 6], [1, 2, 3]]
    # light where it is undecided
    assert entropy[0, 1].sum() > 600 > entropy[0, 0].sum()
    assert len(draw(shown).axes) == 4
