"""Windows put together in strips: equal to blending all of them at once, and to weights computed by hand."""

import numpy as np
import pytest
import torch

from finetune.errors import RunError
from generate.model.windows import WindowBlender, WindowGrid
from predict.blocks import StripFolder
from predict.shares import Share
from predict.strips import Strip, finished_rows

pytestmark = pytest.mark.slow

GRID = WindowGrid.of_shape((50, 70), (32, 32))


def windows(rng, channels):
    """Probabilities of every window."""
    return {window: rng.random((channels, 32, 32)) for window in GRID}


def test_strips_are_the_blend_of_all_windows():
    made = windows(np.random.default_rng(0), 3)
    blender = WindowBlender(GRID)
    for window, values in made.items():
        blender.add(window, torch.from_numpy(values))
    strip, found = Strip(GRID, 3), []
    for row in range(len(GRID.rows.starts)):
        for column in range(len(GRID.columns.starts)):
            strip.add((row, column), made[row, column], np.zeros((32, 32), bool))
        # a copy, as the next window overwrites them
        found.append(strip.take(row).probabilities.copy())
    np.testing.assert_allclose(np.concatenate(found, axis=1), blender.image().numpy(), rtol=1e-12)


def test_a_window_that_is_left_out_leaves_its_pixels_to_others():
    strip = Strip(WindowGrid.of_shape((32, 48), (32, 32)), 1)
    # windows at columns 0 and 16; only the second is there, so columns 0 to 15 have no prediction
    strip.add((0, 1), np.full((1, 32, 32), 0.25), np.zeros((32, 32), bool))
    taken = strip.take(0)
    assert not taken.observed[:, :16].any()
    assert taken.observed[:, 16:].all()
    np.testing.assert_allclose(taken.probabilities[:, :, 16:], 0.25)


def test_the_generated_map_is_that_of_the_window_in_whose_middle_a_pixel_lies():
    strip = Strip(WindowGrid.of_shape((32, 48), (32, 32)), 1, picked=1)
    for column in (0, 1):
        generated = np.full((1, 32, 32), column + 1, np.uint8)
        strip.add((0, column), np.zeros((1, 32, 32)), np.zeros((32, 32), bool), generated)
    # the windows overlap in columns 16 to 31, of which 24 is the first nearer to the middle of the second
    assert strip.take(0).generated[0, 5].tolist() == [1] * 24 + [2] * 24


def test_each_row_of_the_scene_is_finished_once():
    rows = [row for number in range(len(GRID.rows.starts)) for row in finished_rows(GRID, number)]
    assert rows == list(range(50))


def test_strips_of_other_settings_are_deleted(tmp_path):
    folder = StripFolder(tmp_path / "map.tif", "one", GRID)
    for row in (0, 2):
        folder.save(row, {"class": np.zeros((1, 9, 70), np.uint8)})
    again = StripFolder(tmp_path / "map.tif", "one", GRID)
    # counted up to the first that is missing
    assert [again.finished(rows) for rows in (range(3), range(1, 3), range(2, 3))] == [1, 0, 1]
    assert StripFolder(tmp_path / "map.tif", "other", GRID).finished(range(3)) == 0


def test_a_process_that_joins_a_map_deletes_no_strips(tmp_path):
    folder = StripFolder(tmp_path / "map.tif", "one", GRID)
    folder.save(0, {"class": np.zeros((1, 9, 70), np.uint8)})
    assert StripFolder(tmp_path / "map.tif", "one", GRID, joined=True).finished(range(3)) == 1
    with pytest.raises(RunError, match=r"map\.tif: a run, the scene or the device is not what .* began with"):
        StripFolder(tmp_path / "map.tif", "other", GRID, joined=True)
    assert folder.finished(range(3)) == 1
    with pytest.raises(RunError, match="the same command again"):
        StripFolder(tmp_path / "none.tif", "one", GRID, joined=True)
    assert [path.name for path in tmp_path.iterdir()] == [".map.tif.strips"]


def test_a_strip_is_made_of_all_windows_above_it(tmp_path):
    # windows of 10 px begin in rows 0, 5, 10 and 15, so that rows 10 to 14 are made of the second and the third
    folder = StripFolder(tmp_path / "map.tif", "one", WindowGrid.of_shape((25, 10), (10, 10)))
    assert [folder.first_row(row) for row in range(4)] == [0, 0, 1, 2]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_the_whole(count):
    parts = [Share(index, count).of(range(5)) for index in range(count)]
    assert [row for part in parts for row in part] == [0, 1, 2, 3, 4]
