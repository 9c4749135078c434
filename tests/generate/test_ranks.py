"""Several processes on one store, started as torchrun starts them; what one of them loses."""

import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from augment_store.integrity.verify import verify_store
from augment_store.store.schema import State
from augment_store.store.writer import AugmentStore
from generate.cli.main import main
from tests.generate.conftest import LONG, assert_equal_stores

pytestmark = pytest.mark.slow


def start_ranks(arguments: list[str], count: int) -> list[subprocess.Popen[bytes]]:
    """Processes with the environment that torchrun gives its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "test",
    }
    command = [sys.executable, "-m", "generate", *arguments]
    return [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.DEVNULL,
        )
        for rank in range(count)
    ]


@pytest.mark.nightly
def test_a_lost_rank_costs_its_unfinished_shards_only(long_run, uninterrupted, tmp_path):
    """Ranks own shards by turns, so shard 1 is the second one's; torchrun then ends the others, here by SIGTERM."""
    ranks = start_ranks(long_run(tmp_path / "s", "--devices", "2"), 2)
    deadline = time.monotonic() + 120
    first = tmp_path / "s" / "state" / "c" / "1"
    while not first.is_file() and all(rank.poll() is None for rank in ranks) and time.monotonic() < deadline:
        time.sleep(0.005)
    ranks[1].kill()
    ranks[0].terminate()
    assert ranks[1].wait() == -9
    assert ranks[0].wait(timeout=120) != 0

    lost = AugmentStore.open(tmp_path / "s")
    done = lost.chips_in(State.COMPLETE)
    assert {*LONG[2:4]} <= {*done}  # shard 1, which was written before the loss
    assert len(done) < len(LONG)
    assert all("pending" in str(problem) for problem in verify_store(lost))
    kept = {chip_id: lost.read(chip_id, "tokens") for chip_id in done}

    assert main(long_run(tmp_path / "s")) == 0
    assert_equal_stores(tmp_path / "s", uninterrupted)
    resumed = AugmentStore.open(tmp_path / "s")
    for chip_id, tokens in kept.items():
        np.testing.assert_array_equal(resumed.read(chip_id, "tokens"), tokens)
