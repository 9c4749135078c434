"""A published bundle is a run that maps scenes, without what its training had."""

import json
import runpy
import shutil
import sys

import numpy as np
import pytest
import rasterio

from augment_store.store.writer import AugmentStore
from eval.publish import map_script
from eval.publish.bundle import make_bundle, write_run
from finetune import load_run
from finetune.model.initialization import read_trained
from finetune.run.temperature import Temperature
from terramind_weights.checkpoint import MisfitError
from tests.predict.conftest import INPUTS, predicted, words_of, write_scene

pytestmark = pytest.mark.slow

CHIP = "delta_0_1"


@pytest.fixture(scope="module")
def bundle(tim_run, tmp_path_factory):
    """What `tim-eval publish` writes of a run with planes, apart from report and card."""
    folder, run = tmp_path_factory.mktemp("bundle"), tmp_path_factory.mktemp("calibrated") / "tim"
    loaded = load_run(shutil.copytree(tim_run, run))
    Temperature(1.5, loaded.checkpoint_sha256, "", 1, "", "").write(run)
    make_bundle(loaded).write(folder)
    write_run(loaded, loaded.manifest, folder)
    return folder


def test_the_script_of_a_bundle_maps_a_chip_as_its_run_predicts_it(
    bundle, tim_run, dated, maps, tmp_path, monkeypatch
):
    files = write_scene(tmp_path, dict(dated.chips.read(CHIP, INPUTS).rasters), CHIP)
    out = tmp_path / "map.tif"
    with monkeypatch.context() as patch:
        # neither chips nor store of the training may be read
        patch.setattr("finetune.data.datamodule.open_chips", None)
        patch.setattr(sys, "argv", [map_script.NAME, str(out), *words_of(files)[1:]])
        runpy.run_path(str(bundle / map_script.NAME))
    with rasterio.open(out) as found:
        np.testing.assert_array_equal(found.read(1), predicted(tim_run, CHIP))
        assert json.loads(found.tags()["SETTINGS"])["temperatures"] == [1.5]
    # the generation spec, and no chips
    store = AugmentStore.open(bundle / "store")
    assert (store.fingerprint, len(store)) == (AugmentStore.open(maps).fingerprint, 0)


def test_a_bundle_names_no_place_of_the_machine(bundle, tim_run, dated, maps):
    texts = [path.read_text() for path in bundle.rglob("*") if path.suffix in {".json", ".yaml", ".py"}]
    assert len(texts) > 4
    for place in (tim_run.parent, dated.root, maps.parent):
        assert not any(str(place) in text for text in texts)


def test_weights_of_another_network_are_refused(tim_run, plain_run, tmp_path):
    make_bundle(load_run(plain_run)).write(tmp_path)
    # without the columns for planes
    with pytest.raises(MisfitError, match=r"model\.safetensors: has another architecture than this network"):
        read_trained(tmp_path / "model.safetensors", load_run(tim_run).task)
