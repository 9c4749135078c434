"""Layouts as files: those that ship, a user's own, and what is wrong with one."""

from pathlib import Path

import numpy as np
import pytest

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layouts import SHIPPED, find_layout, load_layout, root_above, shipped_layout
from augment_store.cli.main import main
from augment_store.errors import ChipDataError, ChipNotFoundError, ChipSetError
from augment_store.modalities.definitions import S2L1C, S2L2A
from tests.worlds import rasters, write_folder_chips, write_impactmesh_chips, write_sen1floods11, write_tif

FLOODS = ("Ghana_1", "Ghana_2", "India_7", "Spain_8")


def layout_file(tmp_path, text):
    path = tmp_path / "layout.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_layouts_say_what_they_are_and_can_be_copied(name, capsys, tmp_path):
    assert shipped_layout(name).name == name
    assert shipped_layout(name).description
    assert main(["layouts", "show", name]) == 0
    assert load_layout(str(layout_file(tmp_path, capsys.readouterr().out))) == shipped_layout(name)


def test_all_are_listed(capsys):
    assert main(["layouts"]) == 0
    told = capsys.readouterr().out
    for name in SHIPPED:
        assert f"{name}: {shipped_layout(name).description}\n" in told
    assert "  mask   data/MASK/{id}_annotation_flood.tif\n" in told


def test_sen1floods11_is_found_by_its_files(tmp_path):
    chips = ChipSet.open(write_sen1floods11(tmp_path, FLOODS))
    assert chips.layout.name == "sen1floods11"
    assert chips.ids == FLOODS
    assert chips.modalities == ("S2L1C", "S1GRD")
    assert chips.splits == {"train": FLOODS[:2], "val": ("India_7",), "test": ("Spain_8",)}
    assert chips.scenes() == {"Ghana_1": "Ghana", "Ghana_2": "Ghana", "India_7": "India", "Spain_8": "Spain"}
    chip = chips.read("Ghana_2", ["S2L1C", "S1GRD"])
    assert chip.rasters["S2L1C"].shape == (1, 13, 64, 64)
    np.testing.assert_array_equal(chip.rasters["S2L1C"][:, 11:], rasters(1, 64)["S2L2A"][:, 10:])
    assert np.unique(chips.mask("Ghana_1")).tolist() == [-1, 0, 1]
    assert "32618" in chips.georeference("Ghana_1").crs_wkt


def test_the_folders_that_terraminds_notebooks_use_are_the_same_layout(tmp_path):
    root = write_sen1floods11(tmp_path / "a", FLOODS)
    hand = root / "data" / "flood_events" / "HandLabeled"
    for old, new in (("S2Hand", "S2L1CHand"), ("S1Hand", "S1GRDHand"), ("LabelHand", "LabelHand")):
        (hand / old).rename(root / "data" / new)
    split = root / "splits" / "flood_train_data.txt"
    split.write_text("Ghana_1\nIndia_7\n")
    (root / "splits" / "flood_handlabeled" / "flood_train_data.csv").unlink()
    chips = ChipSet.open(root)
    assert (chips.layout.name, chips.ids, chips.folder) == ("sen1floods11", FLOODS, root / "data")
    assert chips.splits["train"] == ("Ghana_1", "India_7")


def test_bands_are_picked_by_name_whatever_their_order(tmp_path):
    made = rasters(0, 32)["S2L2A"][0]
    extra = np.full((1, 32, 32), 7, np.int16)
    write_tif(tmp_path / "chips" / "S2" / "a.tif", np.concatenate([extra, made[::-1]]))
    bands = ", ".join(["QA60", *reversed(S2L2A.bands)])
    text = f"name: mine\nimages: {{S2L2A: {{files: 'S2/{{id}}.tif', bands: [{bands}]}}}}\n"
    chips = ChipSet.open(tmp_path / "chips", str(layout_file(tmp_path, text)))
    np.testing.assert_array_equal(chips.read("a", ["S2L2A"]).rasters["S2L2A"][0], made)


