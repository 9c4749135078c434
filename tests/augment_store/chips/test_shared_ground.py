"""Chips of two splits that show the same ground."""

import numpy as np
import pytest

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.shared_ground import find_copies, find_overlaps, read_boxes
from tests.worlds import EAST, write_tif

IDS = {"train": ("a_0_0", "b_0_0"), "test": ("c_0_0",)}


def pairs(root, east, splits=IDS):
    """Chips of 16 px of 10 m, the third one at `east` metres from the first."""
    for chip_id, offset in (("a_0_0", 0), ("b_0_0", 1000), ("c_0_0", east)):
        write_tif(root / "DEM" / f"{chip_id}.tif", np.zeros((1, 16, 16), np.int16), east=EAST + offset)
    boxes = read_boxes(ChipSet.open(root), splits, (16, 16))
    return [(one.chip_id, other.chip_id) for one, other in find_overlaps(boxes)]


@pytest.mark.parametrize(
    ("east", "expected"),
    [
        (0, [("a_0_0", "c_0_0")]),  # another date of the same tile
        (150, [("a_0_0", "c_0_0")]),  # one column of 16
        (160, []),  # the neighbor
        (159, []),  # less than a hundredth: rounding
        (900, [("c_0_0", "b_0_0")]),
        (5000, []),
    ],
)
def test_chips_of_two_splits_that_overlap_are_found(tmp_path, east, expected):
    assert pairs(tmp_path, east) == expected


def test_chips_of_one_split_may_overlap(tmp_path):
    assert pairs(tmp_path, 0, {"train": ("a_0_0", "c_0_0"), "test": ("b_0_0",)}) == []


def test_equal_inputs_in_two_splits_are_found():
    inputs = {"train": {b"1": "a", b"2": "b"}, "val": {b"3": "c"}, "test": {b"2": "d", b"3": "e"}}
    assert find_copies(inputs) == [("b", "d"), ("c", "e")]
