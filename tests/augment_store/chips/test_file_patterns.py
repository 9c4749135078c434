"""Chips that have a folder each, a file per band, or a folder per split."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.file_patterns import locate
from augment_store.chips.layouts import load_layout, read_split
from augment_store.cli.main import main
from augment_store.errors import ChipDataError, ChipNotFoundError, ChipSetError
from augment_store.modalities.definitions import INPUT_MODALITIES

ORDER = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
METERS = {"B01": 60, "B09": 60, "B05": 20, "B06": 20, "B07": 20, "B8A": 20, "B11": 20, "B12": 20}
SIDE = 48  # pixels of 10 m; 24 of 20 m, 8 of 60 m


def write(path, values, meters=10, east=500_000.0, **profile):
    """Writes ``[C, H, W]`` on the grid of its pixel size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    place = {"crs": "EPSG:32633", "transform": from_origin(east, 5_000_000, meters, meters)}
    with rasterio.open(path, "w", driver="GTiff", **shape, **(place | profile)) as file:
        file.write(values)


def write_bands(root, chip_id, pattern, start=0, **profile):
    """Writes a file for each band of Sentinel-2, whose first value is 100 × its position in TerraMind's order."""
    for position, band in enumerate(ORDER):
        side = SIDE * 10 // METERS.get(band, 10)
        values = (start + 100 * position + np.arange(side * side)).reshape(1, side, side).astype(np.uint16)
        write(root / pattern.format(id=chip_id, band=band), values, METERS.get(band, 10), **profile)


def layout_of(tmp_path, text):
    (tmp_path / "layout.yaml").write_text(f"name: mine\n{text}")
    return str(tmp_path / "layout.yaml")


def test_a_mask_beside_its_image_is_no_chip_of_its_own(tmp_path):
    layout = layout_of(
        tmp_path, 'images: {S2L2A: {files: "{id}.tif"}, DEM: {files: "{id}_dem.tif"}}\nmask: "{id}_mask.tif"'
    )
    for name in ("kiel", "kiel_mask", "kiel_dem", "lahr", "lone_mask"):
        write(tmp_path / "chips" / f"{name}.tif", np.zeros((1, 8, 8), np.uint8))
    chips = ChipSet.open(tmp_path / "chips", layout)
    assert chips.ids == ("kiel", "lahr", "lone_mask")  # of which nothing says that it is a mask of another
    assert chips.ids_of("DEM") == {"kiel"}
    assert chips.mask_ids == {"kiel", "lone"}


TILE = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
PATCHES = (f"{TILE}_26_57", f"{TILE}_26_58")


@pytest.fixture
def bigearthnet(tmp_path):
    root = tmp_path / "ben"
    for number, patch in enumerate(PATCHES):
        write_bands(root, patch, f"BigEarthNet-S2/{TILE}/{{id}}/{{id}}_{{band}}.tif", 1000 * number)
        codes = np.full((1, SIDE, SIDE), 311, np.uint16)
        codes[0, :4] = 999
        write(root / "Reference_Maps" / TILE / patch / f"{patch}_reference_map.tif", codes)
    return root


def test_bigearthnet_is_found_and_its_bands_are_joined(bigearthnet):
    chips = ChipSet.open(bigearthnet)
    assert (chips.layout.name, chips.ids) == ("bigearthnet", PATCHES)
    assert set(chips.scenes().values()) == {TILE}
    chip = chips.read(PATCHES[0], ["S2L2A"])
    values = chip.rasters["S2L2A"][0]
    assert (values.shape, values.dtype) == ((12, SIDE, SIDE), np.uint16)
    assert values[:, 0, 0].tolist() == [100 * position for position in range(12)]
    # B05 has pixels of 20 m: its first four are one; its second row begins after 24 of them
    assert np.unique(values[4, :2, :2]).tolist() == [400]
    assert values[4, 2, 0] == 400 + 24
    # B01 of 60 m
    assert np.unique(values[0, :6, :6]).tolist() == [0]
    assert values[0, 0, 6] == 1
    assert chip.notes["S2L2A"] == (
        "pixels of 24 px repeated 2 × 2 times",
        "pixels of 8 px repeated 6 × 6 times",
    )
    # codes of CORINE: 311 is broad-leaved forest, label 22; 999 is no data
    assert np.unique(chips.mask(PATCHES[0])).tolist() == [-1, 22]


