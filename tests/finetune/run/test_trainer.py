"""Loggers and callbacks of the author's own, named by class in a YAML, with the run's manifest in them."""

import sys

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from finetune.__main__ import main
from finetune.options import find_config
from finetune.run.manifest import RunManifest
from tests.worlds import tiny_options

pytestmark = pytest.mark.slow

PARTS = '''\
"""A logger such as Weights & Biases has, that writes what it is told to one file; and a callback that uses it."""

import json
from pathlib import Path

from lightning.pytorch import Callback
from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment


class Tracker(Logger):
    def __init__(self, project, folder):
        super().__init__()
        self.project, self.folder = project, Path(folder)
        self.config, self.metrics, self.status = {}, [], None

    @property
    def name(self):
        return self.project

    @property
    def version(self):
        return "7"

    @property
    @rank_zero_experiment
    def experiment(self):
        return self

    def log_hyperparams(self, params, *args, **kwargs):
        clash = {key for key in params if self.config.get(key, params[key]) != params[key]}
        if clash:  # as MLflow, which takes each value once
            raise ValueError(f"changed: {clash}")
        self.config |= dict(params)

    def log_metrics(self, metrics, step=None):
        self.metrics.append(dict(metrics))

    def finalize(self, status):
        told = {"config": self.config, "metrics": self.metrics, "status": status, "seen": getattr(self, "seen", None)}
        (self.folder / "tracked.json").write_text(json.dumps(told, default=str))


class Sees(Callback):
    """Finds its logger among the trainer's, as callbacks that log pictures do."""

    def on_train_start(self, trainer, pl_module):
        [own] = [logger for logger in trainer.loggers if isinstance(logger, Tracker)]
        own.seen = own.config["manifest"]["augment"]["fingerprint"]
'''


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A shipped YAML that logs to TensorBoard and to a logger in a folder of the user's."""
    folder = tmp_path / "tracker_parts"
    folder.mkdir()
    (folder / "__init__.py").write_text(PARTS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    config = yaml.safe_load(find_config("nyc_tim_lulc", tmp_path).read_text())
    config["custom_modules_path"] = str(folder)
    own = {"class_path": "tracker_parts.Tracker", "init_args": {"project": "floods", "folder": str(tmp_path)}}
    board = {
        "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
        "init_args": {"save_dir": str(tmp_path)},
    }
    config["trainer"] |= {"logger": [own, board], "callbacks": [{"class_path": "tracker_parts.Sees"}]}
    path = tmp_path / "tracked.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_manifest_reaches_every_logger(config, world, plain_store, tmp_path):
    run = tmp_path / "run"
    arguments = [*tiny_options(world, str(config)), "--augment", str(plain_store), "--run", str(run)]
    assert main(["fit", *arguments, "--trainer.max_epochs", "1"]) == 0
    manifest = RunManifest.read(run)
    tracked = yaml.safe_load((tmp_path / "tracked.json").read_text())
    assert tracked["status"] == "success"
    assert tracked["seen"] == manifest.augment.fingerprint
    told = tracked["config"]["manifest"]
    assert told["augment"]["store"] == str(plain_store)
    assert told["data"]["splits"]["train"]["ids"] == manifest.data.splits["train"].ids
    assert told["created"] == manifest.created
    assert not {"cost", "complete", "checkpoints", "checkpoint_sha256"} & set(told)
    assert any("val/loss" in metrics for metrics in tracked["metrics"])
    own = yaml.safe_load((run / "logs/fit_0/hparams.yaml").read_text())
    assert own["manifest"]["augment"]["fingerprint"] == manifest.augment.fingerprint
    [events] = tmp_path.glob("lightning_logs/version_0/events.out.tfevents.*")
    board = EventAccumulator(str(events)).Reload()
    assert "val/loss" in board.Tags()["scalars"]
    assert "_hparams_/session_start_info" in board.summary_metadata
    assert b"manifest/augment/fingerprint" in events.read_bytes()
    assert manifest.augment.fingerprint.encode() in events.read_bytes()
