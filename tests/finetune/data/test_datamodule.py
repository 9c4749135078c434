"""What people bring along: chips without names or times, loggers and modules of their own, overrides, a bad store."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from augment_store.store.writer import AugmentStore
from finetune.__main__ import main
from finetune.run.load import load_run
from finetune.run.manifest import RunManifest
from terramind_weights.weight_files import read_checkpoint
from tests.worlds import tiny_options, two_class_config, write_folder_chips, write_tif

pytestmark = pytest.mark.slow

SPLITS = {"train": ("a_0_0", "a_0_1"), "val": ("b_0_0",), "test": ("c_0_0",)}
CALLBACK = """\
from lightning.pytorch import Callback


class Witness(Callback):
    def on_fit_end(self, trainer, pl_module):
        with open({!r}, "w") as file:
            file.write(str(trainer.global_step))
"""


@pytest.fixture(scope="module")
def flood(tmp_path_factory):
    """A two-class chip set in the folder layout: radar of one timestep, masks, splits."""
    root = tmp_path_factory.mktemp("flood") / "chips"
    write_folder_chips(root, [chip_id for ids in SPLITS.values() for chip_id in ids])
    (root / "split").mkdir()
    rng = np.random.default_rng(3)
    for split, ids in SPLITS.items():
        (root / "split" / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for chip_id in ids:
            write_tif(root / "MASK" / f"{chip_id}.tif", rng.integers(0, 2, (1, 32, 32)).astype(np.int8))
    return root


@pytest.fixture
def own(flood, tmp_path):
    """A YAML of a two-class data set, and the options that train it for one epoch."""
    return two_class_config("nyc_s1_only", data_root=str(flood))


def fit(config, tmp_path, *words):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(config))
    return main(["fit", "--config", str(path), "--run", str(tmp_path / "run"), *words])


def test_two_classes_without_names_and_one_timestep(own, tmp_path):
    own["model"]["init_args"]["model_args"]["backbone"] = (
        "terramind_v1_large"  # which the command line overrides
    )
    override = ["--model.init_args.model_args.backbone", "terramind_v1_tiny", "--data.batch_size", "1"]
    assert fit(own, tmp_path, *override) == 0
    manifest = RunManifest.read(tmp_path / "run")
    assert manifest.class_names == ("class 0", "class 1")
    assert manifest.data.timesteps == (0,)
    assert manifest.start.architecture == "terramind_v1_tiny"
    assert manifest.cost.steps == 2  # of two chips, one a batch
    datamodule = load_run(tmp_path / "run").datamodule
    assert (datamodule.class_names, datamodule.reading.timesteps) == (("class 0", "class 1"), (0,))


def test_a_label_beyond_the_classes_is_a_line(own, flood, tmp_path, capsys):
    write_tif(flood / "MASK" / "b_0_0.tif", np.full((1, 32, 32), 4, np.int8))
    assert fit(own, tmp_path) == 2
    assert "chip b_0_0: mask holds label 4; expected 0 to 1, or -1" in capsys.readouterr().err
    write_tif(flood / "MASK" / "b_0_0.tif", np.ones((1, 32, 32), np.int8))
    (flood / "split" / "val.txt").rename(tmp_path / "val.txt")
    assert fit(own, tmp_path) == 2
    (tmp_path / "val.txt").rename(flood / "split" / "val.txt")
    expected = "no val split: expected split/val.txt with a chip id a line, and masks as MASK/{id}.tif"
    assert f"{expected} or MASK/{{id}}.tiff; or --data.init_args.val_split FILE" in capsys.readouterr().err


def test_an_override_of_time_is_seen(own, tmp_path, capsys):
    temporal = ["--model.init_args.model_args.backbone_use_temporal", "true"]
    assert fit(own, tmp_path, *temporal) == 2
    assert "data has 1 timestep, model_args has backbone_use_temporal True" in capsys.readouterr().err
    assert fit(own, tmp_path, "--data.init_args.timesteps", "[0,1]") == 2
    assert "data has 2 timesteps, model_args has backbone_use_temporal False" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--data.init_args.batchsize", "2"],
            "error: --data.init_args.batchsize: no such key; did you mean batch_size?\n",
        ),
        (["--trainer.max_epoch", "2"], "error: --trainer.max_epoch: no such key; did you mean max_epochs?\n"),
        # of no likeness to any: the parser's own words
        (["--data.init_args.batch_size", "two"], 'error: command line: Parser key "data": '),
    ],
)
def test_a_wrong_override_is_one_short_line_that_blames_no_file(own, tmp_path, capsys, words, message):
    assert fit(own, tmp_path, *words) == 2
    told = capsys.readouterr().err
    assert told.startswith(message)
    assert len(told) < 200
    assert "own.yaml" not in told


@pytest.mark.nightly
def test_loggers_and_modules_of_the_users_own_count(own, tmp_path, monkeypatch, capsys):
    folder, seen, board = tmp_path / "my_parts", tmp_path / "seen.txt", tmp_path / "mine"
    folder.mkdir()
    (folder / "__init__.py").write_text(CALLBACK.format(str(seen)))
    monkeypatch.setattr(sys, "path", list(sys.path))
    own["custom_modules_path"] = str(folder)
    own["trainer"]["callbacks"] = [{"class_path": "my_parts.Witness"}]
    own["trainer"]["logger"] = {
        "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
        "init_args": {"save_dir": str(board), "name": "board"},
    }
    run = tmp_path / "run"
    assert fit(own, tmp_path) == 0
    assert seen.read_text() == "1"
    assert list((board / "board").rglob("events.out.tfevents.*"))
    assert (run / "logs" / "fit_0" / "metrics.csv").is_file()
    assert not list((run / "logs").rglob("events.out.tfevents.*"))
    capsys.readouterr()
    assert main(["test", "--run", str(run)]) == 2  # the run may be someone else's
    told = capsys.readouterr().err
    assert f"custom_modules_path: {folder}; expected no folder of modules to import" in told
    assert f"test or predict with --config {run / 'config.yaml'}" in told
    assert main(["test", "--run", str(run), "--config", str(run / "config.yaml")]) == 0
    assert (run / "logs" / "test_0" / "metrics.csv").is_file()


def test_modules_that_cannot_be_imported_are_a_line(own, tmp_path, capsys):
    own["custom_modules_path"] = str(tmp_path / "nowhere")
    assert fit(own, tmp_path) == 2
    assert f"own.yaml: cannot be built: Modules path {tmp_path / 'nowhere'} isn't a directory" in (
        capsys.readouterr().err
    )


def test_a_store_is_opened_twice_and_a_checkpoint_read_once(world, plain_store, tmp_path, monkeypatch):
    opened, read = [], []
    begin, load = AugmentStore.__init__, read_checkpoint

    def count(self, path, *arguments, **keywords):
        opened.append(path)
        begin(self, path, *arguments, **keywords)

    def note(path):
        read.append(path.name)
        return load(path)

    monkeypatch.setattr(AugmentStore, "__init__", count)
    monkeypatch.setattr("terramind_weights.checkpoint.read_checkpoint", note)
    run = tmp_path / "run"
    once = ["--trainer.max_epochs", "1", "--run", str(run)]
    assert main(["fit", *tiny_options(world, "nyc_tim_lulc"), "--augment", str(plain_store), *once]) == 0
    assert opened == [Path(plain_store)] * 2  # before torch is imported, and by the datamodule
    assert read == []
    load_run(run)
    assert opened == [Path(plain_store)] * 3
    assert read == ["best.ckpt"]
