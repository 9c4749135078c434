"""Cutting rasters into chip sets."""

import re
import threading

import numpy as np
import pytest
import rasterio

from augment_store.chips import chip_folder
from augment_store.chips.chip_set import ChipSet
from augment_store.chips.declarations import BandDeclaration, FileContent, apply_declarations
from augment_store.chips.labels import to_labels
from augment_store.chips.layouts import read_split
from augment_store.chips.scenes import scenes_by_pattern
from augment_store.chips.tile_grid import (
    CutRequest,
    UncoveredStrip,
    assign_splits,
    starts,
    uncovered_strips,
)
from augment_store.chips.tiling import missing_share
from augment_store.cli.main import main
from augment_store.modalities.definitions import INPUT_MODALITIES
from tests.worlds import rasters, write_tif

SIDE = 80


@pytest.fixture
def scene(tmp_path):
    """A scene of 80 px: S2L2A, DEM and a mask."""
    made = rasters(0, SIDE)
    write_tif(tmp_path / "flight.tif", made["S2L2A"][0])
    write_tif(tmp_path / "later.tif", rasters(6, SIDE)["S2L2A"][0])
    write_tif(tmp_path / "dem.tif", made["DEM"][0])
    write_tif(tmp_path / "labels.tif", (np.indices((SIDE, SIDE)).sum(axis=0) % 5).astype(np.uint8)[None])
    return tmp_path


def cut(scene, *more, names=("S2L2A=flight.tif", "DEM=dem.tif", "MASK=labels.tif")):
    words = [f"{word.partition('=')[0]}={scene / word.partition('=')[2]}" for word in names]
    return main(["cut", *words, "--out", str(scene / "chips"), "--size", "32", *more])


@pytest.mark.parametrize(
    ("length", "size", "overlap", "expected"),
    [
        (96, 32, 0, [0, 32, 64]),
        (80, 32, 0, [0, 32, 48]),  # the last one ends at the edge
        (80, 32, 16, [0, 16, 32, 48]),
        (32, 32, 0, [0]),
        (31, 32, 0, []),
        (79, 32, 0, [0, 32]),  # 15 px: a third chip would repeat more than half of the second
        (45, 32, 16, [0, 13]),  # 13 px beyond the first, of the 16 that a chip adds
        (39, 32, 16, [0]),  # 7 px
        (33, 32, 31, [0, 1]),
    ],
)
def test_windows_begin_where_they_show_something_new(length, size, overlap, expected):
    assert starts(length, size, overlap) == expected


def test_edges_that_no_chip_covers_name_the_size_that_would(scene):
    def edges(height, width, size, **more):
        return uncovered_strips(CutRequest({}, scene, "s", size, **more), height, width)

    assert edges(180, 180, 176) == (
        UncoveredStrip("lower", 4, False, 180),
        UncoveredStrip("right", 4, False, 180),
    )
    assert edges(400, 400, 176) == (
        UncoveredStrip("lower", 48, False, 200),
        UncoveredStrip("right", 48, False, 200),
    )
    assert edges(352, 400, 176) == (UncoveredStrip("right", 48, False, 200),)
    # a size that covers the right edge would leave some of the lower one
    assert edges(230, 1000, 224) == (
        UncoveredStrip("lower", 6, False, None),
        UncoveredStrip("right", 104, False, None),
    )
    # 22 chips of 224 px cover 4928 px; the next sides leave 50, 28 and 6, and 22 of 228 px reach the edge
    assert edges(5000, 5000, 224)[0] == UncoveredStrip("lower", 72, False, 228)
    assert edges(224, 5000, 224) == (UncoveredStrip("right", 72, False, None),)
    assert edges(80, 80, 32) == ()
    # regions of 44, 44 and 22 px: 12 px of the first two, and all of the last, which is smaller than a chip
    assert edges(88, 110, 32, block=44) == (
        UncoveredStrip("lower", 12, False, 44),
        UncoveredStrip("right", 12, False, 44),
        UncoveredStrip("right", 22, True, None),
    )


def test_edges_that_are_left_out_are_said_once(scene, capsys):
    assert cut(scene, "--size", "72") == 0
    assert capsys.readouterr().out.splitlines()[1] == (
        "8 px at the lower and right edge of the raster are left out: a chip there would mostly repeat its neighbour; "
        "--size 80 would keep them"
    )
    assert ChipSet.open(scene / "chips").ids == ("flight_r000c000",)
    assert cut(scene, "--scene", "whole", "--size", "80", "--out", str(scene / "whole")) == 0
    assert "left out" not in capsys.readouterr().out
    assert cut(scene, "--scene", "regions", "--block", "50", "--out", str(scene / "regions")) == 0
    assert capsys.readouterr().out.splitlines()[1] == (
        "30 px at the lower and right edge of regions are left out: too few for a chip"
    )


