"""Maps of windows that are kept: those of another scene of the same name are replaced."""

from types import SimpleNamespace

import pytest

from augment_store.chips.georeference import Georeference
from augment_store.store.schema import ChipShape, State
from augment_store.store.writer import AugmentStore
from augment_store.testing import make_record, make_spec
from predict.kept_maps import KeptMaps

pytestmark = pytest.mark.slow

SPEC, EXTENT = make_spec(), ChipShape(1, 32, 32)


def windows(east):
    """Windows that lie at a place."""
    place = Georeference("EPSG:32618", (10.0, 0.0, east, 0.0, -10.0, 0.0))
    return SimpleNamespace(georeference=lambda chip_id: place)


def test_no_map_is_complete_at_the_place_of_another_scene(tmp_path, monkeypatch, capsys):
    """Where the command is killed between announcing a window anew and writing its map."""
    may = [make_record(SPEC, name, 0, EXTENT) for name in ("s2_r000c000", "s2_r000c001")]
    KeptMaps(tmp_path / "kept", SPEC, EXTENT, "tim-predict").add(windows(0.0), "s2", may)
    assert "replaced" not in capsys.readouterr().err
    june = KeptMaps(tmp_path / "kept", SPEC, EXTENT, "tim-predict")
    monkeypatch.setattr(june.store, "write_shard", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        june.add(windows(500.0), "s2", may[:1])
    assert "maps of windows of s2 are of another input, and replaced" in capsys.readouterr().err
    left = AugmentStore.open(tmp_path / "kept")
    assert left.chips_in(State.COMPLETE) == ("s2_r000c001",)
    assert left.chips_in(State.PENDING) == ("s2_r000c000",)
