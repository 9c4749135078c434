import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from augment_store.store.schema import State
from augment_store.store.writer import AugmentStore
from generate.cli.main import main
from tests.forks import start_fork
from tests.worlds import write_impactmesh_chips

IDS = tuple(f"scene{i // 4}_r{i % 4:03d}c000" for i in range(6))
LONG = tuple(f"c_r{i:03d}c000" for i in range(16))


@pytest.fixture(scope="session")
def chips(tmp_path_factory) -> Path:
    """Six chips of 32 px and two timesteps, identical in every second chip."""
    return write_impactmesh_chips(tmp_path_factory.mktemp("chips"), IDS)


@pytest.fixture(scope="session")
def command(chips):
    """Arguments of a small run with random weights; what follows overrides."""

    def arguments(store: Path, *more: str) -> list[str]:
        base = [
            "--chips",
            chips,
            "--store",
            store,
            "--generator",
            "demo",
            "--weights",
            "random",
            "--shard-chips",
            2,
        ]
        return [str(argument) for argument in (*base, "--accelerator", "cpu", *more)]

    return arguments


@pytest.fixture(scope="session")
def reference(command, tmp_path_factory) -> Path:
    """The store of an uninterrupted run of one process that sees three images at a time."""
    store = tmp_path_factory.mktemp("reference") / "store.zarr"
    assert main(command(store, "--samples", "2", "--probabilities", "--network-batch", "3")) == 0
    return store


@pytest.fixture(scope="session")
def long_run(command, tmp_path_factory):
    """Arguments of a run over sixteen chips, which can be stopped part way."""
    root = write_impactmesh_chips(tmp_path_factory.mktemp("long") / "chips", LONG)
    more = ("--samples", "2", "--decoding-steps", "2", "--network-batch", "3")
    return lambda store, *last: command(store, "--chips", str(root), *more, *last)


@pytest.fixture(scope="session")
def uninterrupted(long_run, tmp_path_factory) -> Path:
    """The store of that run, which nothing stopped."""
    store = tmp_path_factory.mktemp("uninterrupted") / "store.zarr"
    assert main(long_run(store)) == 0
    return store


def assert_equal_stores(first: Path, second: Path) -> None:
    """Every array of both stores is equal, and complete."""
    a, b = AugmentStore.open(first), AugmentStore.open(second)
    assert a.fingerprint == b.fingerprint
    assert a.chip_ids == b.chip_ids
    assert a.chips_in(State.COMPLETE) == a.chip_ids
    for name in (schema.name for schema in a.schemas()):
        np.testing.assert_array_equal(a.values(name), b.values(name), err_msg=name)


def run_subprocess(*arguments: str, **kwargs) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "generate", *arguments], capture_output=True, text=True, **kwargs
    )


def kill_when(condition, arguments: list[str], stop: signal.Signals, pause: float = 0.005) -> int:
    """Starts a run, sends a signal as soon as `condition` holds, and returns the exit status.

    The run is a fork of this process.

    Args:
        condition: Asked again after each pause.
        arguments: Of the run.
        stop: The signal.
        pause: In seconds; longer where to ask takes a server's time.
    """
    process = start_fork(_run, arguments)
    deadline = time.monotonic() + 120
    while not condition() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(pause)
    os.kill(process.pid, stop)
    process.join()
    return process.exitcode


def _run(arguments: list[str]) -> None:
    """What the fork does: as a command that was started by hand, even in a suite that runs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(arguments))
