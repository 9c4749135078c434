"""Chips of two splits that show the same ground."""

import shutil

import numpy as np
import pytest
from rasterio.crs import CRS

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference
from augment_store.chips.shared_ground import find_copies, find_overlaps, find_shared
from augment_store.cli.main import main
from augment_store.testing import write_impactmesh_chip
from tests.worlds import EAST, grid_reference, rasters, write_folder_chips, write_tif

IDS = {"train": ("a_0_0", "b_0_0"), "test": ("c_0_0", "d_0_0")}


def pairs(root, east, splits=IDS):
    """Chips of 16 px of 10 m, the third one at `east` metres from the first."""
    for chip_id, offset in (("a_0_0", 0), ("b_0_0", 1000), ("c_0_0", east), ("d_0_0", 90_000)):
        dem = rasters(sum(chip_id.encode()), 16)["DEM"][0]
        write_tif(root / "DEM" / f"{chip_id}.tif", dem, east=EAST + offset)
    return find_shared(ChipSet.open(root), splits, (16, 16))


@pytest.mark.parametrize(
    ("east", "expected"),
    [
        (0, [("a_0_0", "c_0_0")]),  # another date of the same tile
        (150, [("a_0_0", "c_0_0")]),  # one column of 16
        (160, []),  # the neighbor
        (159, []),  # less than a hundredth: rounding
        (900, [("b_0_0", "c_0_0")]),
        (5000, []),
    ],
)
def test_chips_of_two_splits_that_overlap_are_found(tmp_path, east, expected):
    assert pairs(tmp_path, east) == expected


def test_one_corner_for_all_chips_tells_nothing_where_some_files_have_none(tmp_path):
    for seed, chip_id in enumerate("ab"):
        write_impactmesh_chip(tmp_path, chip_id, rasters(seed, 16))  # the DEMs alone are GeoTIFFs
    chips = ChipSet.open(tmp_path)
    assert find_shared(chips, {"train": ["a"], "test": ["b"]}, (16, 16)) == []
    write_impactmesh_chip(tmp_path, "c", rasters(2, 16), EAST + 10_000)
    chips = ChipSet.open(tmp_path)
    assert find_shared(chips, {"train": ["a"], "test": ["b", "c"]}, (16, 16)) == [("a", "b")]


def test_chips_of_one_split_may_overlap(tmp_path):
    assert pairs(tmp_path, 0, {"train": ("a_0_0", "c_0_0"), "test": ("b_0_0",)}) == []


UTM_18, UTM_19 = (CRS.from_epsg(code).to_wkt() for code in (32618, 32619))
LOCAL = 'LOCAL_CS["site",UNIT["metre",1]]'


@pytest.mark.parametrize(
    ("place", "shared"),
    [
        # 72° W, 40.7° N in the next zone, by PROJ
        (Georeference(UTM_19, (10, 0, 246_537, 0, -10, 4_509_784)), True),
        (Georeference(UTM_19, (10, 0, 247_537, 0, -10, 4_509_784)), False),
        (Georeference(LOCAL, (10, 0, 753_463, 0, -10, 4_509_784)), False),
        (Georeference(), False),
    ],
)
def test_chips_in_two_systems_are_compared_on_earth(place, shared):
    places = {"a": Georeference(UTM_18, (10, 0, 753_463, 0, -10, 4_509_784)), "b": place}
    assert find_overlaps(places, {"train": ["a"], "val": ["b"]}, (32, 32)) == [("a", "b")] * shared


def test_neighbors_across_the_antimeridian_are_not_the_same_ground():
    degrees = CRS.from_epsg(4326).to_wkt()
    places = {
        name: Georeference(degrees, (0.01, 0, west, 0, -0.01, 10))
        for name, west in {"a": 179.9, "b": 10.0, "c": 179.95}.items()
    }
    assert find_overlaps(places, {"train": ["a"], "val": ["b"]}, (16, 16)) == []
    assert find_overlaps(places, {"train": ["a"], "val": ["c"]}, (16, 16)) == [("a", "c")]


def test_the_dates_of_a_place_are_each_named_once_with_one_chip():
    place = grid_reference(0, 0, 16)
    places = dict.fromkeys(("a", "b", "c", "d", "e"), place)
    splits = {"train": ["a", "b"], "val": ["c"], "test": ["d", "e"]}
    assert [later for _, later in find_overlaps(places, splits, (16, 16))] == ["c", "d", "e"]


def test_files_under_two_ids_are_found_without_a_place(tmp_path):
    def write(chip_id, raster):
        path = tmp_path / "DEM" / f"{chip_id}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, raster)

    (tmp_path / "layout.yaml").write_text("{name: arrays, images: {DEM: {files: 'DEM/{id}.npy'}}}")
    for seed, chip_id in enumerate(("a", "b", "e")):
        write(chip_id, rasters(seed, 32)["DEM"][0])
    shutil.copy(tmp_path / "DEM/a.npy", tmp_path / "DEM/c.npy")
    for chip_id in ("d", "f"):  # of one value, as empty chips are
        write(chip_id, np.zeros((1, 32, 32), np.int16))
    chips = ChipSet.open(tmp_path, str(tmp_path / "layout.yaml"))
    assert find_shared(chips, {"train": ("a", "b", "d"), "test": ("c", "e", "f")}, (32, 32)) == [("a", "c")]


def test_layouts_check_names_what_is_in_two_splits(tmp_path, capsys):
    root = write_folder_chips(tmp_path, ["a_0_0", "b_0_0", "c_0_0"])
    for name in ("S2L2A", "S1RTC", "DEM"):  # another date of the tile of a
        raster = rasters(9, 32)[name][0].astype(np.float32 if name == "S1RTC" else np.int16)
        write_tif(root / name / "d_0_0.tif", raster)
    for split, ids in {"train": "a_0_0\nb_0_0\n", "test": "c_0_0\n"}.items():
        (root / "split").mkdir(exist_ok=True)
        (root / f"split/{split}.txt").write_text(ids)
    assert main(["layouts", "check", "folders", "--chips", str(root)]) == 0
    assert "overlap" not in capsys.readouterr().out
    (root / "split/test.txt").write_text("c_0_0\nd_0_0\nb_0_0\n")
    assert main(["layouts", "check", "folders", "--chips", str(root)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("overlap")]
    assert [line.partition("problem: ")[2].partition(" in two")[0] for line in lines] == [
        "1 chip",
        "1 scene",
        "1 pair of chips with the same ground or files",
    ]
    assert "(b_0_0)" in lines[0]
    assert "(b)" in lines[1]
    assert "(a_0_0 and d_0_0)" in lines[2]


def test_equal_inputs_in_two_splits_are_found():
    inputs = {"train": {b"1": "a", b"2": "b"}, "val": {b"3": "c"}, "test": {b"2": "d", b"3": "e"}}
    assert find_copies(inputs) == [("b", "d"), ("c", "e")]
