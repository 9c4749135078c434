"""Scoring real tiny runs: equal to `terratorch test`, and the errors of what does not fit."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from augment_store.chips.rasters import read_raster
from eval.cli.main import main
from eval.score.counts import count_pixels
from eval.score.record import Score, is_scored
from finetune.__main__ import main as finetune
from terramind_weights.weight_files import sha256_of_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scored(tim):
    assert main(["score", str(tim)]) == 0
    return Score.read(tim)


def test_equal_to_terratorch_test(tim, scored):
    assert finetune(["test", "--run", str(tim)]) == 0
    with (tim / "logs/test_0/metrics.csv").open() as file:
        logged = {key: float(value) for row in csv.DictReader(file) for key, value in row.items() if value}
    metrics = scored.metrics
    assert metrics.overall["miou_macro_seen_classes"] == pytest.approx(logged["test/mIoU"], abs=1e-6)
    assert metrics.overall["f1_macro_seen_classes"] == pytest.approx(logged["test/F1_Score"], abs=1e-6)
    assert metrics.overall["pixel_accuracy"] == pytest.approx(logged["test/Pixel_Accuracy"], abs=1e-6)
    for name, iou in metrics.by_class["iou_by_class"].items():
        assert (iou or 0.0) == pytest.approx(logged[f"test/IoU_{name}"], abs=1e-6)


@pytest.mark.nightly
def test_equal_to_terratorchs_own_command(tim, scored, tmp_path, monkeypatch):
    """The run's configuration and checkpoint, given to `terratorch test` as they are."""
    from terratorch.cli_tools import build_lightning_cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["terratorch"])
    before = {path: path.read_bytes() for path in tim.rglob("*") if path.is_file()}
    best = tim / "checkpoints/best.ckpt"
    cli = build_lightning_cli(["test", "--config", str(tim / "config.yaml"), "--ckpt_path", str(best)])
    assert {path: path.read_bytes() for path in tim.rglob("*") if path.is_file()} == before
    found = {key: float(value) for key, value in cli.trainer.callback_metrics.items()}
    by_class = scored.metrics.by_class["iou_by_class"]
    assert len(by_class) == 5
    assert any(iou for iou in by_class.values())
    for name, iou in by_class.items():
        assert (iou or 0.0) == pytest.approx(found[f"test/IoU_{name}"], abs=1e-6)
    assert scored.metrics.overall["pixel_accuracy"] == pytest.approx(found["test/Pixel_Accuracy"], abs=1e-6)
    assert scored.metrics.overall["miou_macro_seen_classes"] == pytest.approx(found["test/mIoU"], abs=1e-6)


def test_counts_are_those_of_the_predicted_maps(world, scored):
    for chip_id, counts in zip(scored.counts.chip_ids, scored.counts.values, strict=True):
        predicted = read_raster(scored.prediction(chip_id))[0, 0]
        assert np.array_equal(count_pixels(world.labels(chip_id), predicted, 5), counts)
    assert scored.counts.scenes == ("delta", "echo")


def test_origin(world, store, scored):
    origin = scored.origin
    assert (origin.kind, origin.seed, origin.augment.encoding) == ("run", 42, ("onehot",))
    assert origin.augment.store == str(store.resolve())
    assert origin.chips == str(world.root.resolve())
    assert len(origin.checkpoint_sha256) == len(origin.test.masks) == 64


PHASE_2 = (
    "data_root",
    "modalities",
    "timesteps",
    "no_data_replace",
    "means",
    "stds",
    "batch_size",
    "class_names",
)


def as_phase_2(config):
    """A run's YAML as Phase 2's was: ImpactMesh's datamodule, TerraTorch's own backbone."""
    data, arguments = config["data"], config["model"]["init_args"]["model_args"]
    data["class_path"] = "impactmesh.impactmesh_datamodule.ImpactMeshDataModule"
    data["init_args"] = {key: data["init_args"][key] for key in PHASE_2}
    arguments["backbone"] = arguments.pop("backbone_architecture")
    for key in [key for key in arguments if key in ("backbone_weights", "backbone_encoding")]:
        del arguments[key]
    return config


def test_any_checkpoint_with_its_yaml(baseline, tmp_path, capsys):
    """As a run that this project did not make: a YAML of TerraTorch's, a checkpoint, and a folder to write to."""
    assert main(["score", str(baseline)]) == 0
    config, weights = tmp_path / "phase2.yaml", baseline / "checkpoints/best.ckpt"
    config.write_text(yaml.safe_dump(as_phase_2(yaml.safe_load((baseline / "config.yaml").read_text()))))
    assert main(["score", str(tmp_path / "old"), "--config", str(config), "--checkpoint", str(weights)]) == 0
    ours, theirs = Score.read(baseline), Score.read(tmp_path / "old")
    assert np.array_equal(ours.counts.values, theirs.counts.values)
    assert theirs.origin.kind == "checkpoint"
    printed = capsys.readouterr().out
    assert "mean over the classes in the reference" in printed
    assert "a class which is only predicted counts as 0" in printed


