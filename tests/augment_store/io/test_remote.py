"""Stores and chip sets at URLs: a local S3 server, and HTTP servers with and without ranges."""

import functools
import json
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.scenes import scenes_by_rule
from augment_store.cli.main import main
from augment_store.errors import RemotePathError, StoreError
from augment_store.integrity.verify import verify_store
from augment_store.io.files import short_path
from augment_store.io.lock import file_lock, store_lock
from augment_store.io.objects import RemoteObject
from augment_store.io.remote import RemotePath, as_path, without_secrets
from augment_store.store.writer import AugmentStore
from tests.servers import Ranges, Whole, s3_bucket, web_site
from tests.worlds import make_store, write_folder_chips, write_impactmesh_chips

pytestmark = pytest.mark.slow

IDS = ("a_r0c0", "a_r0c1")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A sound store and chips in two layouts, on disk."""
    root = tmp_path_factory.mktemp("places")
    make_store(root / "store")
    write_impactmesh_chips(root / "chips", IDS)
    write_folder_chips(root / "folders", IDS)
    return root


@pytest.fixture(scope="module")
def bucket(places):
    """The same in a bucket."""
    with s3_bucket(places) as url:
        yield url


@pytest.fixture(scope="module", params=[Ranges, Whole])
def site(request, places):
    """The same on a web server."""
    with web_site(places, request.param) as url:
        yield url


def assert_same_store(found: AugmentStore, expected: AugmentStore) -> None:
    assert tuple(found.chip_ids) == tuple(expected.chip_ids)
    for chip_id in expected.chip_ids:
        for name in (*expected.map_names, "input_digest", "timestep_source"):
            np.testing.assert_array_equal(found.read(chip_id, name), expected.read(chip_id, name))


def test_a_store_in_a_bucket_is_the_store_on_disk(bucket, places):
    store = AugmentStore.open(f"{bucket}/store")
    assert str(store.path) == f"{bucket}/store"
    assert_same_store(store, AugmentStore.open(places / "store"))
    assert list(verify_store(store)) == []


def test_a_store_on_a_web_server_is_the_store_on_disk(site, places):
    """Also where the server answers a request for a range with the whole file."""
    store = AugmentStore.open(f"{site}/store")
    assert_same_store(store, AugmentStore.open(places / "store"))
    assert list(verify_store(store)) == []


def test_a_chip_is_one_request_once_its_shard_is_known(bucket, monkeypatch):
    store = AugmentStore.open(f"{bucket}/store")
    first, second = store.chip_ids[0], store.chip_ids[1]  # of one shard
    store.read(first, "lulc")
    asked = []
    ask = RemotePath.ask
    monkeypatch.setattr(
        RemotePath, "ask", lambda self, method, **more: asked.append(method) or ask(self, method, **more)
    )
    store.read(second, "lulc")
    assert asked == ["cat_file"]


def _chip_of(store: AugmentStore, chip_id: str) -> np.ndarray:
    return store.read(chip_id, "lulc")


def test_a_forked_worker_reads_the_store_its_parent_opened(bucket, places):
    """fsspec refuses a file system that was made before the fork, so a data loader's workers need one of their own."""
    store = AugmentStore.open(f"{bucket}/store")
    chip_id = store.chip_ids[0]
    _chip_of(store, chip_id)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(functools.partial(_chip_of, store, chip_id)).get(timeout=60)
    np.testing.assert_array_equal(found, AugmentStore.open(places / "store").read(chip_id, "lulc"))


@pytest.mark.parametrize(("folder", "layout"), [("chips", "impactmesh"), ("folders", "folders")])
def test_chips_in_a_bucket_are_the_chips_on_disk(bucket, places, folder, layout):
    found, expected = ChipSet.open(f"{bucket}/{folder}", layout), ChipSet.open(places / folder, layout)
    assert found.ids == expected.ids == IDS
    for chip_id in IDS:
        chips = (chips.read(chip_id, ("S2L2A", "S1RTC", "DEM")) for chips in (found, expected))
        for name, raster in next(chips).rasters.items():
            np.testing.assert_array_equal(raster, expected.raster(chip_id, name))
            assert raster.dtype == expected.raster(chip_id, name).dtype
        assert found.georeference(chip_id) == expected.georeference(chip_id)
        assert expected.georeference(chip_id).crs_wkt


