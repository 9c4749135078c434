import json
import shutil

import numpy as np
import pytest
import xarray
import zarr

from augment_store.chips.georeference import Georeference
from augment_store.errors import ChipNotFoundError, StoreError
from augment_store.store.chip_index import ChipEntry, read_entries, read_entry
from augment_store.store.schema import MAX_SHARD_CHIPS, ChipShape, State
from augment_store.store.spec import MAX_SAMPLES
from augment_store.store.writer import AugmentStore, ChipRecord
from tests.worlds import EXTENT, make_record, make_sampling, make_spec


def test_what_is_written_is_read(store, spec):
    for i in range(4):
        for name, values in make_record(spec, f"chip{i}", i).arrays.items():
            read = store.read(f"chip{i}", name)
            np.testing.assert_array_equal(read, values)
            assert read.dtype == values.dtype
    assert store.chips_in(State.COMPLETE) == ("chip0", "chip1", "chip2", "chip3")
    assert store.chips_in(State.PENDING) == ("chip4",)


def test_interrupted_between_arrays_and_state_the_chip_stays_pending(store, spec, monkeypatch):
    written = zarr.Array.__setitem__

    def full_at_lulc(array, region, values):
        if array.basename == "lulc":
            raise OSError(28, "No space left on device")
        written(array, region, values)

    monkeypatch.setattr(zarr.Array, "__setitem__", full_at_lulc)
    with pytest.raises(OSError, match="No space left"):
        store.write_shard(2, [make_record(spec, "chip4", 4)])
    again = AugmentStore.open(store.path)
    assert again.chips_in(State.PENDING) == ("chip4",)
    np.testing.assert_array_equal(again.read("chip0", "lulc"), make_record(spec, "chip0", 0).arrays["lulc"])


def test_interrupted_announcing_is_made_good_by_the_next_call(store, monkeypatch):
    entries = [ChipEntry(f"new{i}", "s9") for i in range(3)]

    def stop(self):
        raise KeyboardInterrupt

    before = store.chip_ids
    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "__setitem__", lambda *_: stop(store))
        with pytest.raises(KeyboardInterrupt):
            store.announce(entries)
    again = AugmentStore.open(store.path, mode="r+")
    assert tuple(filter(None, again.chip_ids)) == before
    again.announce(entries)
    assert AugmentStore.open(store.path).chip_ids == (*before, "new0", "new1", "new2")
    assert AugmentStore.open(store.path).values("scene_id")[-1] == "s9"


def test_a_state_that_was_cut_short_is_announced_anew_and_loses_no_earlier_chip(store):
    metadata = store.path / "state" / "zarr.json"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "shape": [1]}))
    again = AugmentStore.open(store.path, mode="r+")
    again.announce([ChipEntry(f"chip{i}", f"scene{i // 2}") for i in range(5)])
    reopened = AugmentStore.open(store.path)
    assert reopened.chip_ids == ("chip0", "chip1", "chip2", "chip3", "chip4")
    assert reopened.values("state").tolist() == [State.COMPLETE, *[State.PENDING] * 4]


def test_an_entry_announced_again_is_renewed(store):
    store.announce([ChipEntry("chip1", "other", Georeference("WKT", (10, 0, 5, 0, -10, 7)))])
    assert len(store.chip_ids) == 5
    assert read_entries(store)["chip1"] == ChipEntry(
        "chip1", "other", Georeference("WKT", (10, 0, 5, 0, -10, 7))
    )
    assert read_entry(store, "chip0").scene_id == "scene0"
    with pytest.raises(ValueError, match="scene_id belongs to the entry of a chip"):
        store.read("chip0", "scene_id")


@pytest.mark.parametrize(("name", "value"), [("scene_id", "elsewhere"), ("transform", np.ones(6))])
def test_an_entry_that_was_changed_is_refused(store, name, value):
    store.array(name)[1] = value
    with pytest.raises(
        StoreError, match=r"of chip chip1 is not what it was announced with; run the generate"
    ):
        read_entry(store, "chip1")
    with pytest.raises(StoreError, match="chip1"):
        read_entries(store)
    assert read_entry(store, "chip0").scene_id == "scene0"


def test_interrupted_making_leaves_no_store(tmp_path, spec, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Group, "create_array", stop)
        with pytest.raises(KeyboardInterrupt):
            AugmentStore.create(tmp_path / "s.zarr", spec, EXTENT)
    assert not (tmp_path / "s.zarr").exists()
    made = AugmentStore.create(tmp_path / "s.zarr", spec, EXTENT, 4)
    assert made.chip_ids == ()
    assert list(tmp_path.iterdir()) == [tmp_path / "s.zarr"]


@pytest.mark.parametrize(
    ("samples", "extent", "shard_chips", "message"),
    [
        (MAX_SAMPLES + 1, EXTENT, 2, r"attribute spec.sampling.samples: .*1000, found '1001'"),
        (1, EXTENT, MAX_SHARD_CHIPS + 1, r"attribute shard_chips: .*65536, found '65537'"),
        (1, ChipShape(1001, 32, 32), 2, r"attribute extent.timesteps: .*1000, found '1001'"),
        (1, ChipShape(1, 15, 32), 2, r"attribute extent.height: .*16, found '15'"),
        (1, ChipShape(1, 32, 9000), 2, r"attribute extent.width: .*8192, found '9000'"),
    ],
)
def test_what_no_reader_would_open_is_not_made(tmp_path, samples, extent, shard_chips, message):
    spec = make_spec(samples=samples)
    with pytest.raises(StoreError, match=message + "; no store can be made from it"):
        AugmentStore.create(tmp_path / "s", spec, extent, shard_chips)
    assert list(tmp_path.iterdir()) == []