def test_bands_that_the_data_do_not_have_are_no_data(tmp_path):
    made = rasters(0, 32)["S2L2A"][0]
    kept = [band for band in S2L2A.bands if band not in {"COASTAL_AEROSOL", "WATER_VAPOR"}]
    file = made[[S2L2A.bands.index(band) for band in kept]]
    write_tif(tmp_path / "chips" / "S2" / "a.tif", file.astype(np.uint16))
    text = (
        f"name: pastis\nimages: {{S2L2A: {{files: 'S2/{{id}}.tif', bands: [{', '.join(kept)}], "
        "absent: [WATER_VAPOR, COASTAL_AEROSOL]}}\n"
    )
    found = ChipSet.open(tmp_path / "chips", str(layout_file(tmp_path, text))).raster("a", "S2L2A")[0]
    assert found.dtype == np.int32
    assert np.unique(found[[0, 9]]).tolist() == [-9999]
    np.testing.assert_array_equal(found[[*range(1, 9), 10, 11]], made[[*range(1, 9), 10, 11]])


def test_timesteps_lie_one_after_another_among_the_bands_of_a_geotiff(tmp_path):
    series = rasters(0, 32, timesteps=3)["S1RTC"].astype(np.float32)
    write_tif(tmp_path / "chips" / "S1" / "a.tif", series.reshape(6, 32, 32))
    text = "name: mine\nimages: {S1RTC: {files: 'S1/{id}.tif'}}\ntimesteps: 3\n"
    chips = ChipSet.open(tmp_path / "chips", str(layout_file(tmp_path, text)))
    np.testing.assert_array_equal(chips.raster("a", "S1RTC"), series)
    write_tif(tmp_path / "chips" / "S1" / "a.tif", series[:2].reshape(4, 32, 32))
    with pytest.raises(ChipDataError, match=r"4 bands; expected 2 × 3 timesteps \(VV VH\)"):
        chips.raster("a", "S1RTC")


def test_labels_of_a_mask_that_do_not_count(tmp_path):
    root = write_folder_chips(tmp_path / "chips", ["a"])
    labels = np.zeros((1, 32, 32), np.uint8)
    labels[0, 0, :3] = (255, 9, 1)
    write_tif(root / "MASK" / "a.tif", labels)
    text = "name: mine\nimages: {DEM: {files: 'DEM/{id}.tif'}}\nmask: 'MASK/{id}.tif'\nignored_labels: [255, 9]\n"
    chips = ChipSet.open(root, str(layout_file(tmp_path, text)))
    assert chips.mask("a")[0, :4].tolist() == [-1, -1, 1, 0]


CODES = [10, 10, 80, 95, 0, 255]
"""In the first pixels of a mask that is 10 elsewhere: WorldCover's trees, water, mangroves, no data; and a stranger."""


def coded(tmp_path, keys):
    """A layout file with further keys, and a chip whose mask has codes."""
    root = write_folder_chips(tmp_path / "chips", ["a"], size=16)
    mask = np.full((1, 16, 16), 10, np.uint8)
    mask[0, 0, : len(CODES)] = CODES
    write_tif(root / "MASK" / "a.tif", mask)
    text = f"name: mine\nimages: {{DEM: {{files: 'DEM/{{id}}.tif'}}}}\nmask: 'MASK/{{id}}.tif'\n{keys}\n"
    return root, layout_file(tmp_path, text)


@pytest.mark.parametrize(
    ("keys", "labels"),
    [
        ("labels: {10: 0, 80: 1, 95: 0}\nignored_labels: [0, 255]", [0, 0, 1, 0, -1, -1]),
        ("labels: {10: 2, 80: 1, 95: 0, 0: -1, 255: -1}", [2, 2, 1, 0, -1, -1]),
        ("legend: worldcover\nignored_labels: [255]", [0, 0, 7, 9, -1, -1]),
        # own labels go before the legend's, which then names them
        ("legend: flood\nlabels: {10: 0, 80: 1, 95: 1}\nignored_labels: [0, 255]", [0, 0, 1, 1, -1, -1]),
    ],
)
def test_codes_of_masks_become_labels(tmp_path, keys, labels):
    root, layout = coded(tmp_path, keys)
    assert ChipSet.open(root, str(layout)).mask("a")[0, : len(CODES)].tolist() == labels


def test_a_code_without_a_label_is_named_with_the_remedy(tmp_path):
    root, layout = coded(tmp_path, "legend: worldcover")
    with pytest.raises(ChipDataError, match=r"a\.tif: codes 255 have no label; .*labels or ignored_labels"):
        ChipSet.open(root, str(layout)).mask("a")


