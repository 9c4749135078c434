import pytest

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.file_patterns import locate
from augment_store.chips.layouts import find_layout, read_split
from augment_store.errors import ChipSetError
from augment_store.utils.identifiers import MAX_NAME_BYTES
from tests.worlds import write_folder_chips, write_impactmesh_chips


def test_layout_is_found_by_its_files(tmp_path):
    write_folder_chips(tmp_path / "a", ["x_1_2"], size=16)
    write_impactmesh_chips(tmp_path / "b", ["x_1_2"], size=16)
    assert find_layout(tmp_path / "a").name == "folders"
    assert find_layout(tmp_path / "b").name == "impactmesh"


def test_ids_are_file_names_without_suffix_and_hidden_files_are_none(tmp_path):
    (tmp_path / "DEM").mkdir()
    for name in ("b_DEM.tif", "a_DEM.tif", "a_DEM.tif.aux.xml", ".x_DEM.tif", "c.tif"):
        (tmp_path / "DEM" / name).touch()
    assert locate(tmp_path, "DEM/{id}_DEM.tif").keys() == {"a", "b"}


def test_no_chips_names_what_was_expected(tmp_path):
    with pytest.raises(
        ChipSetError, match=r"no chips found; expected files such as .*S2L2A/\{id\}_S2L2A.zarr.zip"
    ):
        ChipSet.open(tmp_path)


def test_no_folder_and_unknown_layout(tmp_path):
    with pytest.raises(ChipSetError, match="no such folder"):
        ChipSet.open(tmp_path / "nowhere")
    with pytest.raises(
        ChipSetError, match=r"unknown layout 'tiles'; expected one of impactmesh, .*folders, or a YAML file"
    ):
        ChipSet.open(tmp_path, "tiles")


@pytest.mark.parametrize("line", ["a/b", "a\\b", "..", "../x"])
def test_split_with_a_path_separator_is_refused(tmp_path, line):
    split = tmp_path / "train.txt"
    split.write_text(f"good\n{line}\n")
    with pytest.raises(ChipSetError, match="path separator"):
        read_split(split)


def test_an_id_that_no_store_would_take_is_refused_before_anything_is_written(tmp_path):
    write_folder_chips(tmp_path / "longest", ["x" * MAX_NAME_BYTES], size=16)
    assert ChipSet.open(tmp_path / "longest").ids == ("x" * MAX_NAME_BYTES,)
    write_folder_chips(tmp_path / "longer", ["é" * 100 + "x"], size=16)  # 201 bytes, 101 characters
    with pytest.raises(
        ChipSetError, match=r"longer: chip id 'é+' is invalid: .* 200 bytes; .* rename the file"
    ):
        ChipSet.open(tmp_path / "longer")
    write_folder_chips(tmp_path / "bell", ["a\a"], size=16)
    with pytest.raises(
        ChipSetError, match=r"chip id 'a\\x07' is invalid: .*not printable.*; .* rename the file"
    ):
        ChipSet.open(tmp_path / "bell")


@pytest.mark.parametrize(("text", "message"), [("\n\n", "is empty"), ("a\nb\na\n", "appear twice: a;")])
def test_unusable_splits(tmp_path, text, message):
    split = tmp_path / "train.txt"
    split.write_text(text)
    with pytest.raises(ChipSetError, match=message):
        read_split(split)


def test_splits_limit_a_chip_set_and_are_found_at_the_layouts_place(tmp_path):
    root = write_folder_chips(tmp_path, ["a", "b", "c"], size=16)
    (root / "split").mkdir()
    (root / "split" / "train.txt").write_text("c\na\n\n")
    chips = ChipSet.open(root, splits=[root / "split" / "train.txt"])
    assert chips.ids == ("a", "c")
    assert ChipSet.open(root).splits == {"train": ("c", "a")}