def test_chips_are_the_pixels_and_the_place_of_their_window(scene, capsys):
    assert cut(scene) == 0
    assert "9 chips of 32 px in 1 scene\n" in capsys.readouterr().out
    chips = ChipSet.open(scene / "chips")
    assert chips.layout.name == "folders"
    assert chips.ids == tuple(f"flight_r{row:03d}c{column:03d}" for row in range(3) for column in range(3))
    assert set(chips.scenes().values()) == {"flight"}
    made = rasters(0, SIDE)["S2L2A"][0]
    np.testing.assert_array_equal(chips.raster("flight_r002c001", "S2L2A")[0], made[:, 48:80, 32:64])
    assert chips.mask("flight_r002c001")[0, 0] == (48 + 32) % 5
    place = chips.georeference("flight_r002c001")
    assert place.transform == (10, 0, 580_000 + 320, 0, -10, 4_510_000 - 480)
    assert "32618" in place.crs_wkt


def test_regions_are_scenes_that_share_no_pixel_and_are_dealt_out_whole(scene, capsys):
    assert cut(scene, "--block", "40", "--overlap", "16", "--split", "50", "25", "25") == 0
    told = capsys.readouterr().out
    assert "16 chips of 32 px in 4 scenes\n" in told  # 2 × 2 chips in each of 2 × 2 regions
    assert "train: 8 chips\nval: 4 chips\ntest: 4 chips\n" in told
    chips = ChipSet.open(scene / "chips")
    scenes = scenes_by_pattern(chips.ids)
    assert set(scenes.values()) == {f"flight-b{row:02d}x{column:02d}" for row in (0, 1) for column in (0, 1)}
    by_split = {split: {scenes[chip_id] for chip_id in ids} for split, ids in chips.splits.items()}
    assert sum(map(len, by_split.values())) == 4
    covered = {}
    for chip_id in chips.ids:
        _, _, x, _, _, y = chips.georeference(chip_id).transform
        column, row = round((x - 580_000) / 10), round((4_510_000 - y) / 10)
        for pixel in {(r, c) for r in range(row, row + 32) for c in range(column, column + 32)}:
            covered.setdefault(pixel, set()).add(scenes[chip_id])
    assert len(covered) == SIDE * SIDE
    assert all(len(owners) == 1 for owners in covered.values())


def test_scenes_go_whole_to_the_split_that_lacks_most():
    chips = {"a": ["a0", "a1"], "b": ["b0", "b1"], "c": ["c0", "c1"], "d": ["d0", "d1"]}
    splits = assign_splits(chips, (2, 1, 1), seed=3)
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 4, "val": 2, "test": 2}
    assert assign_splits(chips, (2, 1, 1), seed=3) == splits
    assert assign_splits(chips, (0, 0, 1), seed=3).keys() == {"test"}


def test_a_second_scene_is_added_and_its_split_too(scene):
    assert cut(scene, "--split", "train") == 0
    assert cut(scene, "--split", "train", "--scene", "later", names=("S2L2A=later.tif", "DEM=dem.tif")) == 0
    chips = ChipSet.open(scene / "chips")
    assert len(chips.ids) == 18
    assert read_split(scene / "chips" / "split" / "train.txt") == chips.ids


def test_chips_that_are_mostly_missing_are_left_out(scene, capsys):
    bands = rasters(0, SIDE)["S2L2A"][0]
    bands[:, :, :30] = 0  # Sentinel-2's NO_DATA: 30 of the first window's 32 columns
    write_tif(scene / "flight.tif", bands)
    assert cut(scene, "--missing", "0.5") == 0
    assert "6 chips of 32 px in 1 scene, 3 left out (more than 50% missing)" in capsys.readouterr().out
    assert not any("c000" in chip_id for chip_id in ChipSet.open(scene / "chips").ids)
    assert cut(scene, "--missing", "0.95", "--out", str(scene / "all")) == 0


def declared(name, values, **band):
    content = FileContent(np.asarray(values)[None], (BandDeclaration(**band),) * len(values))
    if name == "MASK":
        return to_labels(content, "a.tif").labels
    modality = INPUT_MODALITIES[name]
    return apply_declarations(content.values, content.bands, None, modality, "a.tif")[0][0]