def refused(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err


def test_a_checkpoint_of_another_arm(baseline, tim, tmp_path, capsys):
    weights = baseline / "checkpoints/best.ckpt"
    arguments = ("score", tmp_path / "x", "--config", tim / "config.yaml", "--checkpoint", weights)
    assert "does not fit" in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("missing", "is missing"),
        pytest.param("shape", "has shape", marks=pytest.mark.nightly),
        pytest.param("extra", "model.other has no place in this model", marks=pytest.mark.nightly),
    ],
)
def test_a_checkpoint_that_does_not_fit(tim, tmp_path, capsys, damage, told):
    run = tmp_path / "run"
    shutil.copytree(tim, run)
    path = run / "checkpoints/best.ckpt"
    content = torch.load(path, weights_only=True)
    name = next(name for name in content["state_dict"] if name.endswith("proj.weight"))
    tensor = content["state_dict"].pop(name)
    if damage != "missing":
        content["state_dict"][name if damage == "shape" else "model.other"] = tensor[:1]
    if damage == "extra":
        content["state_dict"][name] = tensor
    torch.save(content, path)
    assert "the file was changed or damaged: restore it" in refused(capsys, "score", run)
    changed(run, "manifest.json", checkpoint_sha256={"best": sha256_of_file(path)})
    message = refused(capsys, "score", run)
    assert f"{path}: does not fit {run / 'config.yaml'}: tensor " in message
    assert told in message


def test_a_store_of_another_fingerprint(world, tim, tmp_path, capsys):
    from tests.worlds import make_spec, store_of

    store_of(world.chips, tmp_path / "other", make_spec(samples=2))
    assert "was trained on one with" in refused(capsys, "score", tim, "--store", tmp_path / "other")
    run = tmp_path / "run"
    shutil.copytree(tim, run)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["augment"]["fingerprint"] = "f" * 64
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert "ffffffffffff" in refused(capsys, "score", run)


def test_options_that_contradict(tim, capsys):
    assert "a file also needs its --config" in refused(capsys, "score", tim, "--checkpoint", "x.ckpt")
    assert "takes one folder" in refused(capsys, "score", tim, "--config", tim / "config.yaml")


def changed(run, file, **changes):
    """Changes keys of a JSON file of a run, those of ``origin`` where it has them."""
    plain = json.loads((run / file).read_text())
    plain.get("origin", plain).update(changes)
    (run / file).write_text(json.dumps(plain))


def test_a_score_of_weights_that_are_gone(tim, baseline, scored, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(tim, run)
    made = Score.read(run)
    dataclasses.replace(made, origin=dataclasses.replace(made.origin, checkpoint_sha256="0" * 64)).write()
    arguments = ("compare", "--baseline", run, "--candidate", baseline, "--out", tmp_path / "out")
    assert "its score is of weights that it no longer has" in refused(capsys, *arguments)


def test_a_run_that_did_not_finish(tim, baseline, scored, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(tim, run)
    changed(run, "manifest.json", complete=False)
    assert "its training did not finish" in refused(capsys, "score", run)
    arguments = ("compare", "--baseline", run, "--candidate", baseline, "--out", tmp_path / "out")
    assert "its training did not finish" in refused(capsys, *arguments)


def test_an_interrupted_scoring_leaves_no_score(tim, scored, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(tim, run)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("eval.score.predict.write_classes", stop)
    assert main(["score", str(run)]) != 0
    assert not is_scored(run)


def test_no_run(tmp_path, capsys):
    assert "is not the directory of a run" in refused(capsys, "score", tmp_path)


def test_chips_that_may_have_been_trained_on_are_not_a_test(world, baseline, tmp_path, capsys):
    """A chip set that was split anew after the training: its own splits are apart, but not from those of the run."""
    moved = tmp_path / "chips"
    shutil.copytree(world.root, moved)
    run = tmp_path / "run"
    shutil.copytree(baseline, run)
    splits = {name: world.chips.split_path(name).relative_to(world.root) for name in ("train", "val", "test")}
    train, test = (moved / splits[name] for name in ("train", "test"))
    kept = test.read_text()
    test.write_text(kept.splitlines()[0])  # fewer test chips of the same splits: nothing was trained on
    assert main(["score", str(run), "--chips", str(moved)]) == 0
    train.write_text(kept)
    test.write_text((world.root / splits["train"]).read_text())
    assert main(["score", str(run), "--chips", str(moved)]) == 2
    assert f"its splits (test, train) are not those that {run} was trained with" in capsys.readouterr().err
    assert finetune(["test", "--run", str(run), "--chips", str(moved)]) == 2
    assert "test chips may have been trained on" in capsys.readouterr().err
    train.unlink()
    test.write_text(kept)  # without the others, the test chips alone tell
    assert main(["score", str(run), "--chips", str(moved)]) == 0
