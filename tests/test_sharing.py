"""What is made once in a session is made once, and made again only where it failed."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace

import pytest

from tests.sharing import made_once


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """pytest's factory as a worker of pytest-xdist has it."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    (tmp_path / "popen-gw0").mkdir()
    return SimpleNamespace(getbasetemp=lambda: tmp_path / "popen-gw0")


def test_workers_that_ask_at_once_share_one_folder(factory, tmp_path):
    made: list[int] = []
    both = Barrier(2)

    def make(folder):
        folder.mkdir()
        (folder / "run").write_text("trained")
        made.append(1)

    def ask(_):
        both.wait(timeout=30)
        return made_once(factory, "tim", make)

    with ThreadPoolExecutor(2) as pool:
        found = set(pool.map(ask, range(2)))
    assert found == {tmp_path / "made_once" / "tim"}  # beside the workers' own folders
    assert made == [1]
    assert (tmp_path / "made_once" / "tim" / "run").read_text() == "trained"


def test_what_failed_halfway_is_made_again_from_nothing(factory):
    def fail(folder):
        folder.mkdir()
        (folder / "half").touch()
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        made_once(factory, "tim", fail)
    again = made_once(factory, "tim", lambda folder: folder.mkdir())
    assert list(again.iterdir()) == []
