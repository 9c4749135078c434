"""What a command does with signals, and with streams that are closed, full or ASCII only."""

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from augment_store.cli.parser import run_guarded
from tests.worlds import make_store

pytestmark = pytest.mark.slow

WAITING = """
import os, signal, sys, time
from augment_store.cli.parser import run_guarded

def work():
    try:
        print("ready", flush=True)
        {body}
    finally:
        print("cleaned up", flush=True)
    return 0

sys.exit(run_guarded(work))
"""


def start(body, **options):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    line = b""
    while line != b"ready\n":  # byte by byte: `communicate` reads the rest
        line += os.read(process.stdout.fileno(), 1)
    return process


@pytest.mark.parametrize(
    ("number", "status", "message"),
    [
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
        (signal.SIGHUP, 129, "stopped by SIGHUP"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_signal_ends_with_its_status_and_one_line_after_cleaning_up(number, status, message):
    process = start("time.sleep(600)")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, "cleaned up\n")
    assert err == f"error: {message}; what is complete is kept, and the same command resumes\n"


def test_a_thread_of_a_library_that_meets_a_full_disk_is_a_line(capsys):
    def write():
        raise OSError(errno.ENOSPC, "No space left on device", "events")

    def work():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        return 0

    assert run_guarded(work) == 0
    assert capsys.readouterr().err == "warning: [Errno 28] No space left on device: 'events'\n"


def test_a_second_sigterm_does_not_stop_the_cleaning_up():
    """As `timeout` of coreutils sends it, to the process and to its group."""
    body = (
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except KeyboardInterrupt:\n"
        "        os.kill(os.getpid(), signal.SIGTERM); raise"
    )
    process = start(body)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "cleaned up\n")
    assert err.count("\n") == 1


def test_nohup_is_respected():
    process = start(
        "os.kill(os.getpid(), signal.SIGHUP)", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "cleaned up\n", "")


def test_a_forked_worker_dies_of_a_signal_as_ever():
    body = (
        "ready, write = os.pipe()\n"
        "        child = os.fork() or (os.write(write, b'x'), time.sleep(600))\n"
        "        os.read(ready, 1)\n"
        "        os.kill(child, signal.SIGTERM)\n"
        "        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    out, err = start(body).communicate(timeout=60)
    assert (out, err) == (f"{-signal.SIGTERM}\ncleaned up\n", "")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("made") / "lulc", chips=1).path


def command(*words, redirect="", env=None):
    line = f'"{sys.executable}" -m augment_store "$@" {redirect}'
    return subprocess.run(
        ["bash", "-c", line, "_", *map(str, words)], capture_output=True, text=True, env=env
    )


@pytest.mark.parametrize(
    "redirect",
    [
        "<&- >&- 2>&-",
        *(pytest.param(closed, marks=pytest.mark.nightly) for closed in (">&-", "2>&-", ">&- 2>&-")),
    ],
)
def test_closed_streams_change_no_status(store, redirect, tmp_path):
    """The first file opened must not get the number of a closed stream, or what is printed would go into it."""
    done = command("export", store, "--format", "geotiff", "--out", tmp_path / "out", redirect=redirect)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert len(list((tmp_path / "out").glob("*_lulc.tif"))) == 1


@pytest.mark.parametrize("words", [["inspect"], pytest.param(["info"], marks=pytest.mark.nightly)])
def test_a_terminal_that_knows_ascii_alone(store, words):
    done = command(*words, store, env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()


@pytest.mark.parametrize(
    "module",
    [
        "augment_store",
        "eval score",
        *(
            pytest.param(name, marks=pytest.mark.nightly)
            for name in ("generate", "generate audit", "finetune", "demo")
        ),
    ],
)
def test_help_on_a_terminal_that_knows_ascii_alone(module):
    done = subprocess.run(
        [sys.executable, "-m", *module.split(), "--help"],
        capture_output=True,
        text=True,
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()


def test_a_full_disk_behind_stdout_is_a_line(store):
    done = command("info", store, "--json", redirect="> /dev/full")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reader_that_went_away_is_no_error_message(store):
    done = command("info", store, "--json", redirect="| true; exit ${PIPESTATUS[0]}")
    assert done.returncode in {0, 1}  # 0 where everything was written before `true` ended
    assert done.stderr == ""
