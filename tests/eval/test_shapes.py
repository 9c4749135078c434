"""Chips that are not square, from generation to the report."""

import contextlib
import json

import pytest
import rasterio
import yaml

from augment_store.cli.main import main as augment_store
from eval.cli.main import main as evaluate
from eval.score.record import Score
from finetune.__main__ import main as finetune
from finetune.run.manifest import RunManifest
from generate.cli.main import main as generate
from tests.browser import by_id
from tests.worlds import make_world, two_class_config

pytestmark = pytest.mark.slow

SHAPE = (32, 80)
IDS = {
    "train": ("a_0_0", "a_0_1", "a_1_0", "a_1_1"),
    "val": ("b_0_0",),
    "test": ("c_0_0", "c_0_1", "d_0_0", "e_0_0"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with chips of five classes, and all that was made of them up to the report."""
    folder = tmp_path_factory.mktemp("shapes")
    make_world(folder / "chips", SHAPE, timesteps=1, splits=IDS)
    made = two_class_config("nyc_tim_lulc", data_root="chips")
    names = ["water", "developed", "forest", "herbaceous", "other"]
    made["data"]["init_args"]["class_names"] = names
    made["model"]["init_args"]["class_names"] = names
    made["model"]["init_args"]["model_args"]["num_classes"] = 5
    made["trainer"]["precision"] = 32
    (folder / "own.yaml").write_text(yaml.safe_dump(made))
    with contextlib.chdir(folder):
        run_everything()
    return folder


def run_everything():
    chips, store = ("--chips", "chips"), "store"
    demo = ("--generator", "demo", "--weights", "random", "--accelerator", "cpu")
    assert generate([*chips, "--store", store, *demo]) == 0
    assert augment_store(["verify", store, *chips]) == 0
    assert augment_store(["inspect", store, *chips, "--png", "sheet.png", "--html", "page.html"]) == 0
    assert augment_store(["export", store, "--format", "cog", "--out", "maps"]) == 0
    for arm, joined in {"plain": (), "tim": ("--augment", store, "--encoding", "onehot")}.items():
        assert finetune(["fit", "--config", "own.yaml", "--weights", "random", *joined, "--run", arm]) == 0
    assert finetune(["predict", "--run", "tim"]) == 0
    assert evaluate(["score", "plain", "tim"]) == 0
    assert evaluate(["zero-shot", store, *chips, "--out", "map"]) == 0
    arms = ["--baseline", "plain", "--candidate", "tim", "--control", "map=map"]
    assert evaluate(["compare", *arms, "--out", "report"]) == 0


@pytest.mark.nightly
def test_every_pixel_is_predicted_and_counted(place):
    assert {RunManifest.read(place / arm).cost.steps for arm in ("plain", "tim")} == {2}
    predicted, generated = place / "tim/predictions/c_0_0.tif", place / "maps/c_0_0_lulc.tif"
    with rasterio.open(predicted) as one, rasterio.open(generated) as other:
        assert one.shape == other.shape == SHAPE
        assert one.transform == other.transform
    counted = 4 * (32 * 80 - 3)  # three pixels of each mask are ignored
    assert {Score.read(place / arm).counts.total.sum() for arm in ("plain", "tim", "map")} == {counted}
    calibration = json.loads(next((place / "map").rglob("calibration.json")).read_text(encoding="utf-8"))
    assert set(calibration) == {"confidence", "token_probability"}
    report = json.loads((place / "report/report.json").read_text(encoding="utf-8"))
    assert {entry["id"] for entry in report["chips"]} == set(IDS["test"])


@pytest.fixture(scope="module")
def html(place):
    return place / "report" / "report.html"


@pytest.mark.nightly
def test_pictures_of_the_report_keep_their_shape(page):
    alone = shares_of_sides(page, "#layers img")
    assert len(alone) >= 6  # optical, radar, generated, reference, two predictions
    assert alone == pytest.approx([80 / 32] * len(alone), rel=0.03)
    by_id(page, "together").click()
    together = shares_of_sides(page, "#grid img")
    assert len(together) >= len(alone)
    assert together == pytest.approx([80 / 32] * len(together), rel=0.04)


def shares_of_sides(page, pictures):
    return page.execute_script(
        f"return [...document.querySelectorAll('{pictures}')].map((i) => i.clientWidth / i.clientHeight)"
    )
