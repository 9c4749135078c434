"""Stores written at URLs: a local S3 server, and fsspec's memory where the server has to misbehave."""

import json
import os
import socket

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from augment_store.cli.main import main
from augment_store.errors import RemotePathError, StoreError
from augment_store.integrity.verify import verify_store
from augment_store.io.lock import StoreBusyError, store_lock
from augment_store.io.objects import create, put, remove
from augment_store.io.remote import as_path
from augment_store.store.chip_index import ChipEntry
from augment_store.store.schema import Role, State
from augment_store.store.writer import AugmentStore
from tests.servers import s3_bucket
from tests.worlds import EXTENT, make_record, make_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A folder in a bucket, with nothing but a note."""
    folder = tmp_path_factory.mktemp("bucket")
    (folder / "note.txt").write_text("x")
    with s3_bucket(folder) as url:
        yield url


@pytest.fixture
def lock():
    """The lock of a store in memory."""
    path = as_path("memory://locks/.store.lock")
    yield path
    remove(path)


STORE = as_path("memory://locks/store")


def test_a_store_written_in_a_bucket_is_the_store_on_disk(bucket, tmp_path):
    expected = make_store(tmp_path / "store", failed={"scene0_r0c1": "no data"})
    found = make_store(as_path(f"{bucket}/store"), failed={"scene0_r0c1": "no data"})
    for store in (found, AugmentStore.open(f"{bucket}/store")):
        for schema in expected.schemas():
            np.testing.assert_array_equal(store.values(schema.name), expected.values(schema.name))
    assert [str(problem) for problem in verify_store(found)] == ["chip scene0_r0c1: failed: no data"]


def test_what_a_writer_reads_is_what_it_wrote(bucket):
    """Also where it has read the object before: chips of a shard are kept as they are."""
    store = make_store(as_path(f"{bucket}/twice"), chips=2, size=32, timesteps=2, pending=1)
    first, second = store.chip_ids
    kept = store.read(first, "lulc")
    assert store.chips_in(State.COMPLETE) == (first,)
    store.write_shard(0, [make_record(store.spec, second, extent=EXTENT)])
    assert store.chips_in(State.COMPLETE) == (first, second)
    np.testing.assert_array_equal(store.read(first, "lulc"), kept)
    store.write_shard(0, [make_record(store.spec, second, seed=1, extent=EXTENT)])
    expected = make_record(store.spec, second, seed=1, extent=EXTENT).arrays["lulc"]
    np.testing.assert_array_equal(store.read(second, "lulc"), expected)


def test_a_shard_takes_a_put_for_each_array_and_few_other_requests(bucket, monkeypatch):
    s3fs = pytest.importorskip("s3fs")
    store = make_store(as_path(f"{bucket}/counted"), pending=4)
    store.write_shard(1, [make_record(store.spec, store.chip_ids[4], extent=store.extent)])
    asked = []
    call = s3fs.S3FileSystem._call_s3

    def count(self, method, *given, **named):
        asked.append(method)
        return call(self, method, *given, **named)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", count)
    record = make_record(store.spec, store.chip_ids[4], seed=1, extent=store.extent)
    store.write_shard(1, [record])
    written = [schema for schema in store.schemas() if schema.role not in {Role.ENTRY, Role.ID}]
    assert asked.count("put_object") == len(written)
    assert len(asked) <= len(written) + 12


@pytest.mark.nightly
def test_objects_that_stand_for_folders_are_no_harm(bucket, spec):
    """As consoles and tools make them."""
    files = fsspec.filesystem("s3")
    files.pipe_file(f"{bucket}/console/", b"")
    store = AugmentStore.create(as_path(f"{bucket}/console"), spec, EXTENT)
    files.pipe_file(f"{bucket}/console/lulc/", b"")
    store.announce([ChipEntry("a", "s")])
    again = AugmentStore.open(f"{bucket}/console", mode="r+")
    again.consolidate()
    assert tuple(again.chip_ids) == ("a",)
    assert [str(problem) for problem in verify_store(again)] == [
        "chip a: pending; run the generate command again"
    ]


@pytest.mark.nightly
def test_damage_in_a_bucket_is_repaired(bucket, capsys):
    url = f"{bucket}/repaired"
    make_store(as_path(url))
    remove(as_path(f"{url}/lulc/c/1/0/0/0/0"))
    assert main(["verify", url, "--repair"]) == 1
    assert "the shard of chips 4 to 7 is missing" in (told := capsys.readouterr().out)
    assert "4 chips set back to pending" in told
    store = AugmentStore.open(url, mode="r+")
    left = store.chips_in(State.PENDING)
    assert left == tuple(store.chip_ids[4:])
    store.write_shard(1, [make_record(store.spec, chip_id, extent=store.extent) for chip_id in left])
    assert main(["verify", url]) == 0
    assert not as_path(f"{bucket}/.repaired.lock").exists()


def test_a_place_that_is_taken_is_refused(bucket, spec):
    put(as_path(f"{bucket}/taken/lulc/c/0"), b"x")
    for place in ("taken", "note.txt"):
        with pytest.raises(StoreError, match=f"{place}: exists and is not an augment store"):
            AugmentStore.create(as_path(f"{bucket}/{place}"), spec, EXTENT)
    AugmentStore.create(as_path(f"{bucket}/made"), spec, EXTENT)
    with pytest.raises(StoreError, match="made: exists and is not an augment store"):
        AugmentStore.create(as_path(f"{bucket}/made"), spec, EXTENT)


def test_arrays_of_a_store_that_was_only_begun_are_not_kept(bucket, spec):
    """It may have been of another spec."""
    put(as_path(f"{bucket}/begun/probabilities/zarr.json"), b"{}")
    store = AugmentStore.create(as_path(f"{bucket}/begun"), spec, EXTENT)
    assert not (store.path / "probabilities").exists()


def test_a_missing_bucket_is_named(bucket, spec):
    with pytest.raises(
        RemotePathError, match=r"s3://no-such-bucket/s/.*: cannot be written \(.*bucket.*\); check"
    ):
        AugmentStore.create(as_path("s3://no-such-bucket/s"), spec, EXTENT)


def test_a_second_run_is_told_who_writes(bucket):
    store = as_path(f"{bucket}/locked")
    with store_lock(store, "python -m generate --store x"):
        with pytest.raises(StoreBusyError) as raised, store_lock(store, "python -m generate"):
            pass
        told = json.loads(as_path(f"{bucket}/.locked.lock").read_bytes())
    assert str(raised.value) == (
        f"{store}: another run is writing here: python -m generate --store x (process {os.getpid()} on "
        f"{socket.gethostname()}, since {told['time']}). Wait for it to end; if it is dead, delete its lock: aws s3 rm "
        f"{bucket}/.locked.lock"
    )
    with store_lock(store, "python -m generate"):
        pass


def test_a_lock_that_says_nothing_is_a_lock(lock):
    put(lock, b"{}")
    with (
        pytest.raises(
            StoreBusyError, match=r"does not say which.*delete its lock: the object memory://locks/"
        ),
        store_lock(STORE, "x"),
    ):
        pass
    assert lock.read_bytes() == b"{}"


def test_a_server_that_overwrites_is_no_place_for_a_store(lock, monkeypatch):
    original = MemoryFileSystem.pipe_file
    monkeypatch.setattr(
        MemoryFileSystem, "pipe_file", lambda self, path, value, mode="": original(self, path, value)
    )
    with pytest.raises(RemotePathError, match="cannot lock, as it overwrites"), store_lock(STORE, "x"):
        pass
    assert not lock.exists()


def test_a_lock_whose_answer_was_lost_is_held(lock, monkeypatch):
    """The client repeats the request, and is refused because of its own lock."""
    original = MemoryFileSystem.pipe_file

    def repeated(self, path, value, mode="overwrite"):
        if mode == "create" and not self.exists(path):
            original(self, path, value)
        return original(self, path, value, mode=mode)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", repeated)
    with store_lock(STORE, "x"):
        assert b'"command": "x"' in lock.read_bytes()
    assert not lock.exists()


def test_a_lock_whose_answer_was_an_error_is_not_left(lock, monkeypatch):
    original = MemoryFileSystem.pipe_file

    def fails(self, path, value, mode="overwrite"):
        original(self, path, value, mode=mode)
        raise OSError("timed out")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fails)
    with pytest.raises(RemotePathError, match="timed out"), store_lock(STORE, "x"):
        pass
    assert not lock.exists()


def test_what_went_wrong_first_is_what_is_said(lock):
    def write():
        with store_lock(STORE, "x"):
            remove(lock)
            raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="the disk is full"):
        write()


def test_a_lock_that_somebody_took_away_is_reported(lock):
    def write():
        with store_lock(STORE, "x"):
            remove(lock)
            create(lock, b"{}")

    with pytest.raises(StoreBusyError, match="deleted or replaced while"):
        write()
    assert lock.read_bytes() == b"{}"
    assert not fsspec.filesystem("memory").exists("/locks/store")