def test_a_value_declared_as_no_data_is_one_that_readers_know():
    band = np.array([[[0, 3], [65535, 7]]], np.uint16)
    assert declared("DEM", band, nodata=65535).tolist() == [[[0, 3], [-9999, 7]]]
    assert declared("MASK", np.array([[[0, 255]]], np.uint8), nodata=255).tolist() == [[0, -1]]
    assert np.isnan(declared("S1RTC", np.float32([[[-11, 0]]]), nodata=0.0)).tolist() == [[[False, True]]]
    assert declared("S2L2A", band * 0, nodata=0).dtype == np.uint16  # 0 in every band needs no other value
    assert declared("DEM", band).dtype == np.uint16
    assert missing_share("DEM", np.array([[[1, -9999], [2, -32768]]])) == 0.5
    assert missing_share("S1RTC", np.array([[[1, np.nan, 1, 1]], [[1, 1, 1, np.nan]]])) == 0.5
    assert missing_share("MASK", np.array([[[-9999]]])) == 0


def other_grid(scene):
    with rasterio.open(scene / "dem.tif") as source:
        write_tif(scene / "dem.tif", source.read(), east=580_010)


@pytest.mark.parametrize(("shift", "status"), [(0.05, 0), (-0.05, 0), (0.5, 2), (10, 2)])
def test_grids_may_differ_by_a_hundredth_of_a_pixel(scene, shift, status):
    with rasterio.open(scene / "dem.tif") as source:
        raster = source.read()
    write_tif(scene / "dem.tif", raster, east=580_000 + shift)
    assert cut(scene) == status


@pytest.mark.parametrize(
    ("spoil", "more", "message"),
    [
        (
            other_grid,
            (),
            "dem.tif: not on the grid of .*flight.tif; .* gdalwarp -t_srs EPSG:32618 -te 580000.0 ",
        ),
        (
            lambda scene: write_tif(scene / "dem.tif", np.ones((2, 80, 80), np.int16)),
            (),
            "2 bands; expected 1",
        ),
        (lambda scene: (scene / "dem.tif").write_bytes(b"II*"), (), "dem.tif: cannot be read as a raster"),
        (lambda scene: (scene / "dem.tif").unlink(), (), "dem.tif: cannot be read as a raster"),
        (None, ("--size", "96"), "80 × 80 pixels hold no chip of 96 px"),
        (None, ("--size", "15"), "--size 15: expected 16 or more"),
        (None, ("--overlap", "32"), "--overlap 32: expected 0 to 31"),
        (None, ("--block", "16"), "--block 16: expected at least --size 32"),
        (None, ("--missing", "2"), "--missing 2: expected a share"),
        (None, ("--split", "1", "2"), "expected train, val or test, or a share for each"),
        (None, ("--split", "1", "1", "1"), "give their size with --block"),
        (None, ("--split", "-1", "1", "1", "--block", "40"), "none of them negative"),
        (None, ("--scene", "a/b"), "path separator"),
    ],
)
def test_what_cannot_be_cut_is_one_line_and_leaves_nothing(scene, capsys, spoil, more, message):
    if spoil:
        spoil(scene)
    assert cut(scene, *more) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert re.search(message, told), told
    assert not (scene / "chips").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("flight.tif",), "flight.tif: expected NAME=FILE"),
        (("S9=flight.tif",), "S9=flight.tif: expected NAME=FILE, where NAME is one of S2L2A"),
        (("DEM=a.tif", "DEM=b.tif"), "DEM=b.tif: DEM appears twice"),
        (("MASK=labels.tif",), "no input raster given"),
        (("DEM=s3://bucket/dem.tif",), "DEM s3://bucket/dem.tif: only local files are cut"),
    ],
)
def test_rasters_are_named_once_by_a_modality(tmp_path, capsys, words, message):
    assert main(["cut", *words, "--out", str(tmp_path / "chips")]) == 2
    assert message in capsys.readouterr().err


def test_chips_that_are_there_are_never_overwritten(scene, capsys):
    assert cut(scene) == 0
    before = (scene / "chips" / "DEM" / "flight_r000c000.tif").read_bytes()
    write_tif(scene / "dem.tif", np.ones((1, SIDE, SIDE), np.int16))
    assert cut(scene) == 2
    assert "flight_r000c000.tif: exists; choose another --scene" in capsys.readouterr().err
    assert (scene / "chips" / "DEM" / "flight_r000c000.tif").read_bytes() == before


def test_what_a_killed_cut_left_is_cleared(scene, monkeypatch):
    left = scene / "chips" / ".cut-flight" / "S2L2A" / "old.tif"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    assert cut(scene) == 0
    assert len(ChipSet.open(scene / "chips").ids) == 9
    assert not (scene / "chips" / ".cut-flight").exists()


