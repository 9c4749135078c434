"""Stores at a URL whose writer fails at every single put: they resume, and end with the same bytes."""

import fsspec
import pytest

from augment_store.errors import RemotePathError
from augment_store.io.lock import StoreBusyError, store_lock
from augment_store.io.objects import remove
from augment_store.io.remote import as_path
from tests.faults.puts import failing_at, objects_under
from tests.faults.scenarios import contents, extend, first, keeps_old, make_old, mend, readable

pytestmark = pytest.mark.slow

URL = "memory://faults/store"


def empty() -> None:
    """Deletes everything."""
    files = fsspec.filesystem("memory")
    if files.exists("/faults"):
        files.rm("/faults", recursive=True)


def fill(objects) -> None:
    """Puts back what there was."""
    empty()
    for name, content in objects.items():
        fsspec.filesystem("memory").pipe_file(f"/faults/store{name}", content)


def run(act) -> None:
    """Writes as a command does, under its lock."""
    with store_lock(as_path(URL), "python -m generate"):
        act(as_path(URL))


def without_ids(path) -> None:
    """A complete store whose ids are gone."""
    make_old(path)
    remove(path / "chip_id/c/0")


@pytest.fixture(
    params=[
        pytest.param((lambda path: None, first, readable), id="first run", marks=pytest.mark.nightly),
        pytest.param((make_old, extend, keeps_old), id="extension", marks=pytest.mark.nightly),
        pytest.param((without_ids, mend, readable), id="repair"),
    ],
)
def scenario(request):
    """What there is before, what writes, what is wrong in between, how many puts it takes, and the end."""
    prepare, act, between = request.param
    empty()
    prepare(as_path(URL))
    before = objects_under(URL)
    with failing_at(10**9) as seen:
        run(act)
    assert contents(as_path(URL))["problems"] == []
    yield before, act, between, seen.puts, objects_under(URL)
    empty()


def test_killed_at_every_put_a_store_resumes_with_the_same_bytes(scenario):
    """Nobody takes the lock of the dead: it has to be deleted first."""
    before, act, between, puts, end = scenario
    assert puts >= 5
    for put in range(puts):
        fill(before)
        with failing_at(put):
            run(act)
        assert between(as_path(URL)) == "", put
        lock = as_path("memory://faults/.store.lock")
        if lock.is_file():
            with pytest.raises(StoreBusyError, match=r"another run is writing here: python -m generate"):
                run(act)
            remove(lock)
        run(act)
        assert objects_under(URL) == end, put


def test_refused_at_every_put_a_run_ends_in_a_line_and_resumes_with_the_same_bytes(scenario):
    before, act, between, puts, end = scenario
    told = set()
    for put in range(puts - 1):  # the last deletes the lock
        fill(before)
        with pytest.raises(RemotePathError, match="cannot be") as raised, failing_at(put, PermissionError):
            run(act)
        told.add(str(raised.value).partition(" (")[0])
        assert between(as_path(URL)) == "", put
        assert not as_path("memory://faults/.store.lock").exists()
        run(act)
        assert objects_under(URL) == end, put
    assert {f"{URL}: cannot be written", "memory://faults/.store.lock: cannot be written"} <= told