def test_appending_keeps_what_is_there(store, spec):
    before = store.read("chip3", "lulc")
    again = AugmentStore.open(store.path, mode="r+")
    again.announce(
        [ChipEntry("chip2", "x"), ChipEntry("new", "s9", Georeference("WKT", (10, 0, 5, 0, -10, 7)))]
    )
    reopened = AugmentStore.open(store.path)
    assert reopened.chip_ids == ("chip0", "chip1", "chip2", "chip3", "chip4", "new")
    assert reopened.shard_chips == 2
    assert reopened.values("transform")[5].tolist() == [10, 0, 5, 0, -10, 7]
    np.testing.assert_array_equal(reopened.read("chip3", "lulc"), before)


def test_another_spec_is_refused_and_its_fields_named(store):
    other = make_spec(sampling=make_sampling(temperature=0.5, seed=7))
    with pytest.raises(StoreError, match=r"sampling.seed: 0 ≠ 7; sampling.temperature: 1.0 ≠ 0.5"):
        store.check_fits(other, EXTENT)


def test_another_extent_is_refused(store, spec):
    with pytest.raises(StoreError, match="holds 2 timesteps of 32 px, the chips have 4 timesteps of 32 px"):
        store.check_fits(spec, ChipShape(4, 32, 32))


def test_not_a_store(tmp_path, spec):
    with pytest.raises(StoreError, match="not an augment store"):
        AugmentStore.open(tmp_path)
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(StoreError, match=r"no schema_version"):
        AugmentStore.open(tmp_path / "other.zarr")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("keep")
    with pytest.raises(StoreError, match="exists and is not an augment store"):
        AugmentStore.create(tmp_path / "full", spec, EXTENT)
    assert (tmp_path / "full" / "precious.txt").read_text() == "keep"


def test_another_schema_version(store):
    zarr.open_group(store.path, mode="r+").update_attributes({"schema_version": 99})
    with pytest.raises(StoreError, match="schema version 99, expected 7"):
        AugmentStore.open(store.path)


def test_flipped_bits_are_found_on_reading(store):
    shard = store.path.joinpath("lulc", "c", *"00000")
    content = bytearray(shard.read_bytes())
    content[40] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(StoreError, match="lulc of chip chip0 cannot be read"):
        AugmentStore.open(store.path).read("chip0", "lulc")


def test_values_that_change_after_they_were_read_are_compared_again(store):
    reader = AugmentStore.open(store.path)
    values = reader.read("chip0", "lulc")
    np.testing.assert_array_equal(reader.read("chip0", "lulc"), values)
    store.array("lulc")[0] = (values + 1) % 10  # with a checksum that is right
    with pytest.raises(StoreError, match="lulc of chip chip0 is not what was written for it"):
        reader.read("chip0", "lulc")
    np.testing.assert_array_equal(reader.read("chip1", "lulc"), store.read("chip1", "lulc"))


def test_recording_the_same_finding_again_keeps_it_once_and_mends_a_killed_record(store):
    finding = {"modality": "DEM", "message": "all zero"}
    store.record_audit([finding])
    written = (store.path / "zarr.json").read_bytes()
    kept = json.loads(written)
    del kept["consolidated_metadata"]  # as a kill between the two writes leaves it
    (store.path / "zarr.json").write_text(json.dumps(kept))
    again = AugmentStore.open(store.path, mode="r+")
    again.record_audit([finding])
    assert json.loads((store.path / "zarr.json").read_bytes()) == json.loads(written)
    assert AugmentStore.open(store.path).audit == [finding]


def test_garbage_metadata(store):
    (store.path / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match="the store is damaged"):
        AugmentStore.open(store.path)


def test_unknown_chip_and_array(store):
    with pytest.raises(ChipNotFoundError, match="no chip 'chip99' among its 5 chips"):
        store.read("chip99", "lulc")
    with pytest.raises(StoreError, match="no array 'ndvi' in this LULC store"):
        store.read("chip0", "ndvi")
    with pytest.raises(ChipNotFoundError, match="no chip 'lulc' among its 5 chips"):
        store.read("lulc", "chip0")  # the order of 0.1.0


def test_records_that_do_not_fit_are_refused(store, spec):
    with pytest.raises(StoreError, match="shard 0 holds"):
        store.write_shard(0, [make_record(spec, "chip4", 0)])
    record = make_record(spec, "chip4", 0)
    missing = {name: values for name, values in record.arrays.items() if name != "confidence"}
    with pytest.raises(StoreError, match="'confidence' is missing"):
        store.write_shard(2, [ChipRecord("chip4", missing)])
    with pytest.raises(StoreError, match=r"'lulc' has shape \(1, 16\)"):
        store.write_shard(2, [ChipRecord("chip4", {**record.arrays, "lulc": np.zeros((1, 16), np.uint8)})])
    assert store.chips_in(State.PENDING) == ("chip4",)


def test_xarray_opens_it_with_named_dimensions_and_cf_flags(store):
    dataset = xarray.open_zarr(store.path)
    assert dataset["lulc"].dims == ("chip", "sample", "time", "y", "x")
    assert dataset["lulc"].attrs["flag_values"] == list(range(10))
    assert dataset["lulc"].attrs["flag_meanings"].split()[5] == "built_area"
    assert dataset["tokens"].dims == ("chip", "sample", "time", "ty", "tx")
    np.testing.assert_allclose(dataset["confidence"][0], store.read("chip0", "confidence") / 255)
    assert np.isnan(dataset["lulc"][4]).all()


def test_a_copy_of_the_folder_is_the_same_store(store, tmp_path):
    shutil.copytree(store.path, tmp_path / "copy")
    assert AugmentStore.open(tmp_path / "copy").fingerprint == store.fingerprint
