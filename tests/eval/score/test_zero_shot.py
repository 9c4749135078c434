import json
import shutil

import numpy as np
import pytest

from augment_store.chips.rasters import read_raster
from eval.cli.main import main
from eval.score.record import Score, is_scored
from eval.score.zero_shot import vote
from tests.worlds import World, make_spec, store_of

# LULC value → label such that the store of the fixture, whose maps hold label + 1, is right everywhere
RIGHT = {str(label + 1): label for label in range(5)}


@pytest.fixture
def legend(tmp_path):
    classes = [{"value": n, "name": name, "rgb": [n, n, n]} for n, name in enumerate("abcde")]
    path = tmp_path / "legend.json"
    path.write_text(json.dumps({"name": "right", "classes": classes, "mapping": RIGHT}))
    return path


def score(store, world, out, *more):
    return main([str(word) for word in ("zero-shot", store, "--chips", world.root, "--out", out, *more)])


def test_maps_that_are_right_score_one(world, store, legend, tmp_path):
    assert score(store, world, tmp_path / "out", "--legend", legend) == 0
    made = Score.read(tmp_path / "out")
    assert made.metrics.overall["miou_macro_reference_classes"] == 1.0
    assert made.counts.class_names == tuple("abcde")
    assert set(made.counts.chip_ids) == set(world.chips.splits["test"])
    assert made.origin.kind == "zero-shot"
    predicted = read_raster(made.prediction("echo_0_0"))[0, 0]
    labels = world.labels("echo_0_0")
    assert np.array_equal(predicted[labels >= 0], labels[labels >= 0])


def test_values_without_counterpart_are_misses(world, store, legend, tmp_path):
    plain = json.loads(legend.read_text())
    del plain["mapping"]["3"]  # label 2
    legend.write_text(json.dumps(plain))
    assert score(store, world, tmp_path / "out", "--legend", legend) == 0
    counts = Score.read(tmp_path / "out").counts.total
    assert counts[2, 2] == 0
    assert counts[2, 5] == counts[2].sum() > 0
    assert Score.read(tmp_path / "out").metrics.by_class["iou_by_class"]["c"] == 0.0


def test_votes_by_hand():
    labels = np.array([[[0, 1, -1, -1]], [[1, 1, -1, 2]], [[1, 0, -1, -1]], [[0, 2, -1, -1]]])
    assert vote(labels, 3).tolist() == [[0, 1, -1, 2]]


def test_references_are_those_of_runs(world, store, legend, baseline, tmp_path):
    """The digest over the masks is the one a run's score has, so that both can be compared."""
    if not (baseline / "score").is_dir():
        assert main(["score", str(baseline)]) == 0
    assert score(store, world, tmp_path / "out", "--legend", legend) == 0
    run, zero = Score.read(baseline).origin, Score.read(tmp_path / "out").origin
    assert (run.test.masks, run.test.ids) == (zero.test.masks, zero.test.ids)


def test_an_interrupted_scoring_leaves_no_score(world, store, legend, tmp_path, monkeypatch):
    assert score(store, world, tmp_path / "out", "--legend", legend) == 0

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("eval.score.zero_shot.write_classes", stop)
    assert score(store, world, tmp_path / "out", "--legend", legend) != 0
    assert not is_scored(tmp_path / "out")


def test_bad_input(world, store, legend, tmp_path, capsys):
    def refused(made, *more, where=world):
        assert score(made, where, tmp_path / "out", *more) == 2
        return capsys.readouterr().err

    ndvi = tmp_path / "ndvi"
    store_of(world.chips, ndvi, make_spec("NDVI"))
    assert "only LULC maps are predictions" in refused(ndvi)
    part = tmp_path / "part"
    store_of(world.chips, part, pending=[chip_id for chip_id in world.ids if chip_id != "delta_0_0"])
    assert "2 test chips not complete, the first delta_0_1" in refused(part)
    plain = json.loads(legend.read_text())
    plain["classes"] = plain["classes"][1:]
    plain["mapping"] = {"2": 1}
    legend.write_text(json.dumps(plain))
    assert "labels [1, 2, 3, 4]; expected 0 to 3" in refused(store, "--legend", legend)
    other = tmp_path / "chips"
    shutil.copytree(world.root, other)
    dem = other / "data/DEM"
    shutil.copy(dem / "alpha_0_0_DEM.tif", dem / "delta_0_0_DEM.tif")
    moved = World(other)
    assert "1 chip (delta_0_0): content differs from what the store was generated from" in refused(
        store, where=moved
    )
    (other / "split/impactmesh_flood_test.txt").unlink()
    assert "no test split" in refused(store, where=moved)


def test_a_mask_label_that_the_legend_lacks_is_named(world, store, legend, tmp_path, capsys):
    plain = json.loads(legend.read_text())
    plain["classes"] = plain["classes"][:2]
    plain["mapping"] = {"1": 0, "2": 1}
    legend.write_text(json.dumps(plain))
    assert score(store, world, tmp_path / "out", "--legend", legend) == 2
    error = capsys.readouterr().err
    assert (
        "mask holds label 2; legend table right has the labels 0 to 1, and -1 is ignored; give the legend"
        in error
    )
    assert not is_scored(tmp_path / "out")
