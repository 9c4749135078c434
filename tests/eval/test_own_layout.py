"""One chip set of a layout of its own, Level-1C and S1GRD, through every stage from the audit to the report."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from augment_store.chips.chip_set import ChipSet
from augment_store.cli.main import main as augment_store
from augment_store.store.chip_index import read_entries
from augment_store.store.writer import AugmentStore
from eval.cli.main import main as evaluate
from eval.score.load import open_run
from eval.score.record import Score
from finetune.__main__ import main as finetune
from finetune.run.manifest import RunManifest
from finetune.run.preflight import PathOverrides
from generate.cli.main import main as generate
from tests.worlds import two_class_config, write_sen1floods11

pytestmark = pytest.mark.slow

IDS = tuple(f"{place}_{number}" for place in ("Ghana", "India", "Mekong", "Spain") for number in (11, 12))
SPLITS = {"train": IDS[:2], "val": IDS[2:4], "test": IDS[4:]}
LEGEND = """\
name: flood
classes: [{value: 0, name: dry}, {value: 1, name: water}]
mapping: {1: 1, 2: 0, 3: 1, 4: 0, 5: 0, 6: 0, 9: 0}
"""
SHIPPED = Path(__file__).parents[2] / "augment_store" / "chips" / "layout_files" / "sen1floods11.yaml"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with chips that no shipped layout finds, and the file that describes them."""
    folder = tmp_path_factory.mktemp("flood")
    found = write_sen1floods11(folder / "found", IDS, size=32)
    (found / "data" / "flood_events" / "HandLabeled").rename(folder / "chips")
    (folder / "chips" / "lists").mkdir()
    for split, ids in SPLITS.items():
        (folder / "chips" / "lists" / f"{split}.txt").write_text(
            "".join(f"{name}_S1Hand.tif\n" for name in ids)
        )
    for old, new in {"S2Hand": "optical", "S1Hand": "radar", "LabelHand": "labels"}.items():
        (folder / "chips" / old).rename(folder / "chips" / new)
    shutil.rmtree(found)
    layout = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    layout |= {"name": "mine", "data": ".", "mask": "labels/{id}_LabelHand.tif"}
    layout["images"]["S2L1C"]["files"] = "optical/{id}_S2Hand.tif"
    layout["images"]["S1GRD"]["files"] = "radar/{id}_S1Hand.tif"
    layout["splits"] = {split: f"lists/{split}.txt" for split in SPLITS}
    (folder / "legend.yaml").write_text(LEGEND, encoding="utf-8")
    (folder / "mine.yaml").write_text(yaml.safe_dump(layout), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def config(place):
    """A two-class YAML for these chips."""
    names, modalities = ["dry", "water"], ["S1GRD", "S2L1C"]
    own = {"modalities": modalities, "class_names": names, "means": "terramind_v1", "stds": "terramind_v1"}
    plain = two_class_config("nyc_tim_lulc", **own)
    model = plain["model"]["init_args"]
    model |= {"class_names": names, "class_weights": [1, 1]}
    model["model_args"]["backbone_modalities"] = modalities
    (place / "mine_fit.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")
    return place / "mine_fit.yaml"


def run(command, *words):
    return command([str(word) for word in words])


@pytest.mark.nightly
def test_from_the_audit_to_the_report(place, config, capsys, monkeypatch):
    monkeypatch.chdir(place)
    chips, store = ("--chips", "chips", "--layout", "mine.yaml"), "store"
    inputs = ("--inputs", "S2L1C", "S1GRD")
    assert run(generate, "audit", *chips, *inputs) == 0
    small = ("--generator", "demo", "--weights", "random", "--accelerator", "cpu")
    assert run(generate, *chips, *inputs, *small, "--store", store) == 0
    assert run(augment_store, "verify", store, *chips) == 0
    entries = read_entries(AugmentStore.open(Path(store)))
    assert {entries[chip_id].scene_id for chip_id in SPLITS["test"]} == {"Mekong", "Spain"}
    capsys.readouterr()
    assert run(finetune, "fit", "--config", config, "--chips", "chips", "--run", "lost") == 2
    assert "chips: no chips found" in capsys.readouterr().err
    for arm, joined in {"baseline": (), "tim": ("--augment", store)}.items():
        fit = ("fit", "--config", config, *chips, "--weights", "random", *joined, "--run", arm)
        assert run(finetune, *fit) == 0
    manifest = RunManifest.read(Path("tim"))
    assert manifest.data.layout == str(place / "mine.yaml")
    assert {name: split.scenes for name, split in manifest.data.splits.items()} == {
        "train": 1,
        "val": 1,
        "test": 2,
    }
    assert manifest.augment.encoding == ("onehot",)
    assert run(evaluate, "score", "baseline", "tim") == 0  # the runs know the layout
    test = ChipSet.open("chips", "mine.yaml").splits["test"]
    for arm in ("baseline", "tim"):
        score = Score.read(arm)
        assert score.counts.chip_ids == test
        assert score.origin.layout == str(place / "mine.yaml")
        labels = [ChipSet.open("chips", "mine.yaml").mask(chip_id) for chip_id in test]
        assert score.counts.total.sum() == sum(int((mask >= 0).sum()) for mask in labels)
    zero_shot = ("zero-shot", store, *chips, "--legend", "legend.yaml", "--out", "map")
    assert run(evaluate, *zero_shot) == 0
    assert Score.read("map").origin.layout == str(place / "mine.yaml")
    arms = ("--baseline", "baseline", "--candidate", "tim", "--control", "map=map")
    assert run(evaluate, "compare", *arms, "--out", "report") == 0
    report = json.loads(Path("report/report.json").read_text(encoding="utf-8"))
    assert {entry["id"] for entry in report["chips"]} == set(test)
    page = Path("report/report.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp") >= len(
        test
    )  # pictures of these chips, which the score told where to find
    Path("mine.yaml").rename("moved.yaml")
    assert run(evaluate, "score", "tim") == 2
    assert "mine.yaml'; expected one of" in capsys.readouterr().err
    assert (
        open_run(Path("tim"), "best", PathOverrides(layout="moved.yaml")).datamodule.chips.layout.name
        == "mine"
    )