def test_a_layout_is_found_in_a_bucket(bucket):
    assert ChipSet.open(f"{bucket}/chips").layout.name == "impactmesh"


@pytest.mark.nightly
def test_commands_read_a_bucket(bucket, tmp_path, capsys):
    assert main(["info", f"{bucket}/store"]) == 0
    assert "fingerprint" in capsys.readouterr().out
    assert main(["verify", f"{bucket}/store"]) == 0
    assert capsys.readouterr().out == f"{bucket}/store: sound, 8 chips\n"
    assert main(["export", f"{bucket}/store", "--format", "geotiff", "--out", str(tmp_path / "maps")]) == 0
    assert len(list((tmp_path / "maps").rglob("*.tif"))) == 16  # class map and confidence of eight chips
    assert main(["inspect", f"{bucket}/store", "--html", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_chips_on_a_web_server_that_lists_folders_are_the_chips_on_disk(site, places):
    found, expected = ChipSet.open(f"{site}/chips"), ChipSet.open(places / "chips")
    assert found.ids == expected.ids == IDS
    np.testing.assert_array_equal(
        found.read(IDS[0], ("S2L2A",)).digests(), expected.read(IDS[0], ("S2L2A",)).digests()
    )


def test_damage_in_a_bucket_is_named(bucket, places):
    """A flipped byte is damage, as on disk; the chips of the other shard are read all the same."""
    files = fsspec.filesystem("s3")
    source, target = f"{bucket}/store", f"{bucket}/damaged"
    files.copy(source, target, recursive=True)
    content = bytearray(files.cat_file(f"{target}/lulc/c/0/0/0/0/0"))
    content[10] ^= 1
    files.pipe_file(f"{target}/lulc/c/0/0/0/0/0", bytes(content))
    store = AugmentStore.open(target)
    with pytest.raises(StoreError, match="checksum does not match its content"):
        store.read(store.chip_ids[0], "lulc")
    store.read(store.chip_ids[4], "lulc")
    files.rm(f"{target}/lulc/c/1/0/0/0/0")
    store = AugmentStore.open(target)
    with pytest.raises(StoreError, match="missing from the disk"):
        store.read(store.chip_ids[4], "lulc")


def line_of(capsys, *arguments: str) -> str:
    """The one line on stderr of a command that ends with status 2."""
    assert main([*arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_what_is_not_in_a_bucket_is_named_with_the_remedy(bucket, capsys):
    for url in ("s3://no-such-bucket/store", f"{bucket}/no-such-store"):
        expected = (
            f"error: {url}: not an augment store (no zarr.json); check the bucket and the folder in the URL\n"
        )
        assert line_of(capsys, "info", url) == expected
    error = line_of(capsys, "layouts", "check", "impactmesh", "--chips", f"{bucket}/nothing")
    assert f"{bucket}/nothing: no such folder" in error


def test_without_credentials_the_line_says_which(bucket, tmp_path):
    """In a process of its own, since fsspec keeps the credentials that it found."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("AWS_ACCESS_KEY")}
    command = [sys.executable, "-m", "augment_store", "info", f"{bucket}/store"]
    done = subprocess.run(
        command,
        env={**keep, "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {bucket}/store/zarr.json: cannot be read (Unable to locate credentials); check the address, the "
        "network and your credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or for a public bucket "
        "FSSPEC_S3='{\"anon\": true}')\n"
    )


def test_a_silent_server_is_no_damage(capsys):
    """Nothing listens at port 9; a store there is not called damaged, nor is its repair advised."""
    error = line_of(capsys, "verify", "http://127.0.0.1:9/store")
    assert "check the address, the network and your credentials" in error
    assert "damaged" not in error


def test_a_missing_client_is_named_with_the_extra(capsys, monkeypatch):
    import fsspec

    def missing(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    expected = (
        "error: s3://bucket/store/zarr.json: cannot be read (Install s3fs to access S3); pip install "
        '"terramind-tim-store[remote]"\n'
    )
    assert line_of(capsys, "info", "s3://bucket/store") == expected


def test_where_no_store_can_be_locked_none_is_written(tmp_path, monkeypatch, capsys, spec):
    """Nothing may become a local folder called https: either."""
    monkeypatch.chdir(tmp_path)
    url = "https://host/store"
    with pytest.raises(RemotePathError, match="to s3:// and gs://; write it locally, and copy it"):
        AugmentStore.open(url, mode="r+")
    with pytest.raises(RemotePathError, match="write it locally"):
        AugmentStore.create(as_path(url), spec, make_store(tmp_path / "s").extent)
    assert "--repair https://host/store: a store is written" in line_of(capsys, "verify", url, "--repair")
    with pytest.raises(RemotePathError, match="write it locally"), store_lock(Path(url), "x"):
        pass
    with pytest.raises(RemotePathError, match="a whole bucket; name a folder in it, as in s3://bucket/store"):
        AugmentStore.create(as_path("s3://bucket"), spec, make_store(tmp_path / "t").extent)
    assert {path.name for path in tmp_path.iterdir()} == {"s", "t"}


def test_other_outputs_are_not_written_to_a_url(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path / "s")
    url = "s3://bucket/store"
    assert "publish copies a local folder" in line_of(capsys, "publish", url, "--out", str(tmp_path / "out"))
    for write in (
        lambda path: path.mkdir(parents=True),
        lambda path: path.write_text("x"),
        lambda path: path.unlink(),
        lambda path: path.rename("y"),
        lambda path: path.open("a"),
    ):
        with pytest.raises(RemotePathError, match="a URL is only read"):
            write(as_path(url))
    export = ("export", str(tmp_path / "s"), "--format", "geotiff", "--out", url)
    assert "a URL is only read; write to a local folder" in line_of(capsys, *export)
    with pytest.raises(RemotePathError, match="a URL is only read"), file_lock(Path(url)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("s3://bucket/x", "s3://bucket/x"),
        ("s3:/bucket/x", "s3://bucket/x"),  # what Path makes of it
        ("https://host:80/a/b.tif", "https://host:80/a/b.tif"),
        ("memory://x", "memory://x"),
    ],
)
def test_urls_stay_urls(place, shown):
    path = as_path(place)
    assert isinstance(path, RemotePath)
    assert str(path) == str(path.resolve()) == str(path.absolute()) == shown
    assert str(path / "c" / "0") == f"{shown}/c/0"
    assert type((path / "c").parent) is RemotePath
    assert (path / "c").parent == path


@pytest.mark.parametrize(
    ("place", "shown"), [("a/b", "a/b"), ("/a", "/a"), ("file:///a/b", "/a/b"), ("C:x", "C:x")]
)
def test_local_paths_stay_local(place, shown):
    path = as_path(place)
    assert not isinstance(path, RemotePath)
    assert str(path) == shown


def test_an_object_is_read_in_parts():
    import fsspec

    fsspec.filesystem("memory").pipe_file("/parts", bytes(range(100)))
    found = RemoteObject(RemotePath("memory://parts"))
    assert found.read(3, 10) == bytes((10, 11, 12))
    assert found.read(10, 95) == bytes(range(95, 100))  # fewer where the object ends
    assert found.read(1, 100) == b""
    fsspec.filesystem("memory").pipe_file("/parts", bytes(100))
    assert found.read(10, 95) == bytes(range(95, 100))  # its end is kept
    assert found.read(3, 10) == bytes(3)


def test_a_layouts_scene_table_is_read_beside_the_chips(places, tmp_path):
    (places / "scenes.csv").write_text("chip,scene\na_r0c0,here\na_r0c1,there\n")
    with web_site(places, Ranges) as url:
        assert scenes_by_rule(IDS, f"{url}/scenes.csv") == {"a_r0c0": "here", "a_r0c1": "there"}


class Chunked(Ranges):
    """Sends files without saying how large they are."""

    def send_header(self, keyword, value):
        if keyword != "Content-Length":
            super().send_header(keyword, value)


def test_a_server_that_tells_no_sizes_is_no_damage(places):
    with (
        web_site(places, Chunked) as url,
        pytest.raises(RemotePathError, match="does not say how large it is"),
    ):
        as_path(f"{url}/store/zarr.json").stat()


@pytest.mark.parametrize(
    ("place", "short"),
    [
        ("/data/team/chips/nyc", "chips/nyc"),
        ("s3://team-private/x/y/lulc", "y/lulc"),
        ("ftp://me:secret@host/chips", "chips"),
        ("https://host/a/b/chips?token=t0ken", "b/chips"),
        ("nyc_tim_lulc", "nyc_tim_lulc"),
    ],
)
def test_what_is_published_tells_no_host_and_no_password(place, short):
    assert short_path(place) == short


SECRET = "https://me:s3cret@host:8080"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{SECRET}/a/b", "https://host:8080/a/b"),
        ("https://t0ken@host/a", "https://host/a"),
        ("s3:/key:s3cret@bucket/a", "s3:/bucket/a"),  # what Path makes of it
        ("https://host/a.tif?token=t0ken&x=/y", "https://host/a.tif"),
        ("https://host/my chips?token=t0ken", "https://host/my chips"),
        (f"401, url='{SECRET}/a?b=c' refused", "401, url='https://host:8080/a refused"),
        ("https://me:pass'@\"word@host/a?b='c'", "https://host/a"),
        (f"--chips={SECRET}/a", "--chips=https://host:8080/a"),
        ("abfs://container@account/a", "abfs://container@account/a"),  # no user
        ("sftp://me@host/a", "sftp://me@host/a"),  # no password
        ("is https://host/a there? b=c", "is https://host/a there? b=c"),
        ("/data/a?b=c@d:e@f", "/data/a?b=c@d:e@f"),
    ],
)
def test_no_text_has_a_password_or_a_token(text, shown):
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "url",
    [
        f"{SECRET}/store",
        "https://host/store?token=t0ken",
        "s3://AKIA:s3cret@bucket/store",
        "HTTPS://t0ken@host/store",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url, capsys):
    path = as_path(url)
    for made in (path, path / "x", pickle.loads(pickle.dumps(path))):
        assert not {"s3cret", "t0ken"} & set(re.split(r"\W", f"{made}{made!r}{json.dumps(str(made))}"))
        with pytest.raises(RemotePathError, match=r"given with a password, token or query.*FSSPEC_HTTPS"):
            made.exists()
    for command in (("info", url), ("layouts", "check", "folders", "--chips", url)):
        error = line_of(capsys, *command)
        assert "leave it out, and give it to the client in the environment" in error
        assert "s3cret" not in error
        assert "t0ken" not in error


class Guarded(Whole):
    """Lets in those who have the token."""

    def send_head(self):
        if self.headers["Authorization"] != "t0ken":
            self.send_error(403)
            return None
        return super().send_head()


def test_a_token_from_the_environment_goes_along_to_every_file(places, monkeypatch):
    with web_site(places, Guarded) as site:
        with pytest.raises(RemotePathError, match="cannot be read"):
            AugmentStore.open(f"{site}/store")
        monkeypatch.setitem(fsspec.config.conf, "http", {"headers": {"Authorization": "t0ken"}})
        assert_same_store(AugmentStore.open(f"{site}/store"), AugmentStore.open(places / "store"))


def test_a_scheme_in_capitals_is_a_scheme():
    assert as_path("HTTPS://host/st").address == "https://host/st"
