"""Generation into a bucket of a local S3 server: one process, two, and one that is killed."""

import signal

import fsspec
import pytest

from augment_store.io.objects import remove
from augment_store.io.remote import as_path
from augment_store.store.history import command_line, last_command
from augment_store.store.schema import State
from augment_store.store.writer import AugmentStore
from generate import generate
from generate.cli.main import main
from tests.generate.conftest import IDS, assert_equal_stores, kill_when, run_subprocess
from tests.servers import s3_bucket

pytestmark = pytest.mark.slow

SPEC = ("--samples", "2", "--probabilities", "--network-batch", "3")


@pytest.fixture(scope="module")
def bucket(chips):
    """A bucket with the chips in it."""
    with s3_bucket(chips) as url:
        yield url.rpartition("/")[0]


@pytest.mark.nightly
def test_a_bucket_is_written_and_resumed_like_a_folder(reference, command, bucket, chips, capsys):
    url = f"{bucket}/store"
    ran = command(url, *SPEC, "--chips", f"{bucket}/{chips.name}")
    assert main([*ran, "--dry-run"]) == 0
    assert f"makes {url}" in capsys.readouterr().err
    assert main(ran) == 0
    assert f"{url}: 6 done, 0 skipped, 0 failed\n" in capsys.readouterr().err
    assert_equal_stores(url, reference)
    assert last_command(AugmentStore.open(url).history) == command_line("generate", ran)
    assert main(ran) == 0
    assert "0 done, 6 skipped, 0 failed" in capsys.readouterr().err


@pytest.mark.nightly
def test_two_processes_write_one_store(reference, command, bucket):
    url = f"{bucket}/two"
    done = run_subprocess(*command(url, *SPEC, "--devices", "2"))
    assert done.returncode == 0, done.stderr
    assert_equal_stores(url, reference)


@pytest.mark.nightly
def test_a_killed_run_leaves_its_lock_and_resumes_once_that_is_deleted(
    reference, command, bucket, chips, capsys
):
    url = f"{bucket}/killed"
    first = as_path(f"{url}/state/c/0")
    assert kill_when(first.exists, command(url, *SPEC), signal.SIGKILL, pause=0.03) == -signal.SIGKILL
    assert main(command(url, *SPEC)) == 2
    told = capsys.readouterr().err
    assert f"error: {url}: another run is writing here: tim-generate --chips {chips} --store {url}" in told
    assert f"if it is dead, delete its lock: aws s3 rm {bucket}/.killed.lock" in told
    remove(as_path(f"{bucket}/.killed.lock"))
    assert main(command(url, *SPEC)) == 0
    assert_equal_stores(url, reference)


@pytest.mark.nightly
def test_a_notebook_writes_to_a_bucket(bucket, chips):
    options = {"generator": "demo", "weights": "random", "accelerator": "cpu", "shard_chips": 2}
    store = generate(chips, f"{bucket}/notebook", **options)
    assert store.chips_in(State.COMPLETE) == IDS
    assert not fsspec.filesystem("s3").glob(f"{bucket}/.*.lock")


def test_a_bucket_that_is_not_there_is_named_in_a_line(command, bucket, capsys):
    assert main(command("s3://no-such-bucket/store")) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: s3://no-such-bucket/.store.lock: cannot be written (")
    assert main(command("https://host/store")) == 2
    assert (
        "error: --store https://host/store: a store is written to a local folder or"
        in capsys.readouterr().err
    )
