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


def test_opening_reads_no_id_and_the_first_question_all(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "ID_CHIPS", 2 * ENTRY_CHIPS)
    monkeypatch.setattr(module, "ID_CHIPS", 2 * ENTRY_CHIPS)
    store = AugmentStore.create(tmp_path / "s", make_spec(), ChipShape(1, 16, 16), shard_chips=64)
    total = 2 * ENTRY_CHIPS + 10
    store.announce([ChipEntry(f"c{i:06d}", "s") for i in range(total)])
    read = []
    values = AugmentStore.values
    monkeypatch.setattr(
        AugmentStore, "values", lambda self, name, *where: read.append(name) or values(self, name, *where)
    )
    again = opened(store)
    assert read == []
    assert again.index(f"c{total - 1:06d}") == total - 1
    assert again.index("c000000") == 0
    assert read == ["chip_id", "chip_id"]  # of two objects


@pytest.mark.slow
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
    assert {entry.scene_id for entry in read_entries(again).values()} == {"b", *(f"s{i}" for i in range(10))}
    pending = [str(problem) for problem in verify_store(again)]
    assert len(pending) == len(wanted) + len(more)
    assert all("pending" in problem for problem in pending)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lots=st.lists(st.lists(st.text("ab_é", min_size=1, max_size=4)), min_size=1, max_size=3))
def test_any_ids_are_found_whatever_their_order(tmp_path_factory, lots):
    store = AugmentStore.create(tmp_path_factory.mktemp("ids") / "s", make_spec(), ChipShape(1, 16, 16), 3)
    expected = tuple(dict.fromkeys(chip_id for lot in lots for chip_id in lot))
    for lot in lots:
        store.announce([ChipEntry(chip_id, "s") for chip_id in lot])
    again = opened(store)
    assert [again.chip_ids.find(chip_id) for chip_id in expected] == list(range(len(expected)))
    assert again.chip_ids.find("never") is None
    assert again.chip_ids.find("") is None


def test_zarr_and_the_reader_of_objects_agree(store):
    group = zarr.open_group(store.path, mode="r")
    for described in store.schemas():
        ours, theirs = store.values(described.name), np.asarray(group[described.name])
        np.testing.assert_array_equal(ours, theirs.astype(ours.dtype), err_msg=described.name)
        assert ours.flags.writeable
    assert {described.role for described in store.schemas()} == set(schema.Role)
    assert store.chips_in(State.FAILED) == ()