@pytest.mark.parametrize(
    ("keys", "lines"),
    [  # of 256 pixels: one each of 80, 95, 0 and 255
        ("", ["0 0.4%, 10 98.4%, 80 0.4%, 95 0.4%, 255 0.4%", "255 often marks pixels without a label"]),
        (
            "ignored_labels: [255]",
            [
                "-1 ignored 0.4%, 0 0.4%, 10 98.4%, 80 0.4%, 95 0.4%",
                "these are codes of worldcover; in a layout file",
            ],
        ),
        (
            "legend: worldcover\nignored_labels: [255]",
            ["-1 ignored 0.8%, 0 tree cover 98.4%, 7 permanent water bodies 0.4%, 9 mangroves 0.4%"],
        ),
    ],
)
def test_check_names_labels_their_shares_and_the_keys_for_them(tmp_path, capsys, keys, lines):
    root, layout = coded(tmp_path, keys)
    assert main(["layouts", "check", str(layout), "--chips", str(root)]) == 0
    told = capsys.readouterr().out.splitlines()
    found = [line.removeprefix("labels").strip() for line in told if line.startswith("labels")]
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))
    assert any("label 255 is ignored (ignored_labels)" in line for line in told) == ("[255]" in keys)


def test_tiff_is_read_like_tif(tmp_path):
    root = write_folder_chips(tmp_path, ["a", "b"])
    for path in [*root.glob("*/b.tif")]:
        path.rename(path.with_suffix(".tiff"))
    chips = ChipSet.open(root)
    assert chips.ids == ("a", "b")
    assert chips.read("b", ["S2L2A", "DEM"]).shape == (32, 32)
    assert "32618" in chips.georeference("b").crs_wkt


