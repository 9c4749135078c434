import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augment_store.integrity.verify import verify_store
from augment_store.store import chip_index as module
from augment_store.store import schema
from augment_store.store.chip_index import ChipEntry, read_entries
from augment_store.store.schema import ENTRY_CHIPS, ChipShape, State
from augment_store.store.writer import AugmentStore
from tests.worlds import make_spec


def opened(store):
    return AugmentStore.open(store.path)


def test_ids_are_a_sequence_of_what_was_announced(store):
    ids = opened(store).chip_ids
    assert ids == ("chip0", "chip1", "chip2", "chip3", "chip4")
    assert (len(ids), ids[-1], ids[1:3], "chip3" in ids, "chip5" in ids, 3 in ids) == (
        *(5, "chip4", ("chip1", "chip2")),
        *(True, False, False),
    )
    with pytest.raises(IndexError, match="position 5 of 5 chips"):
        ids[5]


def test_opening_reads_no_id_and_a_lookup_few(tmp_path, monkeypatch):
    """Three objects of ids: a chip of the last is found without reading the ids of the others."""
    store = AugmentStore.create(tmp_path / "s", make_spec(), ChipShape(1, 16, 16), shard_chips=64)
    total = 2 * ENTRY_CHIPS + 10
    store.announce([ChipEntry(f"c{i:06d}", "s") for i in range(total)])
    read = []
    region = module.ChipIds._read
    monkeypatch.setattr(module.ChipIds, "_read", lambda self, n: read.append(n) or region(self, n))
    again = opened(store)
    assert read == []
    assert again.index(f"c{total - 1:06d}") == total - 1
    assert read == [2]
    assert again.index("c000000") == 0
    assert read == [2, 0]
    assert list(again.chip_ids._sorted) == [2, 0]


def test_a_store_of_several_objects_of_ids_is_sound_and_grows(tmp_path):
    store = AugmentStore.create(tmp_path / "s", make_spec(), ChipShape(1, 16, 16), shard_chips=512)
    wanted = [f"c{i * 7919 % 10_007:05d}" for i in range(2 * ENTRY_CHIPS + 5)]
    store.announce([ChipEntry(chip_id, f"s{chip_id[-1]}") for chip_id in wanted])
    more = [f"b{i}" for i in range(ENTRY_CHIPS)]
    opened_again = AugmentStore.open(store.path, mode="r+")
    opened_again.announce([ChipEntry(chip_id, "b") for chip_id in more])
    again = opened(store)
    assert again.chip_ids == (*wanted, *more)
    assert [again.index(chip_id) for chip_id in (wanted[4097], more[0], more[-1])] == [4097, 4101, 6148]
    ranked = sorted([*wanted, *more])
    assert again.values("sorted_id").tolist() == ranked
    assert again.values("sorted_first").tolist() == ranked[::ENTRY_CHIPS]
    assert {entry.scene_id for entry in read_entries(again).values()} == {"b", *(f"s{i}" for i in range(10))}
    pending = [str(problem) for problem in verify_store(again)]
    assert len(pending) == len(wanted) + len(more)
    assert all("pending" in problem for problem in pending)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lots=st.lists(st.lists(st.text("ab_é", min_size=1, max_size=4)), min_size=1, max_size=3))
def test_any_ids_are_found_whatever_their_order(tmp_path_factory, lots):
    store = AugmentStore.create(tmp_path_factory.mktemp("ids") / "s", make_spec(), ChipShape(1, 16, 16), 3)
    expected = tuple(dict.fromkeys(chip_id for lot in lots for chip_id in lot))
    for lot in lots:
        store.announce([ChipEntry(chip_id, "s") for chip_id in lot])
    again = opened(store)
    assert [again.chip_ids.find(chip_id) for chip_id in expected] == list(range(len(expected)))
    assert again.chip_ids._all is None  # each was found by bisection
    assert again.chip_ids.find("never") is None
    assert again.chip_ids.find("") is None


def test_lookups_that_were_not_written_yet_cost_time_only(store, monkeypatch):
    """As a kill after the ids were written and before the sorted ones were."""
    monkeypatch.setattr(AugmentStore, "_write_lookup", lambda *_: None)
    store.announce([ChipEntry("a_new_one", "s")])
    again = opened(store)
    assert (again.index("a_new_one"), again.index("chip4")) == (5, 4)
    monkeypatch.undo()
    store.announce([ChipEntry("a_new_one", "s")])
    assert opened(store).values("sorted_id").tolist()[0] == "a_new_one"


def test_zarr_and_the_reader_of_objects_agree(store):
    group = zarr.open_group(store.path, mode="r")
    for described in store.schemas():
        ours, theirs = store.values(described.name), np.asarray(group[described.name])
        np.testing.assert_array_equal(ours, theirs.astype(ours.dtype), err_msg=described.name)
        assert ours.flags.writeable
    assert {described.role for described in store.schemas()} == set(schema.Role)
    assert store.chips_in(State.FAILED) == ()