def test_check_of_bigearthnet_finds_no_problem_and_says_what_was_done(bigearthnet, capsys):
    assert main(["layouts", "check", "bigearthnet", "--chips", str(bigearthnet)]) == 0
    told = capsys.readouterr().out
    assert "S2L2A    2 files" in told
    assert "masks    2 of 2 chips" in told
    assert "declared S2L2A: pixels of 24 px repeated 2 × 2 times" in told
    assert "place    WGS 84 / UTM zone 33N" in told


def test_a_band_that_lies_elsewhere_is_found(bigearthnet, capsys):
    moved = bigearthnet / "BigEarthNet-S2" / TILE / PATCHES[0] / f"{PATCHES[0]}_B11.tif"
    write(moved, np.ones((1, 24, 24), np.uint16), 20, east=500_040.0)
    assert main(["layouts", "check", "bigearthnet", "--chips", str(bigearthnet)]) == 1
    told = capsys.readouterr().out
    assert f"{PATCHES[0]}_B11.tif is not on the grid of" in told
    assert "4.0 pixels apart" in told


def test_a_missing_band_and_one_of_another_size_are_named(bigearthnet):
    folder = bigearthnet / "BigEarthNet-S2" / TILE / PATCHES[0]
    write(folder / f"{PATCHES[0]}_B12.tif", np.ones((1, 30, 30), np.uint16), 16)
    with pytest.raises(ChipDataError, match=r"B12.tif: 1 timestep of 30 px; the first file has .* of 48 px"):
        ChipSet.open(bigearthnet).read(PATCHES[0], ["S2L2A"])
    (folder / f"{PATCHES[0]}_B12.tif").unlink()
    with pytest.raises(ChipNotFoundError, match=r"B12\.tif: no such file"):
        ChipSet.open(bigearthnet).read(PATCHES[0], ["S2L2A"])


def test_a_band_without_data_leaves_the_other_bands_their_values(bigearthnet):
    file = bigearthnet / "BigEarthNet-S2" / TILE / PATCHES[0] / f"{PATCHES[0]}_B05.tif"
    values = np.full((1, 24, 24), 7, np.uint16)
    values[0, 0, 1] = 65535
    write(file, values, 20, nodata=65535)
    found = ChipSet.open(bigearthnet).raster(PATCHES[0], "S2L2A")[0]
    assert np.unique(found[4, :2, 2:4]).tolist() == [-9999]
    assert np.unique(found[3, :2, 2:4]).tolist() == [302, 303, 350, 351]
    assert (found == -9999).sum() == 4


RSLEARN = "windows/*/{id}/layers/sentinel2/{band}/geotiff.tif"


def test_windows_of_rslearn_have_a_file_for_each_set_of_bands(tmp_path):
    root = tmp_path / "rslearn"
    sets = {"B02_B03_B04_B08": 10, "B05_B06_B07_B8A_B11_B12": 20, "B01_B09": 60}
    for group, window in (("default", "w1"), ("extra", "w2")):
        for name, meters in sets.items():
            side = SIDE * 10 // meters
            values = np.stack([np.full((side, side), ORDER.index(b) + 1) for b in name.split("_")])
            write(
                root / RSLEARN.replace("*", group).format(id=window, band=name),
                values.astype(np.uint16),
                meters,
            )
    layout = layout_of(
        tmp_path, f"images: {{S2L2A: {{files: '{RSLEARN}', bands: [{', '.join(sets)}]}}}}\ntimesteps: 1\n"
    )
    chips = ChipSet.open(root, layout)
    assert chips.ids == ("w1", "w2")
    assert chips.raster("w2", "S2L2A")[0, :, 0, 0].tolist() == [*range(1, 13)]
    assert "extra/w2" in str(chips.path("w2", "S2L2A"))


def test_cells_of_major_tom_hold_a_product_each(tmp_path):
    root = tmp_path / "tom"
    pattern = "Core-S2L2A/*/{id}/*/{band}.tif"
    for cell in ("199U_1081R", "200U_7L"):
        write_bands(root, cell, f"Core-S2L2A/{cell.split('_')[0]}/{{id}}/S2B_{cell}/{{band}}.tif")
    bands = "[B02, B01, B03, B04, B05, B06, B07, B08, B8A, B09, B11, B12]"
    layout = layout_of(tmp_path, f"images: {{S2L2A: {{files: '{pattern}', bands: {bands}}}}}\n")
    chips = ChipSet.open(root, layout)
    assert chips.ids == ("199U_1081R", "200U_7L")
    assert chips.raster("200U_7L", "S2L2A")[0, :, 0, 0].tolist() == [100 * p for p in range(12)]
    # a second product of one cell: which of the two is meant?
    write_bands(root, "200U_7L", "Core-S2L2A/200U/{id}/S2A_other/{band}.tif")
    with pytest.raises(
        ChipSetError, match=r"chip 200U_7L is in two folders: .* and .*; an id names one chip"
    ):
        ChipSet.open(root, layout)


