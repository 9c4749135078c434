"""The module that is offered to those who build on stores: sound data in one call, and no torch."""

import doctest
import subprocess
import sys

import numpy as np

import augment_store.testing
from augment_store.integrity.verify import verify_store
from augment_store.testing import make_example, make_spec
from tests.conftest import ROOT


def test_its_example_runs():
    assert doctest.testmod(augment_store.testing).failed == 0


def test_chips_and_store_belong_together(tmp_path):
    data = make_example(tmp_path, chips=5, size=(32, 48), timesteps=3, spec=make_spec("NDVI", samples=2))
    assert data.store.chip_ids == data.chips.ids
    assert list(verify_store(data.store, data.chips)) == []
    assert data.store.read("scene2_r0c0", "ndvi").shape == (2, 3, 32, 48)
    assert data.chips.read("scene2_r0c0", ["S2L2A"]).rasters["S2L2A"].shape == (3, 12, 32, 48)
    assert data.store.values("scene_id").tolist() == ["scene0", "scene0", "scene1", "scene1", "scene2"]


def test_the_same_call_makes_the_same_maps(tmp_path):
    first, second = (make_example(tmp_path / name, chips=2).store for name in "ab")
    np.testing.assert_array_equal(first.values("lulc"), second.values("lulc"))
    assert not np.array_equal(*first.values("lulc"))


def test_it_needs_no_torch():
    heavy = "any(name in sys.modules for name in ('torch', 'lightning', 'pytest'))"
    code = f"import sys, augment_store.testing; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
