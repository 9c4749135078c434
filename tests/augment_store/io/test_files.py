"""Files and folders written whole or not at all: kills, links, full disks, two writers of one name."""

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio

from augment_store.errors import OutputError
from augment_store.io.files import atomic_folder, atomic_path, atomic_write, read_text
from augment_store.io.raster_file import atomic_raster
from tests.disks import small_disk

LEFT = ".draft.0123456789abcdef"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path):
    target = tmp_path / "deep" / "report.txt"
    atomic_write(target, [b"one", b"two"])

    def broken():
        yield b"half"
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        atomic_write(target, broken())
    assert target.read_bytes() == b"onetwo"
    assert names(target.parent) == ["report.txt"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "report.txt").symlink_to(victim)
    atomic_write(tmp_path / "report.txt", [b"new"])
    assert victim.read_text() == "precious"
    assert (tmp_path / "report.txt").read_bytes() == b"new"
    assert not (tmp_path / "report.txt").is_symlink()


def test_a_draft_that_became_a_link_is_refused(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")

    def write():
        with atomic_path(tmp_path / "report.txt") as draft:
            draft.unlink()
            draft.symlink_to(victim)

    with pytest.raises(OutputError, match=r"report\.txt: cannot be written"):
        write()
    assert names(tmp_path) == ["victim"]


def test_a_folder_never_takes_the_place_of_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "bundle").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="exists"), atomic_folder(tmp_path / "bundle"):
        pass
    assert names(tmp_path / "elsewhere") == []


def test_drafts_of_the_dead_are_deleted_and_those_of_the_living_stay(tmp_path):
    (tmp_path / LEFT).write_bytes(b"half")
    (tmp_path / LEFT.replace("0", "f")).mkdir()
    (tmp_path / LEFT.replace("0", "f") / "x").write_bytes(b"half")
    (tmp_path / ".draft.of-a-poem").write_text("a user's own file")
    with atomic_path(tmp_path / "a") as draft:
        atomic_write(tmp_path / "b", [b"two at once"])
        assert draft.exists()
        draft.write_bytes(b"one")
    assert names(tmp_path) == [".draft.of-a-poem", "a", "b"]


@pytest.mark.slow
def test_a_killed_writer_leaves_a_draft_that_the_next_one_clears(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from augment_store.io.files import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1])) as draft:\n"
        "    (draft / 'x').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=False)
    assert [name[:7] for name in names(tmp_path)] == [".draft."]
    with atomic_folder(tmp_path / "out") as draft:
        (draft / "x").write_text("whole")
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out/x").read_text() == "whole"


def test_a_folder_is_replaced_in_whole(tmp_path):
    out = tmp_path / "out"
    for name in ("old", "new"):
        with atomic_folder(out, replaces=True) as draft:
            (draft / name).touch()
            # until the new one is complete
            assert [path.name for path in out.glob("*")] == ([] if name == "old" else ["old"])
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new"]


def test_what_is_renamed_was_flushed_before(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: order.append(str(Path(f"/proc/self/fd/{fd}").readlink())) or fsync(fd)
    )
    monkeypatch.setattr(os, "replace", lambda a, b: order.append("rename") or replace(a, b))
    atomic_write(tmp_path / "a", [b"x"])
    assert [Path(step).name[:7] for step in order] == [".draft.", "rename", tmp_path.name[:7]]


def test_a_file_system_that_cannot_flush_folders_is_written_to(tmp_path, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    atomic_write(tmp_path / "a", [b"x"])
    assert (tmp_path / "a").read_bytes() == b"x"


def test_a_raster_that_does_not_fit_on_the_disk_is_not_there(tmp_path):
    values = np.random.default_rng(0).integers(0, 2**15, (1, 64, 64)).astype("int16")
    profile = {"height": 64, "width": 64, "count": 1, "dtype": "int16"}
    with (
        pytest.raises(OutputError, match=r"map\.tif: cannot be written \(File too large\)"),
        small_disk(1024),
        atomic_raster(tmp_path / "map.tif", **profile) as target,
    ):
        target.write(values)
    assert names(tmp_path) == []


def test_a_raster_replaces_half_a_file(tmp_path):
    (tmp_path / "map.tif").write_bytes(b"II*\0\x08\0\0\0")
    with atomic_raster(tmp_path / "map.tif", height=16, width=16, count=1, dtype="uint8") as target:
        target.write(np.full((1, 16, 16), 7, "uint8"))
    with warnings.catch_warnings(action="ignore"), rasterio.open(tmp_path / "map.tif") as found:
        assert (found.read() == 7).all()


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "split.txt").write_bytes("\ufefft_0\n".encode())
    assert read_text(tmp_path / "split.txt") == "t_0\n"


@pytest.mark.parametrize("metadata", ["zarr.json", ".zgroup", ".zarray"])
@pytest.mark.parametrize("inside", ["page.html", "zarr.json", "lulc/c/0", "new/folder/page.html", "linked"])
def test_nothing_is_written_into_a_zarr_store(tmp_path, metadata, inside):
    store = tmp_path / "store"
    store.mkdir()
    (store / metadata).write_text("{}")
    (tmp_path / "link").symlink_to(store)
    path = tmp_path / "link" / "page.html" if inside == "linked" else store / inside
    with pytest.raises(OutputError, match=f"lies within the Zarr store {store}"):
        atomic_write(path, [b"page"])
    with pytest.raises(OutputError, match="lies within the Zarr store"), atomic_folder(path):
        pass
    assert {file.name: file.read_text() for file in store.rglob("*")} == {metadata: "{}"}
