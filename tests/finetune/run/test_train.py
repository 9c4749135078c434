"""Whole runs through `python -m finetune`: repeatable, resumable, on record, and open to evaluation."""

import dataclasses
import json
import re
import shutil
import signal

import numpy as np
import pytest
import rasterio
import torch
import yaml
from lightning.pytorch.plugins.io import TorchCheckpointIO
from PIL import Image

from augment_store.errors import OutputError
from finetune.__main__ import main
from finetune.errors import RunError
from finetune.run import train
from finetune.run.callbacks import WholeCheckpoints
from finetune.run.load import load_run
from finetune.run.manifest import RunManifest
from finetune.run.preflight import PathOverrides
from terramind_weights.weight_files import WeightsError, sha256_of_file
from tests.worlds import store_of, tiny_options

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def options(world, plain_store):
    """One fast arm: radar with cached LULC."""
    return [
        *tiny_options(world, "nyc_s1_tim_lulc"),
        *("--augment", str(plain_store), "--seed", "7", "--optimizer.init_args.lr", "1e-3"),
    ]


@pytest.fixture(scope="module")
def finished(options, tmp_path_factory):
    """A run of two epochs, two steps each."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["fit", *options, "--run", str(run), "--trainer.max_epochs", "2"]) == 0
    return run


def weights(run, name="last"):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


def test_two_runs_with_one_seed_are_equal_and_another_seed_differs(finished, options, tmp_path):
    again, other = tmp_path / "again", tmp_path / "other"
    assert main(["fit", *options, "--run", str(again), "--trainer.max_epochs", "2"]) == 0
    ours, theirs = weights(finished)["state_dict"], weights(again)["state_dict"]
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    seeded = [word if word != "7" else "8" for word in options]
    assert main(["fit", *seeded, "--run", str(other), "--trainer.max_epochs", "1"]) == 0
    theirs = weights(other)["state_dict"]
    assert not all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_an_interrupted_run_goes_on_from_the_same_step(options, tmp_path, monkeypatch):
    from finetune.data.dataset import ChipDataset

    run = tmp_path / "run"
    read, count = ChipDataset.__getitem__, iter(range(1000))

    def fail_late(self, index):
        if next(count) >= 10:  # within the second epoch: two chips of the sanity check, four and two an epoch
            raise OSError("the disk is gone")
        return read(self, index)

    monkeypatch.setattr(ChipDataset, "__getitem__", fail_late)
    with pytest.raises(OSError, match="the disk is gone"):
        main(["fit", *options, "--run", str(run), "--trainer.max_epochs", "3"])
    monkeypatch.undo()
    broken_off = RunManifest.read(run)
    assert broken_off.complete is False
    init = {"init": "baseline.ckpt", "init_sha256": "0" * 64}
    long_ago = dataclasses.replace(
        broken_off,
        created="2020-01-01T00:00:00+00:00",
        start=dataclasses.replace(broken_off.start, **init),
        cost=dataclasses.replace(broken_off.cost, wall_seconds=1000.0),
    )
    long_ago.write(run)
    last = run / "checkpoints" / "last.ckpt"
    assert weights(run)["global_step"] == 2
    assert main(["fit", *options, "--run", str(run), "--trainer.max_epochs", "3"]) == 0  # the same command
    manifest = RunManifest.read(run)
    assert (manifest.complete, manifest.cost.steps, manifest.cost.epochs) == (True, 6, 3)
    assert manifest.start.resumed == str(last)
    assert (manifest.created, manifest.start.init) == (long_ago.created, "baseline.ckpt")
    assert manifest.start.init_sha256 == "0" * 64
    assert 1000 < manifest.cost.wall_seconds < 1100
    rows = [path.read_text() for path in sorted((run / "logs").glob("fit_*/metrics.csv"))]
    assert len(rows) == 2
    assert weights(run)["global_step"] == 6


@pytest.mark.parametrize(
    ("signum", "status", "resumed"),
    [
        (signal.SIGTERM, 143, False),  # `test_an_interrupted_run_goes_on_from_the_same_step` resumes by day
        pytest.param(signal.SIGTERM, 143, True, marks=pytest.mark.nightly),
        pytest.param(signal.SIGINT, 130, True, marks=pytest.mark.nightly),
    ],
)
def test_a_training_that_a_signal_stops_says_so_and_resumes(
    options, tmp_path, monkeypatch, capsys, signum, status, resumed
):
    from finetune.data.dataset import ChipDataset

    run = tmp_path / "run"
    read, count = ChipDataset.__getitem__, iter(range(1000))

    def stop_late(self, index):
        if next(count) == 10:  # within the second epoch
            signal.raise_signal(signum)
        return read(self, index)

    command = ["fit", *options, "--run", str(run), "--trainer.max_epochs", "3"]
    monkeypatch.setattr(ChipDataset, "__getitem__", stop_late)
    try:
        found = main(command)
    except SystemExit as stopped:
        found = stopped.code
    monkeypatch.undo()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # Lightning ignores it for the rest of the process
    assert found == status
    assert "the same command resumes: tim-finetune fit --config " in capsys.readouterr().err
    assert RunManifest.read(run).complete is False
    if not resumed:
        return
    (run / "hpc_ckpt_1.ckpt").write_bytes(
        (run / "checkpoints" / "last.ckpt").read_bytes()
    )  # as SLURM's requeue
    assert main(command) == 0
    assert f"resumes from {run / 'hpc_ckpt_1.ckpt'}" in capsys.readouterr().err
    manifest = RunManifest.read(run)
    assert (manifest.complete, manifest.cost.epochs, manifest.cost.steps) == (True, 3, 6)
    assert not list(run.glob("hpc_ckpt_*"))
    assert main(command) == 2
    assert "holds a run already" in capsys.readouterr().err


@pytest.mark.nightly
def test_a_run_killed_in_its_first_epoch_resumes_from_its_best_checkpoint(options, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["fit", *options, "--run", str(run), "--trainer.max_epochs", "1"]
    assert main(command) == 0
    (run / "checkpoints" / "last.ckpt").unlink()
    dataclasses.replace(RunManifest.read(run), complete=False, checkpoints={}, checkpoint_sha256={}).write(
        run
    )
    assert main(command) == 0
    assert f"resumes from {run / 'checkpoints' / 'best.ckpt'}" in capsys.readouterr().err
    assert RunManifest.read(run).complete


def test_a_training_that_diverges_stops_by_name_and_its_weights_are_not_used(
    finished, options, tmp_path, capsys
):
    run = tmp_path / "run"
    command = ["fit", *options, "--run", str(run), "--trainer.max_epochs", "1"]
    assert main([*command, "--optimizer.init_args.lr", "1e30"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"error: (loss|weight \S+) is not finite \(NaN or infinity\) in epoch 0, step \d", told)
    assert "trainer.precision" in told
    assert not list((run / "checkpoints").glob("*.ckpt"))
    run = shutil.copytree(finished, tmp_path / "sound")
    state = weights(run, "best")
    name = next(name for name in state["state_dict"] if name.startswith("model.") and name.endswith("weight"))
    state["state_dict"][name].view(-1)[0] = float("nan")
    torch.save(state, run / "checkpoints" / "best.ckpt")
    digest = {"best": sha256_of_file(run / "checkpoints" / "best.ckpt")}
    dataclasses.replace(RunManifest.read(run), checkpoint_sha256=digest).write(run)
    with pytest.raises(WeightsError, match=f"tensor {name} is not finite"):
        load_run(run)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1}, path)

    def full(self, checkpoint, path, storage_options=None):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", full)
    with pytest.raises(OutputError, match="No space left"):
        WholeCheckpoints().save_checkpoint({"epoch": 2}, path)
    assert torch.load(path) == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_the_manifest_says_what_was_done(finished, world, plain_store):
    manifest = RunManifest.read(finished)
    store = make_store_fingerprint(plain_store)
    assert manifest.complete
    assert manifest.seed == 7
    assert manifest.class_names == ("water", "developed", "forest", "herbaceous", "other")
    assert manifest.data.root == str(world.root.resolve())
    assert (manifest.data.modalities, manifest.data.timesteps) == (("S1RTC",), (0, 1, 2, 3))
    assert {name: (split.chips, split.scenes) for name, split in manifest.data.splits.items()} == {
        "train": (4, 2),
        "val": (2, 1),
        "test": (3, 2),
    }
    assert manifest.data.splits["train"].masks
    assert not manifest.data.splits["test"].masks  # fit does not look at them
    assert manifest.augment.encoding == ("onehot",)
    assert manifest.augment.arrays == ("lulc",)
    assert (manifest.augment.store, manifest.augment.fingerprint) == (str(plain_store.resolve()), store)
    assert manifest.start.architecture == "terramind_demo"
    assert manifest.start.weights == "random"
    assert manifest.cost.parameters == manifest.cost.trainable_parameters > 5e5
    assert (manifest.cost.epochs, manifest.cost.steps, manifest.cost.device) == (2, 4, "cpu")
    assert manifest.cost.wall_seconds > 0
    assert manifest.checkpoints == {"best": "checkpoints/best.ckpt", "last": "checkpoints/last.ckpt"}
    assert "terratorch" in manifest.versions
    assert list((finished / "logs" / "fit_0").glob("events.out.tfevents.*"))


def make_store_fingerprint(path):
    return json.loads((path / "zarr.json").read_text())["attributes"]["fingerprint"]


def test_a_manifest_reads_back_as_written(finished, tmp_path):
    manifest = RunManifest.read(finished)
    changed = dataclasses.replace(manifest, git_commit=None, smoke=True)
    changed.write(tmp_path)
    assert RunManifest.read(tmp_path) == changed
    (tmp_path / "manifest.json").write_text('{"manifest_version": 99}')
    with pytest.raises(RunError, match="manifest version 99, expected 3"):
        RunManifest.read(tmp_path)
    (tmp_path / "manifest.json").write_text('{"manifest_version": 3}')
    with pytest.raises(RunError, match="not a manifest this version wrote"):
        RunManifest.read(tmp_path)
    with pytest.raises(RunError, match="is not the directory of a run"):
        RunManifest.read(tmp_path / "nowhere")


def test_a_loaded_run_predicts_what_test_and_predict_report(finished, world, capsys):
    loaded = load_run(finished)
    task, datamodule = loaded.task, loaded.datamodule
    datamodule.setup("test")
    confusion = np.zeros((5, 5), dtype=np.int64)
    predicted = {}
    with torch.no_grad():
        for batch in datamodule.test_dataloader():
            classes = task(datamodule.model_batch(batch)["image"]).output.argmax(dim=1)
            for chip_id, scene, found, mask in zip(
                batch["chip_id"], batch["scene_id"], classes, batch["mask"], strict=True
            ):
                assert chip_id.startswith(scene)
                predicted[chip_id] = found.numpy()
                valid = mask >= 0
                np.add.at(confusion, (mask[valid].numpy(), found[valid].numpy()), 1)
    assert main(["test", "--run", str(finished)]) == 0
    rows = (finished / "logs" / "test_0" / "metrics.csv").read_text().splitlines()
    reported = dict(zip(rows[0].split(","), rows[1].split(","), strict=True))
    right = np.diag(confusion)
    seen = confusion.sum(0) + confusion.sum(1) > 0
    iou = (right / np.maximum(confusion.sum(0) + confusion.sum(1) - right, 1))[seen]
    assert float(reported["test/Pixel_Accuracy"]) == pytest.approx(right.sum() / confusion.sum())
    assert float(reported["test/mIoU"]) == pytest.approx(iou.mean(), abs=1e-6)
    assert main(["predict", "--run", str(finished)]) == 0
    for chip_id, classes in predicted.items():
        with rasterio.open(finished / "predictions" / f"{chip_id}.tif") as source:
            assert np.array_equal(source.read(1), classes)
            assert source.crs.to_epsg() == 32618


def test_validate_runs_on_the_best_checkpoint(finished):
    assert main(["validate", "--run", str(finished)]) == 0
    assert (finished / "logs" / "validate_0" / "metrics.csv").is_file()


def test_a_run_is_opened_from_any_folder(finished, world, plain_store, tmp_path, monkeypatch):
    """Its configuration has the paths as they were typed, its manifest has them whole."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    splits = {"test_split": str(world.chips.split_path("val"))}  # stays the run's own
    config["data"]["init_args"] |= {
        "data_root": "data/mine",
        "augment": "stores/mine",
        "layout": "mine.yaml",
        **splits,
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    datamodule = load_run("run", "last").datamodule
    assert datamodule.chips.root == world.root
    assert datamodule.augmentation.request.store == plain_store
    assert datamodule.files["test"] == splits["test_split"]


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # by the copy
def test_a_resumed_run_remembers_the_versions_of_its_first_part(finished, options, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = RunManifest.read(run)
    versions, cost = {**before.versions, "torch": "2.0"}, dataclasses.replace(before.cost, device="cuda")
    dataclasses.replace(before, versions=versions, cost=cost).write(run)
    resumed = ["--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--trainer.max_epochs", "3"]
    for _ in range(2):  # the second time, nothing is new
        assert main(["fit", *options, "--run", str(run), *resumed]) == 0
        after = RunManifest.read(run)
        assert after.versions == {**before.versions, "torch": f"2.0, then {before.versions['torch']}"}
        assert after.cost.device == "cuda, then cpu"


def test_a_moved_run_is_told_where_chips_and_store_lie(finished, world, tmp_path):
    store = tmp_path / "moved"
    store_of(world.chips, store)
    datamodule = load_run(finished, "last", PathOverrides(chips=world.root, store=store)).datamodule
    assert datamodule.augmentation.request.store == store
    with pytest.raises(RunError, match="no first checkpoint; there is best, last"):
        load_run(finished, "first")


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # by the copy
def test_a_checkpoint_is_used_without_the_published_weights(finished, options, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    published = {"backbone_pretrained": True, "backbone_weights": str(tmp_path / "nowhere")}
    config["model"]["init_args"]["model_args"] |= published
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for command in ("validate", "test", "predict"):
        assert main([command, "--run", str(run)]) == 0
    last = ["--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--trainer.max_epochs", "3"]
    assert main(["fit", "--run", str(run), *last]) == 0
    kept = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["model_args"]
    assert published.items() <= kept.items()
    assert RunManifest.read(run).start.weights == "random"  # as the run that goes on has it on record


def test_a_run_is_not_resumed_as_another_one(finished, tmp_path, options, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    last = ["--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--run", str(run)]
    before = (run / "manifest.json").read_bytes()
    changes = ["--seed", "8", "--control", "shuffle", "--data.init_args.limit_chips", "2"]
    changes += ["--optimizer.init_args.lr", "1e-2", "--data.init_args.batch_size", "1"]
    assert main(["fit", *options, *changes, *last]) == 2
    message = capsys.readouterr().err
    names = ("seed", "data.splits.train", "augment.control", "recipe.optimizer.lr", "recipe.data.batch_size")
    assert all(name in message for name in names), message
    assert "augment.encoding" not in message
    assert (run / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state, name: state.pop(name), "{name} is missing"),
        pytest.param(
            lambda state, name: state.update({name: torch.zeros(3)}),
            r"{name} has shape \(3,\), expected \(",
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            lambda state, name: state.update({"model.more": torch.zeros(3)}),
            "model.more has no place in this",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_only_a_checkpoint_of_this_very_network_is_opened_or_resumed(
    finished, options, tmp_path, capsys, change, message
):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    last = run / "checkpoints" / "last.ckpt"
    changed = weights(run)
    name = next(name for name in changed["state_dict"] if name.endswith("fc1.weight"))
    change(changed["state_dict"], name)
    torch.save(changed, last)
    with pytest.raises(RunError, match=r"but training left .* changed or damaged"):
        load_run(run, "last")
    kept = RunManifest.read(run)
    dataclasses.replace(kept, checkpoint_sha256={"last": sha256_of_file(last)}).write(run)  # as if trained so
    before = {path: path.read_bytes() for path in run.glob("*.*")}
    with pytest.raises(WeightsError, match=message.format(name=name)):
        load_run(run, "last")
    for command in (["fit", *options], ["test"]):
        assert main([*command, "--run", str(run), "--ckpt_path", str(last)]) == 2
        assert re.search(message.format(name=name), capsys.readouterr().err)
    assert {path: path.read_bytes() for path in run.glob("*.*")} == before


def test_a_run_starts_from_a_checkpoint_of_weights_alone_and_records_it(options, finished, tmp_path, capsys):
    run, init = tmp_path / "run", tmp_path / "weights.ckpt"
    torch.save(
        {"state_dict": weights(finished, "best")["state_dict"], "pytorch-lightning_version": "2.6"}, init
    )
    still = [*options, "--optimizer.init_args.lr", "0.0", "--trainer.max_epochs", "1", "--run", str(run)]
    assert main(["fit", *still, "--ckpt_path", str(init)]) == 2
    assert f"{init}: holds weights only" in capsys.readouterr().err
    assert main(["fit", *still, "--init", str(init)]) == 0
    manifest = RunManifest.read(run)
    assert manifest.start.init == str(init)
    assert len(manifest.start.init_sha256) == 64
    ours, theirs = weights(run)["state_dict"], weights(finished, "best")["state_dict"]
    names = [name for name in theirs if "running_" not in name and "num_batches" not in name]
    assert all(torch.equal(ours[name], theirs[name]) for name in names)


@pytest.mark.pictures
def test_pictures_that_cannot_be_drawn_cost_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "draw_curves", lambda run: (run / "gone" / "curves.png").touch())
    train._draw(tmp_path, None)
    assert f"{tmp_path}: trained, but its pictures could not be drawn (" in capsys.readouterr().err


@pytest.mark.pictures
def test_the_last_checkpoint_is_the_last_and_not_the_best_again(options, tmp_path):
    """Where the loss rises, the two differ; an interrupted run resumes where it was."""
    run = tmp_path / "run"
    rising = ["--optimizer.init_args.maximize", "true", "--optimizer.init_args.lr", "1e-2"]
    assert main(["fit", *options, *rising, "--run", str(run), "--trainer.max_epochs", "3"]) == 0
    best, last = weights(run, "best"), weights(run)
    assert (last["epoch"], last["global_step"]) == (2, RunManifest.read(run).cost.steps)
    assert best["epoch"] < 2
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    with Image.open(run / "prediction_grid.png") as grid, Image.open(run / "curves.png") as curves:
        # two validation chips of 6 × 2 inches and a heading, at 110 pixels an inch
        assert grid.size == (660, 484)
        assert curves.size == (880, 330)
        # grey, where pixels are ignored, and classes beside it
        assert {(128, 128, 128)} < {color[:3] for _, color in grid.getcolors(2**20)}
