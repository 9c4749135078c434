"""Where chips lie, kept between runs: believed only where no file of a chip has changed."""

import numpy as np
import pytest

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference
from finetune.data import survey_cache
from finetune.data.place_cache import read_places
from tests.worlds import EAST, make_world, write_tif


@pytest.fixture
def chips(tmp_path, monkeypatch):
    """Chips whose files count as settled, though they were written a moment ago."""
    monkeypatch.setattr(survey_cache, "SETTLED", 0)
    splits = {"train": ("a_0_0", "a_0_1"), "val": ("b_0_0",)}
    return make_world(tmp_path / "chips", 16, 1, splits).chips


@pytest.fixture
def asked(monkeypatch):
    """Ids of the chips whose headers were read."""
    found = []
    reading = ChipSet.georeference
    monkeypatch.setattr(
        ChipSet, "georeference", lambda chips, chip_id: (found.append(chip_id), reading(chips, chip_id))[1]
    )
    return found


def test_places_are_read_once_and_again_where_a_file_has_changed(chips, asked, tmp_path):
    first = read_places(chips, chips.ids, tmp_path / "kept")
    assert first == {chip_id: chips.georeference(chip_id) for chip_id in chips.ids}
    asked.clear()
    assert read_places(chips, chips.ids, tmp_path / "kept") == first
    assert not asked
    moved = chips.ids[1]
    write_tif(chips.path(moved, "DEM"), np.zeros((1, 16, 16), np.int16), EAST + 1000)
    assert read_places(chips, chips.ids, tmp_path / "kept")[moved].transform[2] == EAST + 1000
    assert asked == [moved]
    read_places(chips, chips.ids, None)
    assert sorted(asked) == sorted([moved, *chips.ids])


def test_a_chip_that_lies_nowhere_is_kept_as_such(chips, asked, tmp_path):
    chip_id = chips.ids[0]
    chips.path(chip_id, "DEM").unlink()
    chips.mask_path(chip_id).unlink()
    again = ChipSet.open(chips.root)
    for _ in range(2):
        assert repr(read_places(again, [chip_id], tmp_path / "kept")) == repr({chip_id: Georeference()})
    assert asked == [chip_id]
