"""Stores whose writer was killed at every single write: they resume, and end as one never interrupted."""

import json
import os
import shutil

import pytest

from augment_store.cli.main import main
from augment_store.errors import StoreError
from augment_store.integrity.repair import repair_store
from augment_store.integrity.verify import verify_store
from augment_store.store.chip_index import ChipEntry
from augment_store.store.schema import State
from augment_store.store.summary import summarize
from augment_store.store.writer import AugmentStore
from finetune.augment.augmentation import Augmentation, AugmentRequest
from tests.faults.kills import killed_at
from tests.faults.scenarios import OLD, contents, extend, make_old, mend, rename_scenes, write_pending
from tests.worlds import EXTENT, make_spec

pytestmark = pytest.mark.slow

STRIDE = int(os.environ.get("TIM_STORE_KILL_EVERY", "11"))
"""Every so many writes is one at which to kill; 1 for all of them."""


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A complete store of three chips in two shards."""
    path = tmp_path_factory.mktemp("faults") / "old"
    make_old(path)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an extended store holds when nothing interrupts it."""
    path = tmp_path_factory.mktemp("faults") / "whole"
    make_old(path)
    extend(path)
    found = contents(path)
    assert found["problems"] == []
    return found


def writes_of(action, path):
    with killed_at(10**9) as seen:
        action(path)
    return seen.writes


def test_killed_at_every_write_a_store_resumes_and_ends_the_same(old, whole, tmp_path):
    shutil.copytree(old, tmp_path / "counted")
    writes = writes_of(extend, tmp_path / "counted")
    assert writes > 40
    for write in range(0, writes, STRIDE):
        path = tmp_path / f"killed_{write}"
        shutil.copytree(old, path)
        with killed_at(write):
            extend(path)
        complete = set(AugmentStore.open(path).chips_in(State.COMPLETE))
        assert {entry.chip_id for entry in OLD} <= complete, write
        extend(path)
        assert contents(path) == whole, write
        shutil.rmtree(path)


def lose_ids(path, how):
    """Damages or removes the ids of all three chips."""
    chunk = path / "chip_id/c/0"
    if how == "removed":
        chunk.unlink()
    else:
        chunk.write_bytes(chunk.read_bytes()[:-1] + bytes([chunk.read_bytes()[-1] ^ 1]))


SCENES = {entry.chip_id: entry.scene_id for entry in OLD}


@pytest.mark.parametrize("how", ["removed", "damaged"])
@pytest.mark.parametrize(
    "scenes", [SCENES, {"0_other": "a", "a_3": "a", **SCENES, "b": "b"}], ids=["same", "others beside"]
)
def test_lost_ids_are_refused_and_restored(old, tmp_path, how, scenes):
    """From the ids of the chip set, also where others stand before and between them."""
    path = tmp_path / "store"
    shutil.copytree(old, path)
    lose_ids(path, how)
    with pytest.raises(StoreError, match=r"verify .* --chips DIR --repair restores"):
        AugmentStore.open(path).index("a_0")
    mending = AugmentStore.open(path, mode="r+", lost_ids=True)
    assert repair_store(mending, verify_store(mending), scenes) == 0
    again = AugmentStore.open(path)
    assert again.chip_ids == ("a_0", "a_1", "a_2")
    assert list(verify_store(again)) == []


@pytest.mark.parametrize("proof", ["candidates", "entry_digest", "scene_id"])
def test_lost_ids_without_proof_are_made_again(old, tmp_path, proof):
    path = tmp_path / "store"
    shutil.copytree(old, path)
    lose_ids(path, "damaged")
    scenes = {} if proof == "candidates" else SCENES
    if scenes:
        shutil.rmtree(path / proof / "c")
    mending = AugmentStore.open(path, mode="r+", lost_ids=True)
    assert repair_store(mending, verify_store(mending), scenes) == 3
    resumed = AugmentStore.open(path, mode="r+")
    assert resumed.chips_in(State.COMPLETE) == ()
    resumed.announce(OLD)
    write_pending(resumed)
    again = AugmentStore.open(path)
    assert again.chip_ids == ("a_0", "a_1", "a_2")
    assert list(verify_store(again)) == []


