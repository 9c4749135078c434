"""The floor plan holds: no import circle and no upward arrow, also inside functions and under TYPE_CHECKING."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools.structure import PACKAGES, arrows_between_rooms, find_circle, module_graph, room_graph

FLOORS = (
    "cli",
    "api",
    "publish",
    "inspect export integrity",
    "store",
    "chips",
    "modalities",
    "io",
    "utils",
    "errors",
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms.split()}


def test_arrows_in_augment_store_point_down():
    arrows = arrows_between_rooms(ROOT / "augment_store")
    upward = [
        (path, module)
        for room in LEVEL
        for path, module in arrows[room]
        if LEVEL.get(module.split(".")[1], -1) <= LEVEL[room]
    ]
    assert not upward
    assert set(arrows) - set(LEVEL) <= {"__init__", "__main__", "testing"}


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_of_a_package_form_no_circle(package):
    assert find_circle(room_graph(arrows_between_rooms(ROOT / package))) == []


def test_an_arrow_inside_a_function_counts(tmp_path, monkeypatch):
    package = tmp_path / "house"
    (package / "kitchen").mkdir(parents=True)
    (package / "kitchen" / "stove.py").write_text("from house.cellar import wood\n")
    (package / "cellar.py").write_text(
        "def fetch():\n    from house.kitchen.stove import heat\n    return heat\n"
    )
    assert find_circle(room_graph(arrows_between_rooms(package))) in (
        ["kitchen", "cellar", "kitchen"],
        ["cellar", "kitchen", "cellar"],
    )
    monkeypatch.chdir(tmp_path)
    assert module_graph([Path("house")])["house.cellar"] == {"house.kitchen.stove"}