def test_a_publication_that_was_killed_is_taken_back_and_made_again(scene, monkeypatch):
    assert cut(scene, "--split", "train", "--scene", "early", names=("S2L2A=later.tif", "DEM=dem.tif")) == 0

    def kill(*given, **named):
        raise SystemExit  # nothing after it runs, as after a kill

    with monkeypatch.context() as patched:
        patched.setattr(chip_folder, "_change_split", kill)
        patched.setattr(chip_folder, "roll_back", lambda out, scene: None)
        with pytest.raises(SystemExit):
            cut(scene, "--split", "train")
    assert (scene / "chips" / ".cut-flight.json").is_file()
    assert cut(scene, "--split", "train") == 0
    chips = ChipSet.open(scene / "chips")
    assert len(chips.ids) == 18
    assert sorted(read_split(scene / "chips" / "split" / "train.txt")) == list(chips.ids)
    assert not (scene / "chips" / ".cut-flight.json").exists()


def test_scenes_that_are_cut_side_by_side_are_all_in_the_split(scene, monkeypatch):
    real = chip_folder.atomic_write

    def slow(path, parts):
        threading.Event().wait(0.3)
        real(path, parts)

    monkeypatch.setattr(chip_folder, "atomic_write", slow)
    status = {}

    def run(name):
        status[name] = cut(
            scene, "--split", "train", "--scene", name, names=(f"S2L2A={name}.tif", "DEM=dem.tif")
        )

    for seed, name in enumerate(("a", "b", "c")):
        write_tif(scene / f"{name}.tif", rasters(10 + seed, SIDE)["S2L2A"][0])
    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(status.values()) == {0}
    chips = ChipSet.open(scene / "chips")
    assert len(chips.ids) == 27
    assert sorted(chips.splits["train"]) == list(chips.ids)


def test_declared_scale_is_applied_and_said(scene, capsys):
    with rasterio.open(scene / "dem.tif", "r+") as file:
        file.scales = (0.1,)
    assert cut(scene) == 0
    assert "DEM: scale 0.1\n" in capsys.readouterr().out
    found = ChipSet.open(scene / "chips").raster("flight_r000c000", "DEM")
    expected = rasters(0, SIDE)["DEM"][:, :, :32, :32] * 0.1
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("dtype", ["complex64", "complex_int16"])
def test_complex_rasters_are_refused_in_a_line(scene, capsys, dtype):
    values = np.ones((2, SIDE, SIDE), np.complex64)
    profile = {"count": 2, "height": SIDE, "width": SIDE, "crs": "EPSG:32618"}
    with rasterio.open(scene / "flight.tif") as like:
        profile["transform"] = like.transform
    with rasterio.open(scene / "slc.tif", "w", driver="GTiff", dtype=dtype, **profile) as file:
        file.write(values)
    assert cut(scene, names=("S2L2A=flight.tif", "S1RTC=slc.tif")) == 2
    assert "complex values" in capsys.readouterr().err


def test_int8_with_no_data_is_widened(scene):
    heights = np.arange(SIDE * SIDE).reshape(1, SIDE, SIDE).astype(np.int8)
    write_tif(scene / "dem.tif", heights)
    with rasterio.open(scene / "dem.tif", "r+") as file:
        file.nodata = -128
    assert cut(scene, "--missing", "1") == 0
    found = ChipSet.open(scene / "chips").raster("flight_r000c000", "DEM")
    assert found.dtype == np.int16
    assert ((found == -9999) == (heights[:, :32, :32] == -128)).all()


def test_a_set_takes_no_other_size_inputs_or_the_same_raster_again(scene, capsys):
    assert cut(scene) == 0
    write_tif(scene / "other.tif", rasters(5, SIDE)["S2L2A"][0], 700_000)
    write_tif(scene / "other_dem.tif", rasters(5, SIDE)["DEM"][0], 700_000)
    other = ("S2L2A=other.tif", "DEM=other_dem.tif")
    for more, names, told in (
        (("--size", "48"), other, "its chips are 32 px; all chips of a set have one size: give --size 32"),
        ((), other[:1], "its chips have S2L2A, DEM, and these rasters are S2L2A"),
        (("--scene", "again"), ("S2L2A=flight.tif", "DEM=dem.tif"), "flight.tif: is in "),
    ):
        assert cut(scene, *more, names=names) == 2
        assert told in capsys.readouterr().err
    # another scene, and the same ground on another day
    assert cut(scene, names=other) == 0
    assert cut(scene, "--scene", "later", names=("S2L2A=later.tif", "DEM=dem.tif")) == 0
