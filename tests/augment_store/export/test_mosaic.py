"""Mosaics: every pixel of a scene stands where its chip's transform puts it."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from augment_store.chips.georeference import Georeference
from augment_store.cli.main import main
from augment_store.errors import StoreError
from augment_store.export import mosaic as canvas_module
from augment_store.export.mosaic import mosaics
from augment_store.store.chip_index import ChipEntry
from tests.worlds import WKT, grid_reference, make_spec, make_store

SIZE = 32


def entry(chip_id, east, south, scale=10.0, wkt=WKT):
    """A chip whose corner lies so many pixels east and south of the scene's."""
    return ChipEntry(
        chip_id, "s", Georeference(wkt, (scale, 0, 5e5 + 10 * east, 0, -scale, 4e6 - 10 * south))
    )


def store_of(tmp_path, *entries, **options):
    return make_store(tmp_path / "store", chips=len(entries), size=SIZE, entries=entries, **options)


def test_neighbours_are_joined_and_gaps_stay_empty(tmp_path):
    store = store_of(tmp_path, entry("a", 32, 0), entry("b", 0, 32), entry("c", 32, 32))
    assert (
        main(["export", str(store.path), "--format", "geotiff", "--out", str(tmp_path / "o"), "--mosaic"])
        == 0
    )
    with rasterio.open(tmp_path / "o" / "s_lulc.tif") as found:
        pixels = found.read(1)
        assert (found.bounds.left, found.bounds.top) == (5e5, 4e6)
        assert found.tags()["CHIP_IDS"] == "a b c"
    assert pixels.shape == (64, 64)
    np.testing.assert_array_equal(pixels[:32, :32], 255)
    for chip_id, rows, columns in (("a", 0, 32), ("b", 32, 0), ("c", 32, 32)):
        stored = store.read(chip_id, "lulc")[0, 0]
        np.testing.assert_array_equal(pixels[rows : rows + 32, columns : columns + 32], stored)


def test_first_chip_shows_where_chips_overlap(tmp_path):
    store = store_of(tmp_path, entry("a", 0, 0), entry("b", 16, 0))
    (canvas,) = mosaics(store, store.chip_ids)
    assert canvas.shape == (32, 48)
    from augment_store.export.layers import choose_arrays, layers

    pixels = canvas.read(store, next(layers(store, choose_arrays(store, ["lulc"]))))[0]
    np.testing.assert_array_equal(pixels[:, :32], store.read("a", "lulc")[0, 0])
    np.testing.assert_array_equal(pixels[:, 32:], store.read("b", "lulc")[0, 0][:, 16:])


def test_a_mosaic_per_scene_with_every_timestep_any_chip_has(tmp_path):
    once = {"timestep_source": np.zeros(2, np.int16)}
    spec = make_spec()
    store = make_store(tmp_path / "store", 8, SIZE, timesteps=2, spec=spec, given={"scene0_r0c0": once})
    assert (
        main(["export", str(store.path), "--format", "geotiff", "--out", str(tmp_path / "o"), "--mosaic"])
        == 0
    )
    assert (tmp_path / "o" / "scene1_lulc_t1.tif").is_file()
    with rasterio.open(tmp_path / "o" / "scene0_lulc_t1.tif") as found:
        pixels = found.read(1)
    assert pixels.shape == (32, 128)
    np.testing.assert_array_equal(pixels[:, :32], store.read("scene0_r0c0", "lulc")[0, 0])
    np.testing.assert_array_equal(pixels[:, 32:64], store.read("scene0_r0c1", "lulc")[0, 1])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (entry("b", 32.5, 0), "lies 0.00 rows and 0.50 columns off"),
        (entry("b", 32, 0, scale=20.0), "is rotated or has other pixels"),
        (entry("b", 32, 0, wkt=WKT.replace("-75", "-69")), "another coordinate reference system"),
        (ChipEntry("b", "s"), "chip b has no georeference"),
        (entry("b", 32, 20_000_000), "more than a mosaic may have"),
    ],
)
def test_chips_that_do_not_fit_are_refused(tmp_path, second, message):
    store = store_of(tmp_path, entry("a", 0, 0), second)
    with pytest.raises(StoreError, match=message):
        mosaics(store, store.chip_ids)


def test_bands_that_are_too_many_for_memory_are_refused(tmp_path, monkeypatch, capsys):
    store = store_of(tmp_path, entry("a", 0, 0), entry("b", 32, 0), spec=make_spec("S2L2A"))
    monkeypatch.setattr(canvas_module, "MAX_VALUES", 12 * 32 * 64 - 1)
    arguments = ["--format", "geotiff", "--out", str(tmp_path / "o"), "--mosaic"]
    assert main(["export", str(store.path), *arguments]) == 2
    assert "s: 12 bands of 32 × 64 pixels of s2l2a are too many for memory" in capsys.readouterr().err
    monkeypatch.setattr(canvas_module, "MAX_VALUES", 12 * 32 * 64)
    assert main(["export", str(store.path), *arguments]) == 0


def test_tokens_that_do_not_meet_are_refused(tmp_path, capsys):
    store = store_of(tmp_path, entry("a", 0, 0), entry("b", 24, 0))
    arguments = ["--format", "geotiff", "--out", str(tmp_path / "o"), "--mosaic", "--arrays", "tokens"]
    assert main(["export", str(store.path), *arguments]) == 2
    assert (
        "chip b lies 0 rows and 24 columns from the corner, not a multiple of 16" in capsys.readouterr().err
    )


def test_scene_names_become_file_names(tmp_path):
    scene = ChipEntry("a", "2021/05 east", grid_reference(0, 0, SIZE))
    store = store_of(tmp_path, scene)
    assert mosaics(store, store.chip_ids)[0].name == "2021_05_east"


def test_scenes_that_would_overwrite_each_others_files_are_refused(tmp_path, capsys):
    chips = (
        ChipEntry("a", "s/1", grid_reference(0, 0, SIZE)),
        ChipEntry("b", "s_1", grid_reference(0, 1, SIZE)),
    )
    store = store_of(tmp_path, *chips)
    arguments = ["export", str(store.path), "--format", "geotiff", "--out", str(tmp_path / "o"), "--mosaic"]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: scenes s/1 and s_1 would both be written as s_1; ")
    assert not (tmp_path / "o").exists()
    assert main([*arguments, "--ids", "b"]) == 0
    assert (tmp_path / "o" / "s_1_lulc.tif").is_file()


@pytest.mark.parametrize("scene", ["", "..", "x" * 201])
def test_a_scene_that_makes_no_file_name_is_refused(tmp_path, scene):
    store = store_of(tmp_path, ChipEntry("a", scene, grid_reference(0, 0, SIZE)))
    with pytest.raises(StoreError, match=r"store: scene '.*' is invalid"):
        mosaics(store, store.chip_ids)
