"""Processes side by side: what they are told, and when one fails."""

import json
import subprocess
import sys

import numpy as np
import pytest

from finetune.errors import RunError
from predict.options import PredictOptions
from predict.shares import other_shares

pytestmark = pytest.mark.slow

OPTIONS = PredictOptions("run", "map.tif", scene={"DEM": "dem.tif"}, window=np.int64(224), devices=3)


@pytest.fixture
def started(monkeypatch):
    """What each process was told; the last one fails, and the other waits for the end of its input."""
    told, start = [], subprocess.Popen

    def popen(words, **options):
        told.append(json.loads(words[-1]))
        failing = told[-1][1]["index"] == 2
        return start(
            [sys.executable, "-c", f"import sys; sys.exit(3) if {failing} else sys.stdin.read()"], **options
        )

    monkeypatch.setattr(subprocess, "Popen", popen)
    return told


def work(at_work):
    """Share the work, and look after the others while this process does its own share."""
    with other_shares(OPTIONS) as check:
        while at_work:
            check()


@pytest.mark.parametrize("at_work", [True, False])
def test_a_process_that_fails_stops_the_others(started, at_work):
    with pytest.raises(RunError, match="--devices: 1 of 3 processes failed"):
        work(at_work)
    assert [(options["window"], share["index"]) for options, share in started] == [(224, 1), (224, 2)]
