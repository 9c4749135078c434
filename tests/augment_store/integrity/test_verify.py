import json
import shutil

import numpy as np
import pytest
import zarr

from augment_store.chips.chip_set import ChipSet
from augment_store.errors import ChipSetError, StoreError
from augment_store.integrity.repair import repair_store
from augment_store.integrity.verify import check_unchanged
from augment_store.integrity.verify import verify_store as find_problems
from augment_store.store.chip_index import ChipEntry
from augment_store.store.schema import ChipShape
from augment_store.store.writer import AugmentStore, ChipRecord
from generate.plan import entries_to_announce
from tests.worlds import BANDS, make_record, make_spec, make_store, rasters, write_folder_chips, write_tif


def verify(*arguments, **named):
    return [str(problem) for problem in find_problems(*arguments, **named)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with three chips and a complete store of them."""
    folder = tmp_path_factory.mktemp("written")
    chips = ChipSet.open(write_folder_chips(folder / "chips", ["a", "b", "c"]))
    given = {chip_id: {"input_digest": chips.read(chip_id, list(BANDS)).digests()} for chip_id in chips.ids}
    entries = [ChipEntry(chip_id, "s") for chip_id in chips.ids]
    make_store(folder / "store.zarr", 3, entries=entries, given=given, shard_chips=2)
    return folder


@pytest.fixture
def sound(written, tmp_path):
    """A copy of the store and of its chips, to damage."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return AugmentStore.open(tmp_path / "store.zarr", mode="r+"), ChipSet.open(tmp_path / "chips")


def test_a_sound_store_has_no_problems(sound):
    assert list(verify(*sound)) == []
    check_unchanged(*sound)


def test_pending_and_failed_chips(sound):
    store, _ = sound
    store.write_shard(1, [ChipRecord("c", {}, "S1RTC is NaN")])
    store.announce([ChipEntry("d", "s")])
    assert list(verify(store)) == [
        "chip c: failed: S1RTC is NaN",
        "chip d: pending; run the generate command again",
    ]


def test_a_shard_in_which_every_chip_failed_misses_no_results(tmp_path):
    store = AugmentStore.create(tmp_path / "s.zarr", make_spec(), ChipShape(1, 16, 16), 2)
    store.announce([ChipEntry("a", "s"), ChipEntry("b", "s")])
    store.write_shard(0, [ChipRecord("a", {}, "S1RTC is NaN")])
    assert verify(store) == [
        "chip a: failed: S1RTC is NaN",
        "chip b: pending; run the generate command again",
    ]


def test_classes_outside_the_legend(sound):
    store, chips = sound
    rewrite(store, chips, "a", lulc=10)
    assert list(verify(store)) == ["chip a: lulc holds 10, outside 0 to 9"]


def test_tokens_never_filled_in(sound):
    store, chips = sound
    rewrite(store, chips, "a", tokens=np.full((1, 1, 2, 2), 65535, np.uint16))
    rewrite(store, chips, "c", tokens=np.array([[[[1, 2], [3, 65535]]]], np.uint16))
    assert list(verify(store)) == [
        "chip a: tokens was never written",
        "chip c: tokens is not filled in everywhere",
    ]


def test_probabilities_of_tokens_lie_between_0_and_1(sound):
    store, chips = sound
    rewrite(store, chips, "a", token_probability=np.nan)
    assert verify(store) == ["chip a: token_probability holds nan, outside 0 to 1"]


def rewrite(store, chips, chip_id, **changes):
    """Writes a chip again as a faulty generator would."""
    digests = chips.read(chip_id, list(BANDS)).digests()
    record = make_record(store.spec, chip_id, extent=store.extent, input_digest=digests)
    for name, values in changes.items():
        record.arrays[name][...] = values
    store.write_shard(store.index(chip_id) // 2, [record])


def test_values_changed_behind_the_checksums_are_found(sound):
    store, _ = sound
    values = np.asarray(store.array("lulc")[0])
    store.array("lulc")[0] = (values + 1) % 10
    assert "lulc of chip a is not what was written for it" in verify(store)[0]
    with pytest.raises(StoreError, match="lulc of chip a is not what was written for it"):
        AugmentStore.open(store.path).read("a", "lulc")


@pytest.mark.parametrize(
    "name", ["tokens", "token_probability", "lulc", "confidence", "input_digest", "output_digest", "chip_id"]
)
def test_chunks_that_changed_places_are_found(tmp_path, name):
    """Each chunk is whole and has its right checksum; only it is another chip's."""
    entries = [ChipEntry(chip_id, f"scene {chip_id}") for chip_id in "abcd"]
    store = make_store(tmp_path / "store.zarr", 4, entries=entries, shard_chips=2)
    assert verify(AugmentStore.open(store.path)) == []
    if name == "chip_id":  # all in one object
        store.array(name)[:] = np.array(["c", "d", "a", "b"], object)
    else:
        first, second = store.path / name / "c/0", store.path / name / "c/1"
        first.rename(tmp_path / "aside")
        second.rename(first)
        (tmp_path / "aside").rename(second)
    problems = list(find_problems(AugmentStore.open(store.path)))
    assert {position for problem in problems for position in problem.positions} == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["scene_id", "transform"])
def test_scenes_that_changed_places_are_found(sound, name):
    store, _ = sound
    store.array(name)[0] = "elsewhere" if name == "scene_id" else np.ones(6)
    assert verify(store) == [
        "chip a: scene, coordinate reference system or transform is not what it was announced with; "
        "run the generate command again, which announces it again"
    ]


def test_a_shard_of_another_spec_is_found(sound, tmp_path):
    store, _ = sound
    other = AugmentStore.create(tmp_path / "other", make_spec(precision="bf16-true"), store.extent, 2)
    other.announce([ChipEntry(chip_id, "s") for chip_id in "abc"])
    other.write_shard(
        0, [make_record(other.spec, chip_id, 50 + i, store.extent) for i, chip_id in enumerate("ab")]
    )
    shutil.rmtree(store.path / "lulc/c/0")
    shutil.copytree(other.path / "lulc/c/0", store.path / "lulc/c/0")
    assert len(verify(AugmentStore.open(store.path))) == 2


@pytest.mark.parametrize("change", ["drop", "shape", "attributes", "kind"])
def test_consolidated_metadata_is_verified_and_written_anew(sound, change):
    store, _ = sound
    path = store.path / "zarr.json"
    group = json.loads(path.read_text())
    copies = group["consolidated_metadata"]["metadata"]
    if change == "drop":
        del copies["lulc"]
    elif change == "kind":
        group["consolidated_metadata"]["kind"] = None
    elif change == "shape":
        copies["lulc"]["shape"][0] = 7
    else:
        copies["lulc"]["attributes"]["flag_meanings"] = "nonsense"
    path.write_text(json.dumps(group))
    opened = AugmentStore.open(store.path, mode="r+")
    problems = list(find_problems(opened))
    assert "consolidated metadata is missing or differs from the arrays' own: " in str(problems[0])
    assert ("its kind" if change == "kind" else "lulc") in str(problems[0])
    assert repair_store(opened, problems) == 0
    assert verify(AugmentStore.open(store.path)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fill_value", 3),
        ("attributes", {"_FillValue": 3}),
        ("chunk_key_encoding", None),
        ("fill_value", 10**18),
    ],
)
def test_metadata_of_an_array_is_compared_with_the_schema(sound, key, value):
    store, _ = sound
    path = store.path / "lulc" / "zarr.json"
    array = json.loads(path.read_text())
    array[key] = value or {"name": "default", "configuration": {"separator": "."}}
    path.write_text(json.dumps(array))
    told = verify(AugmentStore.open(store.path))[0]
    assert (
        f"array lulc: {key} is" in told
        or f"lulc cannot be read ({key} is" in told
        or "(Python integer" in told
    )


