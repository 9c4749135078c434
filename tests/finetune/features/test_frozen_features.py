"""Trainings on features through the command line: equal to those with the backbone, and whole runs."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import zarr

from finetune.__main__ import main
from finetune.augment.augmentation import AugmentRequest
from finetune.data.datamodule import TimStoreDataModule
from finetune.errors import ConfigError
from finetune.features.feature_store import FeatureStore
from finetune.features.frozen_encoder import check_frozen, joined_maps
from finetune.options import Options
from finetune.run.load import load_run
from finetune.run.manifest import RunManifest
from finetune.run.train import _prepare_weights
from tests.conftest import ROOT
from tests.disks import small_disk
from tests.finetune.model.test_initialization import make_task
from tests.worlds import tiny_options

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def options(world):
    """Phase 2's YAML, four timesteps and D4, with a frozen backbone."""
    return [
        *tiny_options(world, "nyc_phase2"),
        *("--seed", "7", "--model.init_args.freeze_backbone", "true", "--optimizer.init_args.lr", "1e-3"),
    ]


@pytest.fixture(scope="module")
def features(options, tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "float32"
    assert main(["encode", *options, "--features", str(path), "--dtype", "float32"]) == 0
    return path


@pytest.fixture(scope="module")
def trained(options, features, tmp_path_factory):
    """A run of one epoch on features."""
    run = tmp_path_factory.mktemp("runs") / "features"
    words = ["--features", str(features), "--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "1"]
    assert main(["fit", *options, *words, "--run", str(run)]) == 0
    return run


def losses(run, start=0):
    lines = (run / "logs" / f"fit_{start}" / "metrics.csv").read_text().splitlines()
    columns = lines[0].split(",")
    wanted = [columns.index(name) for name in ("train/loss", "val/loss")]
    return [[line.split(",")[position] for position in wanted] for line in lines[1:]]


def test_losses_equal_those_of_the_run_with_the_backbone_to_the_last_bit(options, trained, tmp_path):
    run = tmp_path / "backbone"
    words = ["--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "1"]
    assert main(["fit", *options, *words, "--run", str(run)]) == 0
    found = losses(trained)
    assert found == losses(run)
    assert sum(bool(train) for train, _ in found) == 2  # steps
    assert RunManifest.read(trained).recipe["features"] == "float32"
    assert "features" not in RunManifest.read(run).recipe


def test_a_run_on_features_is_whole_without_them(trained, features):
    loaded = load_run(trained)  # knows nothing of the folder
    loaded.datamodule.setup("test")
    batch = loaded.datamodule.model_batch(next(iter(loaded.datamodule.test_dataloader())))
    assert loaded.task(batch["image"]).output.shape == (2, 5, 32, 32)
    names = set(loaded.task.model.encoder.state_dict())
    assert any("encoder_embeddings" in name for name in names)


@pytest.mark.nightly
def test_late_planes_share_the_features_of_the_baseline_and_begin_as_it(
    options, trained, features, plain_store, tmp_path
):
    run = tmp_path / "late"
    words = ["--features", str(features), "--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "1"]
    arm = ["--augment", str(plain_store), "--encoding", "onehot", "late"]
    assert main(["fit", *options, *arm, *words, "--run", str(run)]) == 0
    ours, theirs = ([train for train, _ in losses(path) if train] for path in (run, trained))
    assert ours[0] == theirs[0]  # new columns are zero
    assert ours[1] != theirs[1]  # and learn
    loaded = load_run(run)
    loaded.datamodule.setup("test")
    batch = loaded.datamodule.model_batch(next(iter(loaded.datamodule.test_dataloader())))
    assert loaded.task(batch["image"]).output.shape == (2, 5, 32, 32)
    same = RunManifest.read(run).recipe.items() ^ RunManifest.read(trained).recipe.items()
    assert not same  # an arm of the same recipe


def arrays(path):
    return {
        folder.name: zarr.open_array(folder, mode="r")[:]
        for folder in sorted(path.iterdir())
        if folder.is_dir()
    }


def test_encoding_that_was_interrupted_resumes_to_equal_features(
    options, features, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "features"
    write, count = FeatureStore.write, iter(range(100))

    def fail_late(self, *arguments):
        if next(count) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
        write(self, *arguments)

    command = ["encode", *options, "--features", str(path), "--dtype", "float32"]
    monkeypatch.setattr(FeatureStore, "write", fail_late)
    assert main(command) == 1
    monkeypatch.undo()
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"error: {path}: No space left on device; what is complete is kept.")
    assert len(arrays(path)) == 2
    shutil.rmtree(path / next(iter(arrays(path))))  # as one whose writer was killed
    assert main(command) == 0
    assert "6 chips, 5 of them encoded now" in capsys.readouterr().out
    ours, theirs = arrays(path), arrays(features)
    assert list(ours) == list(theirs)
    assert all(np.array_equal(values, theirs[name]) for name, values in ours.items())
    # four training chips under D4, two validation chips as they are
    assert sorted(len(values) for values in ours.values()) == [1, 1, 8, 8, 8, 8]


@pytest.mark.nightly
def test_encoding_that_was_killed_resumes_to_equal_features(options, features, tmp_path):
    path = tmp_path / "features"
    words = ["encode", *options, "--features", str(path), "--dtype", "float32"]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = subprocess.Popen(
        [sys.executable, "-m", "finetune", *words],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    while not path.is_dir() or not arrays(path):
        assert started.poll() is None, "ended before it was killed"
    started.kill()
    started.wait()
    assert main(words) == 0
    ours, theirs = arrays(path), arrays(features)
    assert list(ours) == list(theirs)
    assert all(np.array_equal(values, theirs[name]) for name, values in ours.items())
    assert {entry.name for entry in path.iterdir()} == {*ours, "features.json"}  # no draft is left


@pytest.mark.nightly
def test_a_full_disk_stops_encode_with_one_line_and_leaves_no_draft(options, tmp_path, capsys):
    path = tmp_path / "features"
    with small_disk(8_000):  # the key fits, and no chip
        assert main(["encode", *options, "--features", str(path), "--dtype", "float32"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: ")
    assert "File too large" in told
    assert [entry.name for entry in path.iterdir()] == ["features.json"]


def test_a_full_disk_stops_a_training_with_one_line_and_no_half_of_a_file(
    options, features, trained, tmp_path, capsys
):
    run = tmp_path / "run"
    words = ["--features", str(features), "--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "1"]
    command = ["fit", *options, *words, "--run", str(run)]
    with small_disk(100_000):  # the record and the logs fit, and no checkpoint
        assert main(command) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert f"{run}/checkpoints/" in told[0]
    assert "File too large" in told[0]
    assert not list((run / "checkpoints").iterdir())
    assert not RunManifest.read(run).complete
    assert main(command) == 0
    assert RunManifest.read(run).complete
    assert losses(run, start=1) == losses(trained)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--seed", "8"], "features of other weights"),
        (["--model.init_args.freeze_backbone", "false"], "set model.init_args.freeze_backbone: true"),
        (["--control", "analytic-ndvi"], "is frozen, so nothing could be learnt from the cached planes"),
    ],
)
def test_a_training_that_features_do_not_fit_is_refused_before_its_data_are_read(
    options, features, tmp_path, capsys, monkeypatch, words, what
):
    monkeypatch.setattr(TimStoreDataModule, "setup", lambda *_: pytest.fail("read"))
    command = ["fit", *options, *words, "--features", str(features), "--run", str(tmp_path / "run")]
    assert main(command) == 2
    assert what in capsys.readouterr().err
    assert not Path(tmp_path / "run").exists()


def test_a_resumed_training_looks_up_the_features_of_its_checkpoint(tmp_path):
    """Not those of the random weights that stand in for the checkpoint until Lightning loads it."""
    ours, theirs = make_task(seed=1), make_task(seed=2)
    last, run = tmp_path / "last.ckpt", tmp_path / "run"
    torch.save({"state_dict": theirs.state_dict(), "optimizer_states": []}, last)
    options = Options("fit", Path("x.yaml"), run, ckpt_path=last, features=tmp_path / "features")
    _prepare_weights(options, SimpleNamespace(model=ours))
    there = theirs.model.encoder.state_dict()
    assert all(torch.equal(value, there[name]) for name, value in ours.model.encoder.state_dict().items())


@pytest.mark.nightly
def test_a_run_on_features_that_began_with_a_checkpoint_is_resumed(options, features, trained, tmp_path):
    run, words = (
        tmp_path / "run",
        ["--features", str(features), "--seed", "8"],
    )  # last word: the seed in effect
    command = ["fit", *options, *words, "--run", str(run), "--trainer.max_epochs"]
    last = trained / "checkpoints" / "last.ckpt"
    assert main([*command, "1", "--init", str(last)]) == 0
    assert main([*command, "2", "--ckpt_path", str(run / "checkpoints" / "last.ckpt")]) == 0
    assert RunManifest.read(run).start.init == str(last)


def test_maps_of_another_draw_are_other_maps():
    """So that encode of one seed does not replace the features of another's shuffled maps."""
    maps = SimpleNamespace(fingerprint="abc")
    drawn = [
        joined_maps(SimpleNamespace(request=AugmentRequest("s", control="shuffle", seed=seed), maps=maps))
        for seed in (1, 2)
    ]
    assert drawn == ["shuffle of seed 1, store abc", "shuffle of seed 2, store abc"]
    plain = AugmentRequest("s", seed=1)
    assert joined_maps(SimpleNamespace(request=plain, maps=maps)) == "abc"


def test_a_backbone_that_draws_random_numbers_has_no_features(world):
    task = make_task(backbone_drop_rate=0.1)
    task.model.freeze_encoder()
    with pytest.raises(ConfigError, match=r"\(Dropout\) is not the same in each step"):
        check_frozen(task, TimStoreDataModule(str(world.root)))