SPLIT = """
images: {{S1GRD: {{files: "{files}", bands: [VH, VV]}}, DEM: {{files: "{{split}}/dem/{{id}}.tif"}}}}
mask: "{{split}}/labels/{{id}}.tif"
{splits}
"""


@pytest.fixture
def by_folder(tmp_path):
    for folder, ids in {"train": ["a", "b"], "validation": ["c"]}.items():
        for number, chip_id in enumerate(ids):
            for kind, values in {"dem": [5], "labels": [1], "s1": [-20, -10 - number]}.items():
                raster = np.array(values, np.int16)[:, None, None] * np.ones((1, 16, 16), np.int16)
                east = 500_000 + 1000 * "abc".index(chip_id)
                write(tmp_path / "set" / folder / kind / f"{chip_id}.tif", raster, east=east)
    return tmp_path / "set"


def test_a_folder_per_split_is_a_split(tmp_path, by_folder, capsys):
    splits = "splits: {train: train, val: [val, validation]}"
    layout = layout_of(tmp_path, SPLIT.format(files="{split}/s1/{id}.tif", splits=splits))
    chips = ChipSet.open(by_folder, layout)
    assert chips.ids == ("a", "b", "c")
    assert chips.splits == {"train": ("a", "b"), "val": ("c",)}
    assert chips.raster("b", "S1GRD")[0, :, 0, 0].tolist() == [-11, -20]  # VV, VH
    assert chips.mask("c").tolist() == [[1] * 16] * 16
    assert chips.split_path("val") == by_folder / "validation"
    # as --split takes it
    assert chips.limited_to([by_folder / "train"]).ids == ("a", "b")
    assert main(["layouts", "check", layout, "--chips", str(by_folder)]) == 0
    assert f"val      1 chip by {by_folder / 'validation'}" in capsys.readouterr().out


def test_one_id_in_two_splits_is_refused(tmp_path, by_folder):
    layout = layout_of(
        tmp_path, SPLIT.format(files="{split}/s1/{id}.tif", splits="splits: {train: train, val: validation}")
    )
    write(by_folder / "validation" / "s1" / "a.tif", np.ones((2, 16, 16), np.int16))
    with pytest.raises(
        ChipSetError, match=r"chip a is in two folders: .*train/s1/a.tif and .*validation/s1/a.tif"
    ):
        ChipSet.open(by_folder, layout)


def test_names_in_split_files_are_read_by_the_part_that_names_the_chip(tmp_path):
    layout = load_layout(layout_of(tmp_path, "images: {S1GRD: {files: '{id}/{band}.tif', bands: [VV, VH]}}"))
    (tmp_path / "train.txt").write_bytes("\ufeffa\r\n/data/mine/b/VV.tif\r\nC:\\set\\c\\VV.TIF\r\n".encode())
    assert read_split(tmp_path / "train.txt", layout) == ("a", "b", "c")


def test_letters_of_a_folder_may_be_spelled_otherwise(tmp_path):
    write(tmp_path / "u" / "e\u0301te" / "S2.TIF", np.ones((1, 16, 16), np.uint16))
    assert locate(tmp_path, "u/{id}/S2.tif") == {"e\u0301te": "u/{id}/S2.tif"}


@pytest.mark.parametrize(
    ("files", "rest", "message"),
    [
        ("'{id}/{band}.tif'", "", r"expected it in all files, and bands: \[B02"),
        ("['{id}/{band}.tif', '{id}.tif']", ", bands: [VV, VH]", "stands for each word of bands"),
        ("'{id}/{band}.tif'", ", bands: [VV]", "VH missing"),
        ("'{id}_{id}.tif'", "", r"expected \{id\} in the file name or a folder"),
        ("'{id}/{split}/a.tif'", "", r"expected \{split\} before \{id\}"),
        ("'x{split}/{id}.tif'", "", r"expected \{split\} once, for a whole folder"),
        ("'a*/{id}.tif'", "", r"expected \* for a whole folder"),
        ("'{id}/{row}.tif'", "", r"expected no braces but \{id\}, \{split\} and \{band\}"),
    ],
)
def test_patterns_that_say_nothing_are_refused(tmp_path, files, rest, message):
    with pytest.raises(ChipSetError, match=message):
        load_layout(layout_of(tmp_path, f"images: {{S1GRD: {{files: {files}{rest}}}}}"))


