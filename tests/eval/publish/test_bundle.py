"""Bundles: they load with TerraTorch alone and predict the same; cards claim what the comparison allows."""

import base64
import copy
import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import jsonschema
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from augment_store.publish.attribution import PublicationInfo
from eval.cli.main import main
from eval.compare.report.model import Report, schema
from eval.publish.bundle import input_bands, make_bundle, write_run
from eval.publish.model_card import CardFacts, claim, write_card
from eval.publish.report import read_report
from eval.score.load import open_run
from eval.score.metrics import MIOU
from eval.score.record import is_scored
from finetune.data.datamodule import TimStoreDataModule
from finetune.model.backbone import WidenedProjection
from finetune.model.merged_columns import merge_columns, split_columns
from finetune.run.manifest import RunManifest
from finetune.run.preflight import PathOverrides
from tests.eval.scores import make_manifest
from tests.forks import start_fork
from tests.worlds import make_spec, store_of

pytestmark = pytest.mark.slow


def run(*words):
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def report(baseline, tim, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    for folder in (baseline, tim):
        if not is_scored(folder):
            assert run("score", folder) == 0
    assert run("compare", "--baseline", baseline, "--candidate", tim, "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def bundle(tim, report, tmp_path_factory):
    out = tmp_path_factory.mktemp("published") / "tim-lulc"
    assert run("publish", tim, "--report", report, "--out", out, "--attribution", "NYC masks: someone") == 0
    return out


OWN = {"augment_store", "demo", "eval", "finetune", "generate", "predict", "terramind_weights", "tests"}


class WithoutOurs:
    """A finder that comes first and finds none of this project's modules."""

    @staticmethod
    def find_spec(name, *_):
        if name.partition(".")[0] in OWN:
            raise ModuleNotFoundError(name)


def run_script(script):
    """What the fork does: it has TerraTorch, and forgets this project."""
    warnings.simplefilter("ignore")
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
        del sys.modules[name]
    sys.meta_path.insert(0, WithoutOurs)
    exec(script, {})


def forked(script, folder, monkeypatch):
    monkeypatch.chdir(folder)
    process = start_fork(run_script, script)
    process.join()
    assert process.exitcode == 0


def fresh(script, folder, _):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, check=True, capture_output=True
    )


@pytest.mark.parametrize("start", [forked, pytest.param(fresh, marks=pytest.mark.nightly)])
def test_loads_with_terratorch_alone_and_predicts_the_same(start, tim, bundle, tmp_path, monkeypatch):
    """The card's own code, in a process that cannot see this project."""
    opened = open_run(tim, "best", PathOverrides())
    opened.datamodule.setup("test")
    batch = opened.datamodule.model_batch(next(iter(opened.datamodule.test_dataloader())))
    with torch.inference_mode():
        expected = opened.task(batch["image"]).output
    torch.save(batch["image"], tmp_path / "images.pt")
    shown = re.search(r"```python\n(.*?)```", (bundle / "README.md").read_text(), re.DOTALL).group(1)
    script = shown + (
        "import sys, torch\n"
        f"images = torch.load({str(tmp_path / 'images.pt')!r})\n"
        f"torch.save(task(images).output.detach(), {str(tmp_path / 'logits.pt')!r})\n"
        "assert not {'finetune', 'augment_store', 'eval'} & set(sys.modules)\n"
    )
    start(script, bundle, monkeypatch)
    logits = torch.load(tmp_path / "logits.pt")
    assert torch.equal(logits.argmax(1), expected.argmax(1))
    assert torch.allclose(logits, expected, rtol=1e-3, atol=1e-3)  # one sum of products instead of two


def test_what_is_in_a_bundle(bundle, tim, world, store):
    names = {path.name for path in bundle.iterdir()}
    run = {"config.yaml", "manifest.json", "model.safetensors", "store"}
    assert names == {
        *run,
        "README.md",
        "terratorch.yaml",
        "make_map.py",
        "report.json",
        "generation_spec.json",
    }
    config = yaml.safe_load((bundle / "terratorch.yaml").read_text())
    arguments = config["model"]["init_args"]["model_args"]
    assert arguments["backbone"] == "terramind_v1_tiny"
    assert len(arguments["backbone_bands"]["S2L2A"]) == 12 + 10
    for name in names - {"model.safetensors", "store"}:
        text = (bundle / name).read_text()
        assert not any(str(place) in text for place in (tim.parent, world.root, store.parent))
    jsonschema.validate(json.loads((bundle / "report.json").read_text()), schema())


def test_the_card(bundle, report):
    text = (bundle / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "apache-2.0"
    assert header["library_name"] == "terratorch"
    assert "base_model" not in header  # it started from random weights
    entry = header["model-index"][0]["results"][0]
    assert entry["metrics"][0]["type"] == "mean_iou"
    made = json.loads((report / "report.json").read_text())
    expected = made["candidate"]["metrics"]["overall"][MIOU.key]
    assert entry["metrics"][0]["value"] == pytest.approx(expected, abs=1e-6)
    assert f"**{claim(Report.model_validate(made))}**" in text
    for expected in (
        "## Limits",
        "Copernicus",
        "arXiv:2504.11171",
        "NYC masks: someone",
        "fingerprint",
        "| S2L2A | RED |",
        "tim-predict . --scene S2L2A=s2l2a.tif S1RTC=s1rtc.tif DEM=dem.tif --out map.tif",
    ):
        assert expected in text


def test_a_space_shows_test_chips(tim, report, bundle, world, tmp_path, capsys):
    space = tmp_path / "space"
    words = ("publish", tim, "--report", report, "--out", tmp_path / "model", "--space", space)
    assert run(*words) == 0
    assert f"hf upload OWNER/NAME {space} --repo-type space" in capsys.readouterr().out
    assert "sdk: static" in (space / "README.md").read_text()
    page = (space / "index.html").read_text()
    shown = json.loads(re.search(r'id="space">(.*?)</script>', page, re.DOTALL).group(1))
    assert [chip["id"] for chip in shown["chips"]] == list(world.chips.splits["test"])
    assert [part["title"] for part in shown["legends"]] == ["classes", "generated map"]
    pictures = {picture["caption"]: picture["uri"] for picture in shown["chips"][0]["pictures"]}
    assert list(pictures) == [
        "natural colors",
        "radar",
        "relief",
        "generated map",
        "prediction",
        "probability of it, dark 0 to light 1",
        "reference",
    ]
    # what is said to be right is what the pictures show
    seen = {name: _colors(pictures[name]) for name in ("prediction", "reference")}
    labeled = world.labels(shown["chips"][0]["id"]) >= 0
    right = (seen["prediction"] == seen["reference"]).all(axis=-1)[labeled].mean()
    assert shown["chips"][0]["right"] == pytest.approx(right)
    assert run(*words[:-3], tmp_path / "again", "--space", space) == 2
    assert "exists and is not empty" in capsys.readouterr().err


def _colors(uri):
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return np.asarray(image.convert("RGB"))


def make_facts(tim, report):
    """What the card of the run is written from, with the report given."""
    opened = open_run(tim, "best", PathOverrides())
    return CardFacts(
        imprint=PublicationInfo("name", "mit", ()),
        manifest=opened.manifest,
        report=report,
        checkpoint_sha256=opened.manifest.checkpoint_sha256["best"],
        bundle=make_bundle(opened),
        inputs=input_bands(opened.datamodule),
        planes=("NDVI",),
        spec=None,
    )


def test_the_card_has_the_numbers_of_its_own_checkpoint(tim, report):
    """A second seed with all metrics 0.9, put first: these weights keep theirs, and the arm's mean is named so."""
    made = json.loads((report / "report.json").read_text())
    arm = made["candidate"]
    own, other = arm["runs"][0], copy.deepcopy(arm["runs"][0])
    other["origin"]["checkpoint_sha256"] = "0" * 64
    for metrics in (other["metrics"], arm["metrics"]):
        metrics["overall"] = dict.fromkeys(metrics["overall"], 0.9)
    arm["runs"] = [other, own]
    text = write_card(make_facts(tim, Report.model_validate(made)))
    values = yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"][0]["metrics"]
    assert values[0]["value"] == pytest.approx(own["metrics"]["overall"][MIOU.key], abs=1e-6)
    assert "Mean over the 2 seeds of its arm: 90.00 %" in text


def report_of(*lacking, headline):
    """A report with the parts alone that a claim reads."""
    verdict = SimpleNamespace(claimed=not lacking, headline=headline, lacking=lacking)
    return Report.model_construct(verdict=verdict)


def test_a_card_claims_what_the_verdict_claims():
    assert claim(report_of(headline="Improvement: mIoU +3.00 pp")) == "Improvement: mIoU +3.00 pp."


def test_a_card_names_what_forbids_a_claim():
    doubtful = report_of(
        "a control", "3 seeds an arm; there is 1", headline="One run is not evidence: mIoU +3 pp"
    )
    assert claim(doubtful) == (
        "One run is not evidence: mIoU +3 pp. No improvement is claimed; a claim lacks a control; 3 seeds an arm; "
        "there is 1."
    )


def test_merged_columns_are_the_widened_projection():
    pretrained = torch.nn.Linear(256 * 3, 4, bias=False)
    widened = WidenedProjection(pretrained, 2, "random")
    own = {f"x.proj.{name}": value for name, value in widened.state_dict().items()}
    merged = merge_columns(own)
    patches = torch.randn(2, 5, 256 * 5)
    assert list(merged) == ["x.proj.weight"]
    assert torch.allclose(patches @ merged["x.proj.weight"].T, widened(patches), atol=1e-4)
    parted = split_columns(merged, own)
    assert parted.keys() == own.keys()
    assert all(torch.equal(parted[name], value) for name, value in own.items())


class Stub:
    """The client of Hugging Face, without the network."""

    calls: list = []  # noqa: RUF012

    def create_repo(self, **given):
        self.calls.append(("create", given["repo_id"], given["exist_ok"], given["private"]))
        if given["repo_id"] == "no/access":
            raise huggingface_hub.errors.HFValidationError("you may not")

    def upload_folder(self, **given):
        names = sorted(path.name for path in Path(given["folder_path"]).iterdir())
        self.calls.append(("upload", given["repo_id"], names))
        return type("Commit", (), {"commit_url": f"https://huggingface.co/{given['repo_id']}/commit/1"})


def test_push(tim, report, bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub, "HfApi", Stub)
    monkeypatch.setattr(Stub, "calls", [])
    words = ("publish", tim, "--report", report, "--out")
    assert run(*words, tmp_path / "a", "--push", "me/tim") == 2
    assert "say with --attribution who to credit" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    words = ("publish", tim, "--report", report, "--attribution", "NYC masks: someone", "--out")
    assert run(*words, tmp_path / "a", "--push", "me/tim") == 0
    assert "https://huggingface.co/me/tim/commit/1" in capsys.readouterr().out
    assert Stub.calls[0] == ("create", "me/tim", True, True)
    assert Stub.calls[1] == ("upload", "me/tim", sorted(path.name for path in bundle.iterdir()))
    assert run(*words, tmp_path / "b", "--push", "no/access") == 2
    assert "no/access: not uploaded (you may not)" in capsys.readouterr().err
    assert (tmp_path / "b/README.md").is_file()


def test_the_layout_in_use_is_published(tmp_path):
    """The one of the training may be gone, or another by now."""
    (tmp_path / "used.yaml").write_text("name: used")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    made = make_manifest()
    data = dataclasses.replace(made.data, layout="/gone/trained.yaml")
    augmentation = SimpleNamespace(store=None, depends_on_store=False)
    loaded = SimpleNamespace(
        source=tmp_path,
        checkpoint_sha256="",
        config={"model": {"init_args": {"model_args": {}}}, "data": {"init_args": {}}},
        datamodule=SimpleNamespace(layout=str(tmp_path / "used.yaml"), augmentation=augmentation),
    )
    write_run(loaded, dataclasses.replace(made, data=data), tmp_path)
    assert (tmp_path / "layout.yaml").read_text() == "name: used"
    # within the bundle, wherever that is
    assert RunManifest.read(tmp_path).data.layout == str(tmp_path / "layout.yaml")


@pytest.mark.parametrize("space", ["out", "out/space", ""])
def test_a_space_lies_apart_from_the_bundle(tim, report, space, tmp_path, capsys):
    words = ("publish", tim, "--report", report, "--out", tmp_path / "out", "--space", tmp_path / space)
    assert run(*words) == 2
    assert "the same folder as --out" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_bad_input(baseline, tim, report, bundle, tmp_path, capsys):
    def refused(folder, where, out=tmp_path / "out"):
        assert run("publish", folder, "--report", where, "--out", out) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    assert "is the candidate of this report" in refused(baseline, report)
    assert "no such report" in refused(tim, tmp_path)
    assert "exists and is not empty" in refused(tim, report, bundle)
    damaged = tmp_path / "damaged"
    shutil.copytree(report, damaged)
    (damaged / "report.json").write_text("[]")
    assert "not a report of compare" in refused(tim, damaged)
    (damaged / "report.json").write_text('{"report_version": 6}')
    assert "report version 6, expected 8" in refused(tim, damaged)
    made = json.loads((report / "report.json").read_text())
    made["difference"]["p_value"] = 2
    (damaged / "report.json").write_text(json.dumps(made))
    assert "difference.p_value: Input should be less than or equal to 1" in refused(tim, damaged)


def test_a_card_says_what_the_planes_of_a_control_are_made_of(tim, report, bundle):
    """A control's maps are another chip's, or none at all; its card must not call them the chip's own."""
    facts = make_facts(tim, read_report(report))
    assert "onehot: 1 plane (NDVI), made of the generated maps by" in write_card(facts)
    joined = dataclasses.replace(facts.manifest.augment, control="shuffle")
    start = dataclasses.replace(facts.manifest.start, init="runs/phase1/best.ckpt", init_sha256="1" * 64)
    shuffled = dataclasses.replace(
        facts, manifest=dataclasses.replace(facts.manifest, augment=joined, start=start)
    )
    card = write_card(shuffled)
    assert "made of the generated maps of *another* chip, drawn at random (control shuffle) by" in card
    assert f"- weights started from best.ckpt, SHA-256 {'1' * 64}" in card
    assert "generation_spec.json" not in card


def test_units_on_a_card_are_those_on_disk(world, tmp_path):
    def units(spec, name):
        store = store_of(world.chips, tmp_path / name, spec)
        module = TimStoreDataModule(str(world.root), modalities=["S1RTC", "DEM"], augment=str(store.path))
        return [entry.unit for entry in input_bands(module)]

    spec = make_spec(inputs=["S1RTC"])
    assert units(spec, "plain") == ["dB", "m"]
    taken = dataclasses.replace(spec.inputs[0], unit="linear", offset=2.5)
    told = dataclasses.replace(spec, inputs=(taken,))
    assert units(told, "told") == ["linear power, with an offset of 2.5", "m"]
