"""File operations met at the C library, in processes that have it preloaded; and a command attacked in every way."""

import subprocess
import sys
import textwrap

import pytest

from tests.conftest import ROOT
from tests.faults import preload

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not preload.is_available(), reason="needs Linux and a C compiler (cc)"),
]

WRITE_TWO = """
import sys
from pathlib import Path
from tests.faults.preload import Action, operations_seen, plan
root = Path(sys.argv[1])
plan(root, Action[sys.argv[2]], int(sys.argv[3]), int(sys.argv[4]))
root.mkdir()
(root / "a").write_text("first")
(root / "draft").write_text("second")
(root / "draft").replace(root / "b")
print(operations_seen())
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return preload.preloaded_environment(tmp_path_factory.mktemp("library"))


@pytest.fixture
def write_two(tmp_path, environment):
    def run(action: str, at: int, code: int = 0):
        words = [
            sys.executable,
            "-c",
            textwrap.dedent(WRITE_TWO),
            str(tmp_path / "x"),
            action,
            str(at),
            str(code),
        ]
        done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        return done, {path.name: path.read_text() for path in (tmp_path / "x").iterdir()}

    return run


def test_operations_are_counted(write_two):
    """A folder, two files opened and written, a renaming: six."""
    done, files = write_two("COUNT", 0)
    assert (done.stdout, files) == ("6\n", {"a": "first", "b": "second"})


def test_a_kill_at_a_write_leaves_half_of_it(write_two):
    done, files = write_two("KILL", 4)
    assert (done.returncode, files) == (-9, {"a": "first", "draft": "sec"})


def test_an_error_is_that_of_the_operating_system(write_two):
    done, files = write_two("FAIL_ONCE", 5, 13)
    assert "PermissionError: [Errno 13] Permission denied" in done.stderr
    assert files == {"a": "first", "draft": "second"}


def test_a_signal_comes_twice(write_two):
    done, files = write_two("SIGNAL_TWICE", 1, 15)
    assert (done.returncode, files) == (-15, {})


@pytest.mark.nightly
def test_a_share_of_the_attacks_on_commands(tmp_path):
    """Each in one place of each kind, but for those that train."""
    names = [
        f"command: {name}" for name in ("cut", "export", "publish a store", "generate", "score", "predict")
    ]
    words = [sys.executable, "-m", "tests.faults", *names, "--share", "0.1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    # all, and its columns: tried, refused, harmless, recovered, failed
    tried, *_, failed = done.stdout.splitlines()[-1].split()[1:]
    assert int(tried) >= 9 * 10
    assert failed == "0"
