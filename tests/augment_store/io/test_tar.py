"""Chips in tar archives as TerraMesh has them, and archives that are damaged or hostile."""

import io
import tarfile

import numpy as np
import pytest

from augment_store.chips import rasters as reading
from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layouts import load_layout
from augment_store.cli.main import main
from augment_store.errors import ChipDataError, ChipSetError
from augment_store.io.tar import ArchivedPath
from tests.worlds import rasters, write_tif, write_zarr_zip

SHARDS = {
    "majortom_shard_000001": ("majortom_val_1", "majortom_val_2"),
    "ssl4eos12_shard_000009": ("ssl4eos12_val_7",),
}


def pack(path, files, mode="w"):
    """A tar archive of contents by name; a `TarInfo` brings its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in files:
            entry = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = entry.size or len(content)
            tar.addfile(entry, io.BytesIO(content) if content else None)
    return path


def zipped(tmp_path, raster):
    write_zarr_zip(tmp_path / "one.zarr.zip", raster)
    return (tmp_path / "one.zarr.zip").read_bytes()


@pytest.fixture
def root(tmp_path):
    """Two shards of a split: chips of one timestep by modality, as published."""
    seed = 0
    for shard, ids in SHARDS.items():
        made = {chip_id: rasters(seed + place, 32) for place, chip_id in enumerate(ids)}
        seed += len(ids)
        for name in ("S2L2A", "DEM"):
            files = [
                (f"{i}.zarr.zip", zipped(tmp_path, r[name].reshape(1, -1, 32, 32))) for i, r in made.items()
            ]
            pack(tmp_path / "val" / name / f"{shard}.tar", files)
    return tmp_path / "val"


def test_terramesh_is_read_as_published(root):
    chips = ChipSet.open(root)
    assert chips.layout.name == "terramesh"
    assert chips.ids == tuple(chip_id for ids in SHARDS.values() for chip_id in ids)
    for seed, chip_id in enumerate(chips.ids):
        chip = chips.read(chip_id, ["S2L2A", "DEM"])
        np.testing.assert_array_equal(chip.rasters["S2L2A"], rasters(seed, 32)["S2L2A"])
    shard = root / "S2L2A" / "ssl4eos12_shard_000009.tar"
    assert chips.path("ssl4eos12_val_7", "S2L2A") == shard / "ssl4eos12_val_7.zarr.zip"
    assert not chips.has("ssl4eos12_val_8", "S2L2A")
    assert main(["layouts", "check", "terramesh", "--chips", str(root)]) == 0


def test_an_archive_that_is_added_or_written_again_is_looked_at(root, tmp_path):
    first = rasters(5, 32)["S2L2A"]
    ChipSet.open(root)
    pack(root / "S2L2A" / "new.tar", [("./new.zarr.zip", zipped(tmp_path, first))])
    chips = ChipSet.open(root)
    assert "new" in chips.ids
    second = np.concatenate([first + 1] * 2)[:1]
    pack(root / "S2L2A" / "new.tar", [("README", b"?"), ("new.zarr.zip", zipped(tmp_path, second))])
    np.testing.assert_array_equal(chips.raster("new", "S2L2A"), first + 1)


def test_geotiffs_in_an_archive_have_their_place(tmp_path):
    write_tif(tmp_path / "a.tif", rasters(0, 32)["DEM"][0])
    pack(tmp_path / "chips" / "all.tar", [("a_DEM.tif", (tmp_path / "a.tif").read_bytes())])
    layout = tmp_path / "layout.yaml"
    layout.write_text("name: mine\nimages: {DEM: {files: 'all.tar/{id}_DEM.tif'}}\n")
    chips = ChipSet.open(tmp_path / "chips", str(layout))
    assert "32618" in chips.georeference("a").crs_wkt
    np.testing.assert_array_equal(chips.raster("a", "DEM"), rasters(0, 32)["DEM"])


@pytest.mark.parametrize(
    "files", ["S2*/{id}.tif", "S2/*.tar/*{id}.tif", "*.tar/S2/{id}.tif", "S*/x.tar/{id}.tif"]
)
def test_a_star_stands_for_archives_or_whole_folders_only(tmp_path, files):
    (tmp_path / "layout.yaml").write_text(f"name: mine\nimages: {{DEM: {{files: '{files}'}}}}\n")
    with pytest.raises(
        ChipSetError,
        match=r"expected \* for a whole folder, .* or in the name of archives, as in S2L2A/\*\.tar/\{id\}",
    ):
        load_layout(str(tmp_path / "layout.yaml"))


def linked(name, kind, target):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def test_only_plain_files_at_the_top_are_chips(root, tmp_path):
    content = zipped(tmp_path, rasters(0, 32)["S2L2A"])
    secret = tmp_path / "secret.zarr.zip"
    secret.write_bytes(content)
    files = [
        (name, content)
        for name in ("../up.zarr.zip", "/root.zarr.zip", "folder/in.zarr.zip", ".hidden.zarr.zip")
    ]
    files += [
        (linked("symbolic.zarr.zip", tarfile.SYMTYPE, str(secret)), b""),
        (linked("hard.zarr.zip", tarfile.LNKTYPE, "../up.zarr.zip"), b""),
        (linked("pipe.zarr.zip", tarfile.FIFOTYPE, ""), b""),
    ]
    pack(root / "S2L2A" / "hostile.tar", files)
    assert ChipSet.open(root).ids_of("S2L2A") == {chip_id for ids in SHARDS.values() for chip_id in ids}


def refused(root, capsys):
    assert main(["layouts", "check", "terramesh", "--chips", str(root)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_damaged_archives_are_a_line(root, capsys):
    shard = root / "S2L2A" / "majortom_shard_000001.tar"
    whole = shard.read_bytes()
    with tarfile.open(shard) as tar:
        second = tar.getmember("majortom_val_2.zarr.zip")
    ends = second.offset_data + -(-second.size // 512) * 512
    header = whole[: second.offset] + b"\xff" * 512 + whole[second.offset + 512 :]
    for content, reason in (
        (whole[: second.offset_data + 100], "unexpected end of data"),
        (whole[:ends], "it has no end mark where its files end"),
        (header, "it has no end mark where its files end"),
        (b"", "empty file"),
        (b"\x1f\x8b" + b"x" * 2000, "invalid header"),
    ):
        shard.write_bytes(content)
        line = refused(root, capsys)
        assert f"{shard}: not a whole, uncompressed tar archive ({reason}); download it again" in line


def test_a_name_twice_is_a_line(root, tmp_path, capsys):
    content = zipped(tmp_path, rasters(0, 32)["S2L2A"])
    other = pack(root / "S2L2A" / "other.tar", [("majortom_val_1.zarr.zip", content)])
    first = root / "S2L2A" / "majortom_shard_000001.tar"
    assert f"{other}: holds majortom_val_1.zarr.zip, as {first} does" in refused(root, capsys)
    pack(other, [("b.zarr.zip", content), ("./b.zarr.zip", content)])
    assert f"{other}: not a whole, uncompressed tar archive (b.zarr.zip appears twice)" in refused(
        root, capsys
    )


def test_sizes_that_are_lies(root, capsys, monkeypatch):
    back = tarfile.TarInfo("back.zarr.zip")
    back.size = -1024
    forged = root / "S2L2A" / "forged.tar"
    forged.write_bytes(back.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    assert f"{forged}: not a whole, uncompressed tar archive (" in refused(
        root, capsys
    )  # newer Pythons see it too
    forged.unlink()
    monkeypatch.setattr(reading, "MAX_RASTER_BYTES", 1000)
    with pytest.raises(
        ChipDataError, match=r"majortom_val_1.zarr.zip: cannot be read \(.* bytes, at most 1,000"
    ):
        ChipSet.open(root).raster("majortom_val_1", "S2L2A")


def test_a_path_that_no_archive_holds(root):
    path = ArchivedPath(root, "S2L2A", "majortom_shard_000001.tar", "x.zarr.zip")
    assert not path.is_file()
    assert path.resolve() == path
    for read in (path.stat, path.read_bytes):
        with pytest.raises(FileNotFoundError):
            read()
