"""PASTIS's files, as its public description has them, from the audit to the report, a command a stage."""

import json
import re
from pathlib import Path

import pytest
import yaml

from augment_store.cli.main import main as augment_store
from augment_store.store.writer import AugmentStore
from eval.cli.main import main as evaluate
from eval.score.record import Score
from finetune.__main__ import main as finetune
from finetune.options import CONFIGS
from finetune.run.manifest import RunManifest
from generate.cli.main import main as generate
from tests.conftest import ROOT
from tests.pastis import BANDS, FOLDS, write_pastis

pytestmark = pytest.mark.slow

CLASSES = [f"crop {label}" for label in range(19)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the chips, their splits made by the code of the documentation, and a YAML for them."""
    monkeypatch.chdir(tmp_path)
    write_pastis(tmp_path / "data" / "pastis")
    (code,) = re.findall(
        r"```python\n(# pastis\n.*?)```",
        (ROOT / "docs" / "how-to" / "published_datasets.md").read_text(),
        re.DOTALL,
    )
    exec(code, {})
    plain = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    data, model = plain["data"]["init_args"], plain["model"]["init_args"]
    data |= {"modalities": ["S2L2A"], "bands": {"S2L2A": BANDS}, "class_names": CLASSES}
    data |= {"means": "terramind_v1", "stds": "terramind_v1", "batch_size": 2, "num_workers": 0}
    data |= {"data_root": "data/pastis", "timesteps": [1, 4]}
    data["train_transform"][-1]["init_args"]["n_timesteps"] = 2
    model["model_args"] |= {"backbone": "terramind_v1_tiny", "backbone_pretrained": False, "num_classes": 19}
    model["model_args"] |= {"backbone_modalities": ["S2L2A"], "backbone_temporal_n_timestamps": 2}
    model["model_args"]["decoder_channels"] = [16, 8, 8, 8]
    model |= {"class_names": CLASSES, "class_weights": [1] * 19}
    del model["tiled_inference_parameters"]
    plain["trainer"] |= {"accelerator": "cpu", "max_epochs": 1, "enable_model_summary": False}
    Path("pastis.yaml").write_text(yaml.safe_dump(plain))
    return tmp_path


@pytest.mark.filterwarnings("error::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.nightly
def test_from_the_audit_to_the_report(place, capsys):
    chips, inputs = ("--chips", "data/pastis"), ("--inputs", "S2L2A")
    assert generate(["audit", *chips, *inputs]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "constant: COASTAL_AEROSOL (empty), WATER_VAPOR (empty)" in told
    small = ("--generator", "demo", "--weights", "random", "--accelerator", "cpu")
    assert generate([*chips, *inputs, *small, "--store", "lulc", "--accept-audit"]) == 0
    assert augment_store(["verify", "lulc", *chips]) == 0
    assert AugmentStore.open("lulc").read("10000", "lulc").shape == (1, 6, 32, 32)
    for arm, joined in {"base": (), "tim": ("--augment", "lulc")}.items():
        assert finetune(["fit", "--config", "pastis.yaml", *joined, "--run", arm]) == 0
        assert evaluate(["score", arm]) == 0
    splits = RunManifest.read(Path("tim")).data.splits
    assert {name: split.chips for name, split in splits.items()} == {"train": 4, "val": 1, "test": 2}
    counts = Score.read(Path("tim")).counts
    assert counts.chip_ids == tuple(patch for patch, fold in FOLDS.items() if fold == 5)
    assert counts.total.sum() == 2 * 32 * 24  # two patches, of whose labels every fourth is void
    assert evaluate(["compare", "--baseline", "base", "--candidate", "tim", "--out", "report"]) == 0
    report = json.loads(Path("report/report.json").read_text())
    assert {entry["id"] for entry in report["chips"]} == {"40000", "40001"}
    assert report["verdict"]["outcome"] == "one run is not evidence"