def test_a_repair_without_chips_changes_nothing_where_ids_are_lost(old, tmp_path, capsys):
    path = tmp_path / "store"
    shutil.copytree(old, path)
    lose_ids(path, "damaged")
    assert main(["verify", str(path), "--repair"]) == 2
    assert (
        "ids of chips are lost, and nothing was changed; name the chip set as --chips"
        in capsys.readouterr().err
    )
    assert AugmentStore.open(path).values("state").tolist() == [State.COMPLETE] * 3


@pytest.mark.parametrize(
    "column", ["state", *(pytest.param(c, marks=pytest.mark.nightly) for c in ("chip_id", "input_digest"))]
)
def test_a_repair_killed_at_every_write_can_be_repeated(old, whole, tmp_path, column):
    def damaged(name):
        path = tmp_path / name
        shutil.copytree(old, path)
        first = path / column / "c/0"
        shutil.rmtree(first) if first.is_dir() else first.unlink()
        return path

    for write in range(0, writes_of(mend, damaged("counted")), STRIDE):
        path = damaged(f"killed_{write}")
        with killed_at(write):
            mend(path)
        mend(path)
        extend(path)
        assert contents(path) == whole, write


def test_a_missing_map_is_refused_by_name(old, tmp_path):
    path = tmp_path / "store"
    shutil.copytree(old, path)
    shutil.rmtree(path / "lulc/c/0")
    store = AugmentStore.open(path)
    with pytest.raises(StoreError, match=r"lulc of chip a_0 is missing from the disk"):
        store.read("a_0", "lulc")
    assert store.read("a_2", "lulc").shape == (1, 2, 32, 32)


@pytest.mark.parametrize("name", ["../out", "/etc/x", "a\x00b", "x" * 300, "..", "\x1b[2J"])
def test_ids_that_lead_elsewhere_are_refused(tmp_path, name):
    store = AugmentStore.create(tmp_path / "store", make_spec(), EXTENT, shard_chips=2)
    store.announce([ChipEntry(name, "a")])
    with pytest.raises(StoreError, match=r"chip id .* is invalid"):
        AugmentStore.open(tmp_path / "store").index("b")


def test_a_store_never_announced_is_not_called_sound(tmp_path):
    store = AugmentStore.create(tmp_path / "store", make_spec(), EXTENT)
    assert [str(problem) for problem in verify_store(store)] == [
        "no chip was ever announced; run the generate command"
    ]


def test_a_change_of_scenes_killed_at_every_write_is_resumed(old, tmp_path):
    shutil.copytree(old, tmp_path / "counted")
    for write in range(writes_of(rename_scenes, tmp_path / "counted")):
        path = tmp_path / f"killed_{write}"
        shutil.copytree(old, path)
        with killed_at(write):
            rename_scenes(path)
        rename_scenes(path)
        again = AugmentStore.open(path)
        assert list(verify_store(again)) == [], write
        assert set(again.values("scene_id")) == {"elsewhere"}


def test_columns_longer_than_state_are_no_traceback(old, tmp_path):
    """As a kill while chips are announced leaves them."""
    path = tmp_path / "store"
    shutil.copytree(old, path)
    array = AugmentStore.open(path, mode="r+").array("scene_id")
    array.resize((5,))
    assert set(Augmentation(AugmentRequest(path, ("onehot",)), 1).scenes) == {entry.chip_id for entry in OLD}
    assert summarize(AugmentStore.open(path))["scenes"] == 1


@pytest.mark.parametrize("name", ["output_digest", "lulc", "chip_id"])
def test_columns_cut_short_are_a_line_to_readers(old, tmp_path, name):
    path = tmp_path / "store"
    shutil.copytree(old, path)
    metadata = path / name / "zarr.json"
    plain = json.loads(metadata.read_text())
    plain["shape"][0] = 2
    metadata.write_text(json.dumps(plain))
    with pytest.raises(StoreError):
        AugmentStore.open(path).read("a_2", "lulc")