@pytest.mark.parametrize("word", ["../../secret/DEM", "/etc/VV2", "a\\b", "*", "{id}", "..", ".", ""])
def test_a_word_of_bands_leads_to_no_other_folder(tmp_path, word):
    text = f"images: {{S1GRD: {{files: 'a/.{{band}}./{{id}}.tif', bands: [VV, VH, '{word}']}}}}"
    with pytest.raises(
        ChipSetError, match=r"bands: '.*' stands for \{band\} in a file name; expected a name"
    ):
        load_layout(layout_of(tmp_path, text))


def test_one_id_in_folders_with_braces_is_told_with_their_names(tmp_path):
    for folder in ("{x}", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.tif").touch()
    with pytest.raises(ChipSetError, match=r"chip a is in two folders: .*/y/a\.tif and .*/\{x\}/a\.tif"):
        locate(tmp_path, "*/{id}.tif")
    (tmp_path / "y").rename(tmp_path / "{id}")  # which no chip's path could be made of
    assert locate(tmp_path, "*/{id}.tif") == {"a": "{x}/{id}.tif"}


def test_a_pattern_that_begins_with_a_dot_has_splits_too(tmp_path):
    for split, chip_id in {"train": "a", "val": "b"}.items():
        (tmp_path / "set" / split).mkdir(parents=True)
        (tmp_path / "set" / split / f"{chip_id}.tif").touch()
    layout = layout_of(tmp_path, "images: {DEM: {files: './{split}//{id}.tif'}}")
    assert ChipSet.open(tmp_path / "set", layout).splits == {"train": ("a",), "val": ("b",)}


def test_any_band_of_a_chip_stands_for_it_in_a_split_file(tmp_path):
    files = "images: {S1GRD: {files: '{id}/{id}_{band}.tif', bands: [VV, VH]}}"
    (tmp_path / "train.txt").write_text("a_VH.tif\nb/b_VV.tif\nc\n")
    assert read_split(tmp_path / "train.txt", load_layout(layout_of(tmp_path, files))) == ("a", "b", "c")


@pytest.fixture
def numpy_bands(tmp_path):
    for band in ("VV", "VH"):
        (tmp_path / "set" / "a").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "set" / "a" / f"{band}.npy", np.full((16, 16), -10, np.float32))
    return tmp_path / "set"


def test_numpy_bands_say_nothing_of_the_place(tmp_path, numpy_bands):
    write(numpy_bands / "a" / "DEM.tif", np.ones((1, 16, 16), np.int16))
    files = "S1GRD: {files: '{id}/{band}.npy', bands: [VV, VH]}, DEM: {files: '{id}/DEM.tif'}"
    chips = ChipSet.open(numpy_bands, layout_of(tmp_path, f"images: {{{files}}}"))
    assert [path.name for path, _ in chips.georeferences("a")] == ["DEM.tif"]


def test_bands_that_are_too_large_together_are_refused(tmp_path, numpy_bands, monkeypatch):
    layout = layout_of(tmp_path, "images: {S1GRD: {files: '{id}/{band}.npy', bands: [VV, VH]}}")
    # two bands of 16 × 16 pixels of 4 bytes
    monkeypatch.setattr("augment_store.chips.limits.MAX_RASTER_BYTES", 2048)
    chips = ChipSet.open(numpy_bands, layout)
    assert chips.raster("a", "S1GRD").shape == (1, 2, 16, 16)
    monkeypatch.setattr("augment_store.chips.limits.MAX_RASTER_BYTES", 2047)
    with pytest.raises(ChipDataError, match=r"VV\.npy: with the other bands, it declares"):
        chips.raster("a", "S1GRD")


def test_folders_of_splits_have_names_alone(tmp_path):
    text = "images: {DEM: {files: '{split}/{id}.tif'}}\nsplits: {train: split/train.txt}"
    with pytest.raises(ChipSetError, match="expected names of folders"):
        load_layout(layout_of(tmp_path, text))
    layout = load_layout(layout_of(tmp_path, "images: {DEM: {files: '{split}/{id}.tif'}}"))
    assert layout.split_folders == ("train", "val", "test")
    assert layout.images["DEM"].names(INPUT_MODALITIES["DEM"]) == ("DEM",)
