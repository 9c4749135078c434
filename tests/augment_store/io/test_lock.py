"""Locks: links, file systems without locks, signals, credentials that expire."""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys

import pytest

from augment_store.cli.parser import run_guarded
from augment_store.errors import RemotePathError, StoreError
from augment_store.io import lock as lock_module
from augment_store.io.files import atomic_write
from augment_store.io.lock import StoreBusyError, file_lock, store_lock
from augment_store.io.remote import RemotePath, as_path

URL = "memory://lock-tests/store"
LOCK = "memory://lock-tests/.store.lock"


@pytest.fixture(autouse=True)
def empty():
    """Nothing left by another test."""
    yield
    path = as_path(LOCK)
    if path.exists():
        path.ask("rm_file")
    lock_module._warn_once.cache_clear()


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_no_link_is_followed_or_emptied(tmp_path, make):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    make(victim, tmp_path / ".store.lock")
    if make is os.symlink:
        with pytest.raises(StoreError, match=r"\.store\.lock: is a link"), file_lock(tmp_path / "store"):
            pass
    else:
        with file_lock(tmp_path / "store"):
            pass
    assert victim.read_text() == "precious"


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def no_flock(request, monkeypatch):
    """A file system that has no locks."""

    def flock(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_without_flock_a_file_keeps_others_out(tmp_path, no_flock, caplog):
    with file_lock(tmp_path / "store"):
        assert (tmp_path / ".store.lock.exclusive").is_file()
        with (
            pytest.raises(StoreBusyError, match=r"if it is dead, delete .*\.store\.lock\.exclusive"),
            file_lock(tmp_path / "store"),
        ):
            pass
    assert not (tmp_path / ".store.lock.exclusive").exists()
    with file_lock(tmp_path / "store"):
        pass
    assert sum("has no locks" in record.message for record in caplog.records) == 1


HOLD = """
import sys, time
from augment_store.cli.parser import run_guarded
from augment_store.io.lock import store_lock
from augment_store.io.remote import RemotePath, as_path
ask = RemotePath.ask
def told(self, method, *given, **named):
    if method == "rm_file": print("deleted", flush=True)
    return ask(self, method, *given, **named)
RemotePath.ask = told
def work():
    with store_lock(as_path("memory://b/store"), "x"):
        print("held", flush=True); time.sleep(60)
sys.exit(run_guarded(work))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_releases_the_lock_of_a_bucket(number):
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        process.send_signal(number)
        process.send_signal(number)  # impatient schedulers repeat it
        assert process.stdout.read() == "deleted\n"
    # the second may come after the lock is gone, when signals mean again what they did
    assert process.returncode in {128 + number, -number}


def test_signals_mean_what_they_did_once_the_lock_is_released():
    before = signal.getsignal(signal.SIGTERM)
    with store_lock(as_path(URL), "x"):
        pass
    assert signal.getsignal(signal.SIGTERM) is before


def expire(monkeypatch):
    def ask(self, method, *given, doing="read", **named):
        raise RemotePathError(f"{self}: cannot be {doing} (ExpiredToken)")

    monkeypatch.setattr(RemotePath, "ask", ask)


def test_a_lock_left_by_expired_credentials_is_named(monkeypatch):
    with (
        pytest.raises(RemotePathError, match=rf"ExpiredToken\)\. The lock of this run is left; .* {LOCK}"),
        store_lock(as_path(URL), "x"),
    ):
        expire(monkeypatch)
    monkeypatch.undo()


def test_a_lock_left_after_another_error_is_named_too(monkeypatch, caplog):
    caplog.set_level(logging.WARNING)

    def work():
        with store_lock(as_path(URL), "x"):
            expire(monkeypatch)
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        work()
    monkeypatch.undo()
    assert f"delete it: the object {LOCK}" in caplog.text


@pytest.mark.parametrize(
    "name", ["ENOLCK", "ESTALE", "EREMOTEIO", "ETIMEDOUT", "EBUSY", "EMFILE", "EHOSTDOWN"]
)
def test_errors_of_network_disks_are_a_line_and_exit_1(name, capsys):
    def fail():
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)), "/mnt/x")

    assert run_guarded(fail) == 1
    assert capsys.readouterr().err.startswith(f"error: /mnt/x: {os.strerror(getattr(errno, name))}; what")


@pytest.mark.parametrize(("code", "status"), [(errno.ENOSPC, 1), (errno.EDQUOT, 1), (errno.EACCES, 2)])
def test_a_full_disk_is_no_wrong_usage(tmp_path, monkeypatch, code, status):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)

    def work():
        atomic_write(tmp_path / "x", [b"x"])
        return 0

    assert run_guarded(work) == status
    assert list(tmp_path.iterdir()) == []