def test_a_flat_folder_of_capital_suffixes_is_a_layout_too(tmp_path):
    root = write_folder_chips(tmp_path / "chips", ["a"])
    (root / "S2L2A" / "a.tif").rename(root / "scene_a_optical.TIF")
    text = "name: mine\nimages: {S2L2A: {files: 'scene_{id}_optical.TIF'}}\n"
    chips = ChipSet.open(root, str(layout_file(tmp_path, text)))
    assert chips.read("a", ["S2L2A"]).shape == (32, 32)
    assert "32618" in chips.georeference("a").crs_wkt


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\n", "images: Field required"),
        (
            "name: x\nimages: {S2L2A: {files: 'S2/{id}.tif'}}\nmasks: a\n",
            "masks: no such key; did you mean mask?",
        ),
        (
            "name: x\nimages: {S2L2A: {files: 'S2/all.tif'}}\n",
            r"images.S2L2A.files.0: .*expected \{id\} in the file name or a folder",
        ),
        ("name: x\nimages: {S2L2A: {files: '../{id}.tif'}}\n", "expected a path inside the chip set"),
        ("name: x\nimages: {S2L2A: {files: 'S2/{id}.jp2'}}\n", "expected a file of one of the types .tif"),
        ("name: x\nimages: {S2: {files: 'S2/{id}.tif'}}\n", "images: no modality 'S2'; expected S2L2A"),
        (
            "name: x\nimages: {S1RTC: {files: 'S1/{id}.tif', bands: [VH]}}\n",
            r"images.S1RTC.bands: VV missing; expected VV VH",
        ),
        (
            "name: x\nimages: {S1RTC: {files: 'S1/{id}.tif', bands: [VV, VH, VV]}}\n",
            "a band appears twice",
        ),
        ("name: x\nimages: {S1RTC: {files: 'S1/{id}.tif'}}\ns1_unit: db\n", "s1_unit: Input should be 'dB'"),
        ("name: x\nimages: {S1RTC: {files: 'S1/{id}.tif'}}\ntimesteps: 0\n", "timesteps: .*greater than"),
        ("name: x\nimages: {S1RTC: {files: 'S1/{id}.tif'}}\nsplits: {dev: a.txt}\n", "splits.dev"),
        ("a: [", "cannot be read as YAML"),
        ("- 1\n", "not a layout"),
    ],
)
def test_a_file_that_is_no_layout_is_one_line(tmp_path, text, message, capsys):
    path = layout_file(tmp_path, text)
    with pytest.raises(ChipSetError, match=message):
        load_layout(str(path))
    assert main(["layouts", "check", str(path), "--chips", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {path}: ")
    assert told.count("\n") == 1


def test_check_says_what_a_layout_finds(tmp_path, capsys):
    root = write_sen1floods11(tmp_path, FLOODS)
    assert main(["layouts", "check", "sen1floods11", "--chips", str(root)]) == 0
    told = capsys.readouterr().out
    assert "S1GRD    4 files\n" in told
    assert "scenes   3; chip Ghana_1 is from Ghana\n" in told
    assert "reading  1 timestep of 64 px, S2L1C uint16, S1GRD float32\n" in told
    assert f"val      1 chip by {root}/splits/flood_handlabeled/flood_valid_data.csv\n" in told
    assert told.endswith(f"{root}: no problem with layout sen1floods11\n")
    folder = root / "data" / "flood_events" / "HandLabeled"
    (folder / "S1Hand" / "India_7_S1Hand.tif").unlink()
    write_tif(folder / "S2Hand" / "Ghana_1_S2Hand.tif", np.ones((3, 64, 64), np.uint16))
    (root / "splits" / "flood_handlabeled" / "flood_test_data.csv").write_text("Peru_1_S1Hand.tif,x\n")
    assert main(["layouts", "check", "sen1floods11", "--chips", str(root)]) == 1
    told = capsys.readouterr().out
    assert "S1GRD    problem: 3 files; none for 1 chip, such as India_7\n" in told
    assert "no file for 1 chip, such as 'Peru_1'" in told
    assert "Ghana_1_S2Hand.tif: 3 bands; expected 13" in told
    assert told.endswith("3 problems with layout sen1floods11\n")


# Mistakes of the first hour ------------------------------------------------------------------------------


def test_a_folder_inside_a_chip_set_names_the_root(tmp_path):
    root = write_impactmesh_chips(tmp_path / "nyc", ["a"], size=16)
    for inside in ("data", "data/S2L2A"):
        with pytest.raises(ChipSetError, match=rf"give the chip set's root, {root}$"):
            find_layout(root / inside)
    folders = write_folder_chips(tmp_path / "tm", ["a"], size=16)
    with pytest.raises(ChipSetError, match=rf"S2L2A: a folder inside a chip set; .* {folders}$"):
        find_layout(folders / "S2L2A")
    with pytest.raises(ChipSetError, match=rf"give the chip set's root, {root}$"):
        ChipSet.open(root / "data", "impactmesh")


def test_a_folder_near_the_root_of_the_disk_is_inside_nothing():
    assert root_above(Path("/")) is None
    assert root_above(Path("/data")) is None


def test_no_chips_shows_what_is_there(tmp_path):
    (tmp_path / "s2").mkdir()
    (tmp_path / "s2" / "a.jp2").touch()
    (tmp_path / "S1_a.TIF").touch()
    with pytest.raises(
        ChipSetError, match=r"no chips found; .*, found S1_a.TIF, s2/a.jp2 …\. .*--layout FILE"
    ):
        find_layout(tmp_path)


def test_ids_that_differ_between_folders_show_one_that_is_there(tmp_path):
    root = write_folder_chips(tmp_path, ["a", "b"])
    (root / "S1RTC" / "a.tif").rename(root / "S1RTC" / "a_vv_vh.tif")
    with pytest.raises(
        ChipNotFoundError, match=r"S1RTC/a.tif: no such file; that folder has 2 chips, such as 'a_vv_vh'"
    ):
        ChipSet.open(root).read("a", ["S2L2A", "S1RTC"])


def test_thirteen_bands_are_level_1c(tmp_path):
    root = write_folder_chips(tmp_path, ["a"])
    write_tif(root / "S2L2A" / "a.tif", np.ones((13, 32, 32), np.int16))
    with pytest.raises(ChipDataError, match=r"13 bands; expected 12 .*Level-1C.*--inputs S2L1C.*drop B10"):
        ChipSet.open(root).read("a", ["S2L2A"])
    (root / "S2L2A").rename(root / "S2L1C")
    assert ChipSet.open(root).read("a", ["S2L1C"]).rasters["S2L1C"].shape == (1, len(S2L1C.bands), 32, 32)


def test_a_split_that_is_not_there_names_the_sets_own(tmp_path):
    root = write_folder_chips(tmp_path, ["a", "b"])
    (root / "split").mkdir()
    (root / "split" / "train.txt").write_text("a\n")
    with pytest.raises(
        ChipSetError, match=rf"train: no such split file; this chip set has {root}/split/train.txt"
    ):
        ChipSet.open(root, splits=[tmp_path / "train"])


def test_a_link_named_data_is_the_data_folder(tmp_path):
    root = write_impactmesh_chips(tmp_path / "nyc", ["a"], size=16)
    (root / "data").rename(tmp_path / "disk")
    (root / "data").symlink_to(tmp_path / "disk")
    assert root_above(root / "data") == root
    assert ChipSet.open(root).ids == ("a",)
