"""The legend table, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from augment_store.errors import ChipSetError
from augment_store.modalities.definitions import LULC_LEGEND
from augment_store.modalities.legend_table import LegendTable, legend_of_codes


def test_shipped_table_maps_every_class_as_agreed():
    table = LegendTable.load()
    assert [entry.name for entry in table.classes] == ["water", "developed", "forest", "herbaceous", "other"]
    lulc = np.array([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [255, 1, 1, 1, 1]], np.uint8)
    assert table.apply(lulc).tolist() == [[-1, 0, 2, 3, 3], [1, 4, -1, -1, 3], [-1, 0, 0, 0, 0]]


def test_a_table_that_ships_is_found_by_its_name():
    table = LegendTable.load(Path("flood"))
    assert [entry.name for entry in table.classes] == ["other", "water"]
    assert table.apply(np.arange(10, dtype=np.uint8)).tolist() == [-1, 1, 0, 1, 0, 0, 0, 0, -1, 0]


@pytest.mark.parametrize(
    ("name", "classes", "codes"),
    [  # some codes of each published map and their labels; −1 is no data
        ("worldcover", 11, {0: -1, 10: 0, 80: 7, 95: 9, 100: 10}),
        ("dynamic_world", 9, {0: 0, 4: 4, 8: 8}),
        ("esri", 8, {0: -1, 1: 0, 4: 2, 10: -1, 11: 7}),
        ("nlcd", 20, {0: -1, 11: 0, 43: 9, 95: 19}),
        ("corine", 44, {111: 0, 1: 0, 211: 11, 12: 11, 523: 43, 44: 43, 48: -1}),
    ],
)
def test_tables_of_published_maps_know_their_codes(name, classes, codes):
    table = LegendTable.load(Path(name))
    assert [entry.value for entry in table.classes] == list(range(classes))
    assert codes.items() <= table.codes.items()
    # every class but clouds, and no data, has a counterpart
    assert sorted(table.mapping) == [1, 2, 3, 4, 5, 6, 7, 9]
    names = [entry.name for entry in table.classes]
    assert names[table.mapping[1]].split()[-1] in {"water", "bodies"}


def test_codes_tell_their_table():
    assert legend_of_codes([10, 30, 100]).name == "worldcover"
    assert legend_of_codes([11, 21, 41, 82]).name == "nlcd"
    assert legend_of_codes([311, 312, 512]).name == "corine"
    assert legend_of_codes([1, 2]) is None
    assert legend_of_codes([10, 77]) is None


def test_own_table_is_read(tmp_path):
    path = tmp_path / "wet.yaml"
    path.write_text(
        "name: wet\nclasses:\n  - {value: 7, name: wet, rgb: [0, 0, 255]}\nmapping:\n  1: 7  # water: wet\n"
    )
    assert LegendTable.load(path).apply(np.array([0, 1], np.uint8)).tolist() == [-1, 7]
    path = tmp_path / "wet.json"
    classes = [{"value": 7, "name": "wet", "rgb": [0, 0, 255]}]
    path.write_text(json.dumps({"name": "wet", "classes": classes, "mapping": {"1": 7}}))
    assert LegendTable.load(path).apply(np.array([0, 1], np.uint8)).tolist() == [-1, 7]


@pytest.mark.parametrize("mapping", [{"10": 0}, {"1": 5}, {"water": 0}])
def test_mapping_outside_the_legends_is_refused(tmp_path, mapping):
    path = tmp_path / "bad.json"
    classes = [{"value": 0, "name": "water", "rgb": [0, 0, 255]}]
    path.write_text(json.dumps({"name": "bad", "classes": classes, "mapping": mapping}))
    with pytest.raises(ChipSetError, match=r"bad\.json"):
        LegendTable.load(path)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"mapping": {"1": 0.7}}, "mapping.1"),
        ({"sorce": "ours"}, "sorce: no such key"),
        ({"classes": [{"value": 0.5, "name": "water"}]}, "classes.0.value"),
        ({"classes": [{"value": 0, "name": "water", "rgb": [0, 0]}]}, "classes.0.rgb"),
    ],
)
def test_a_table_is_read_by_its_types(tmp_path, change, key):
    plain = {"name": "bad", "classes": [{"value": 0, "name": "water"}], "mapping": {"1": 0}}
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(plain))
    assert LegendTable.load(path).mapping == {1: 0}
    path.write_text(json.dumps(plain | change))
    with pytest.raises(ChipSetError, match=key.replace(".", r"\.")):
        LegendTable.load(path)


def test_damaged_file_is_one_line(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("name: [wet\nclasses: {")
    with pytest.raises(
        ChipSetError, match=r"bad\.yaml: cannot be read as a legend table \(.+\); expected .*mapping"
    ) as caught:
        LegendTable.load(path)
    assert "\n" not in str(caught.value)


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(ChipSetError, match=r"nowhere\.json: cannot be read"):
        LegendTable.load(tmp_path / "nowhere.json")


def test_a_class_is_drawn_in_the_colour_of_the_first_class_mapped_to_it(tmp_path):
    lulc = {entry.value: entry.rgb for entry in LULC_LEGEND}
    table = LegendTable.load()
    assert [entry.rgb for entry in table.classes] == [lulc[value] for value in (1, 5, 2, 9, 6)]
    classes = [{"value": 0, "name": "green"}, {"value": 1, "name": "wet", "rgb": [0, 0, 255]}]
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"name": "own", "classes": classes, "mapping": {"4": 0, "2": 0, "1": 1}}))
    assert [entry.rgb for entry in LegendTable.load(path).classes] == [lulc[4], (0, 0, 255)]
    path.write_text(json.dumps({"name": "own", "classes": classes, "mapping": {"1": 1}}))
    with pytest.raises(ChipSetError, match=r"own\.json: .*class 0 has no rgb and no LULC class"):
        LegendTable.load(path)
