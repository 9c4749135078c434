import pytest

from augment_store.chips.scenes import SCENE_PATTERN, scenes_by_pattern, scenes_by_rule, scenes_by_table
from augment_store.errors import ChipSetError


def test_default_pattern_strips_row_and_column():
    ids = ["nyc_20210704_r003c012", "433D_629L_3_1", "plain"]
    assert scenes_by_pattern(ids) == {
        "nyc_20210704_r003c012": "nyc_20210704",
        "433D_629L_3_1": "433D_629L",
        "plain": "plain",
    }


def test_patterns_that_cannot_be_or_leave_nothing():
    with pytest.raises(ChipSetError, match="neither a file nor a regular expression"):
        scenes_by_pattern(["a"], "(")
    with pytest.raises(ChipSetError, match="leaves nothing of chip id 'a'"):
        scenes_by_pattern(["a"], ".*")


def test_table_gives_scenes_and_names_missing_chips(tmp_path):
    table = tmp_path / "scenes.csv"
    table.write_text("chip,scene\na,one\nb, two\n")
    assert scenes_by_table(["a", "b"], table) == {"a": "one", "b": "two"}
    with pytest.raises(ChipSetError, match="no scene for 1 chip, the first 'c'"):
        scenes_by_table(["a", "c"], table)


@pytest.mark.parametrize("text", ["a,b,c\n", "only\n"])
def test_table_needs_two_columns(tmp_path, text):
    table = tmp_path / "scenes.csv"
    table.write_text(text)
    with pytest.raises(ChipSetError, match="expected two columns"):
        scenes_by_table(["a"], table)


def test_a_rule_is_a_file_or_a_pattern_that_matches(tmp_path):
    table = tmp_path / "scenes.txt"
    table.write_text("a_1,one\nb_2,two\n")
    assert scenes_by_rule(["a_1", "b_2"], str(table)) == {"a_1": "one", "b_2": "two"}
    assert scenes_by_rule(["a_1", "b_2"], r"_\d$") == {"a_1": "a", "b_2": "b"}
    assert scenes_by_rule(["plain"], SCENE_PATTERN) == {"plain": "plain"}
    with pytest.raises(
        ChipSetError, match=r"'scene.txt' is not a file, .* matches no chip id, such as 'a_1'"
    ):
        scenes_by_rule(["a_1", "b_2"], "scene.txt")
    with pytest.raises(ChipSetError, match=r"typo.csv: cannot read the scene table"):
        scenes_by_rule(["a_1"], "typo.csv")


def test_missing_table_is_named_once_with_what_was_expected(tmp_path):
    with pytest.raises(ChipSetError) as caught:
        scenes_by_table(["a"], tmp_path / "none.csv")
    assert str(caught.value) == (
        f"{tmp_path}/none.csv: cannot read the scene table (No such file or directory); expected a CSV file with the "
        "columns chip and scene"
    )


@pytest.mark.parametrize("scene", ["é" * 100 + "x", "bell\a"])  # 201 bytes, 101 characters
def test_scenes_that_no_file_can_be_called_after(tmp_path, scene):
    table = tmp_path / "scenes.csv"
    table.write_text(f"a,{scene}\nb,{'é' * 100}\n")
    assert scenes_by_table(["b"], table) == {"b": "é" * 100}
    with pytest.raises(
        ChipSetError, match=r"scenes.csv: scene '.+' is invalid: .* 200 bytes; rename the scene"
    ):
        scenes_by_table(["a"], table)
    with pytest.raises(ChipSetError, match=r"--scenes '_1\$': scene '.+' is invalid"):
        scenes_by_pattern([f"{scene}_1"], "_1$")