def test_a_missing_shard_is_not_taken_for_fill_values(sound):
    store, _ = sound
    for file in (store.path / "confidence" / "c").rglob("*"):
        if file.is_file():
            file.unlink()
    assert list(verify(store)) == [
        "array confidence: the shard of chips 0 to 1 is missing",
        "array confidence: the shard of chips 2 to 2 is missing",
    ]


def test_flipped_bits_are_named(sound):
    store, _ = sound
    shard = store.path.joinpath("tokens", "c", *"00000")
    content = bytearray(shard.read_bytes())
    content[3] ^= 1
    shard.write_bytes(content)
    problems = list(verify(AugmentStore.open(store.path)))
    assert len(problems) == 1
    assert "tokens of chip a cannot be read" in problems[0]


def store_of_copies(path, names, digests=1):
    """A store of one chip whose second timestep is said to be a copy of the first, as it is in arrays `names`."""
    spec = make_spec()
    store = AugmentStore.create(path, spec, ChipShape(2, 32, 32), 2)
    store.announce([ChipEntry("a", "s")])
    record = make_record(spec, "a", 0)
    record.arrays["timestep_source"][:] = 0
    for name in names:
        record.arrays[name][:, 1] = record.arrays[name][:, 0]
    if digests == 1:
        record.arrays["input_digest"][1] = record.arrays["input_digest"][0]
    store.write_shard(0, [record])
    return store


COPIED = ("tokens", "token_probability", "lulc", "confidence")


def test_a_timestep_may_not_stand_for_another_input(tmp_path):
    store = store_of_copies(tmp_path / "s.zarr", COPIED, digests=2)
    assert list(verify(store)) == ["chip a: timestep_source [0, 0] joins timesteps of different input"]


@pytest.mark.parametrize(
    ("row", "sound"),
    [([0, 0], True), ([3, 9], True), ([-1, 0], False), ([4, 4], False), ([5, 2], False)],
)
def test_positions_in_a_series_rise(tmp_path, row, sound):
    taken = np.array([[0, 1], row, [0, 0]], np.int32)
    store = make_store(tmp_path / "s", 1, timesteps=2, given={"scene0_r0c0": {"series_index": taken}})
    name = store.spec.inputs[1].name
    message = f"chip scene0_r0c0: series_index {row} of {name} is not in rising order from 0 or more"
    assert list(verify(store)) == ([] if sound else [message])


