import pytest

from augment_store.chips.scenes import scenes_by_pattern, scenes_by_table
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
    with pytest.raises(ChipSetError, match="no scene for 1 chips, the first 'c'"):
        scenes_by_table(["a", "c"], table)


@pytest.mark.parametrize("text", ["a,b,c\n", "only\n"])
def test_table_needs_two_columns(tmp_path, text):
    table = tmp_path / "scenes.csv"
    table.write_text(text)
    with pytest.raises(ChipSetError, match="expected two columns"):
        scenes_by_table(["a"], table)


def test_missing_table(tmp_path):
    with pytest.raises(ChipSetError, match="cannot read the scene table"):
        scenes_by_table(["a"], tmp_path / "none.csv")
