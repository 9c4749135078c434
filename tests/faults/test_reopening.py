"""Memory does not grow with the number of times that a store was opened."""

import sys

import pytest

from tests.faults.reopening import grow
from tests.worlds import make_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


def test_a_reader_that_opens_a_store_again_keeps_nothing(tmp_path):
    path = make_store(tmp_path / "store", chips=4, size=32).path
    grow(path, 20)  # what is made once
    assert grow(path, 60) < 60 * 150  # KiB: an opening that were kept would hold the metadata of 20 arrays