def test_a_copy_that_differs_from_its_source_is_found(tmp_path):
    assert verify(store_of_copies(tmp_path / "sound.zarr", COPIED)) == []
    wrong = store_of_copies(tmp_path / "s.zarr", COPIED[:3])
    assert verify(wrong) == [
        "chip a: confidence of timestep 1 is not a copy of timestep 0, as timestep_source says"
    ]


def test_changed_missing_and_new_chips(sound):
    store, chips = sound
    write_tif(chips.folder / "S1RTC" / "b.tif", rasters(77, 32)["S1RTC"][0].astype(np.float32))
    (chips.folder / "S1RTC" / "c.tif").unlink()
    write_folder_chips(chips.folder, ["d"])
    assert list(verify(store, ChipSet.open(chips.root))) == [
        f"chip d: in {chips.folder} but not in the store",
        "chip b: content differs from what the store was generated from",
        "chip c: missing on disk or unreadable",
    ]
    both = r"1 chip \(c\): missing on disk or unreadable; 1 chip \(b\): content differs"
    with pytest.raises(ChipSetError, match=both):
        check_unchanged(store, chips)


def damage_first_object(store, column, how):
    chunk = store.path / column / "c" / "/".join("0" * store.array(column).ndim)
    content = bytearray(chunk.read_bytes())
    content[-6] ^= 1
    chunk.write_bytes(content) if how == "flip" else chunk.unlink()


def the_problem(store, column):
    """The only one there is, and of this column."""
    (problem,) = find_problems(store)
    assert column in str(problem)
    return problem


@pytest.mark.parametrize(
    "column", ["input_digest", "timestep_source", "series_index", "output_digest", "state"]
)
@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_damaged_results_are_found_and_made_again(sound, column, damage):
    store, chips = sound
    damage_first_object(store, column, damage)
    opened = AugmentStore.open(store.path, mode="r+")
    if (column, damage) == ("state", "delete"):  # never written or lost: either way to be generated
        assert verify(opened) == [
            f"chip {chip_id}: pending; run the generate command again" for chip_id in "ab"
        ]
        return
    assert repair_store(opened, [the_problem(opened, column)]) == 2
    opened.announce([ChipEntry(chip_id, "s") for chip_id in chips.ids])
    records = [make_record(store.spec, chip_id, i, store.extent) for i, chip_id in enumerate("ab")]
    opened.write_shard(0, records)
    assert verify(AugmentStore.open(store.path)) == []


@pytest.mark.parametrize("column", ["scene_id", "crs_wkt", "transform", "entry_digest"])
@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_damaged_entries_are_announced_again_and_cost_no_map(sound, column, damage):
    store, chips = sound
    damage_first_object(store, column, damage)
    opened = AugmentStore.open(store.path, mode="r+")
    assert repair_store(opened, [the_problem(opened, column)]) == 0
    scenes = dict.fromkeys(chips.ids, "s")
    entries = entries_to_announce(chips, scenes, opened)
    # written without a place, which is what fill values say: of the two columns of places nothing was lost
    assert [entry.chip_id for entry in entries] == (
        [] if column in {"crs_wkt", "transform"} else list(chips.ids)
    )
    opened.announce(entries)
    assert verify(AugmentStore.open(store.path)) == []


def test_a_sample_reads_the_maps_of_as_many_chips_and_everything_else_of_all(tmp_path):
    store = make_store(tmp_path / "s", chips=12, size=16, shard_chips=2, pending=1)
    for shard in range(5):
        path = store.path / "lulc/c" / str(shard) / "0/0/0/0"
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    pending = ["chip scene1_r2c3: pending; run the generate command again"]
    assert verify(store, random=0) == pending
    found = [problem.positions for problem in find_problems(store, random=4, seed=3) if problem.positions]
    drawn = np.sort(np.random.default_rng(3).choice(12, 4, replace=False)).tolist()
    assert found == [(position,) for position in drawn if position < 10]
    assert len(verify(store)) == 11


def test_a_damaged_neighbour_is_repaired_and_generated_again(sound):
    store, _ = sound
    shard = store.path.joinpath("lulc", "c", *"00000")
    content = bytearray(shard.read_bytes())
    content[40] ^= 0xFF
    shard.write_bytes(content)
    opened = AugmentStore.open(store.path, mode="r+")
    record = make_record(store.spec, "b", 5, store.extent)
    with pytest.raises(StoreError, match=r"lulc of chip a cannot be read .*verify .* --repair"):
        opened.write_shard(0, [record])
    assert repair_store(opened, find_problems(opened)) == 2  # b too: some of its arrays are new, others old
    opened.write_shard(0, [record])
    assert verify(opened) == ["chip a: pending; run the generate command again"]


def test_schema_problems_end_the_search(sound):
    store, _ = sound
    group = zarr.open_group(store.path, mode="r+")
    group.update_attributes({"fingerprint": "forged"})
    del group["confidence"]
    problems = list(verify(AugmentStore.open(store.path)))
    assert problems[0].startswith("fingerprint forged is not the spec's")
    assert "no array 'confidence'" in problems[1]
    assert len(problems) == 2
