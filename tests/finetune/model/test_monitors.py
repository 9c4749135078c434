"""What a scheduler and callbacks may watch: all that TerraTorch's task logs, and nothing else."""

import datetime

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from terratorch.tasks import SemanticSegmentationTask
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

from finetune.errors import ConfigError
from finetune.model.monitors import batches_of_epoch, check_interval, check_monitors
from finetune.run.known_classes import CLASS_METRICS, METRICS

pytestmark = pytest.mark.slow


class OwnCallback(Callback):
    """A callback of a user's, which may log anything."""


def task_with(loss):
    network = {
        "backbone": "resnet18",
        "model": "Unet",
        "bands": ["RED"],
        "num_classes": 2,
        "pretrained": False,
    }
    return SemanticSegmentationTask(model_factory="SMPModelFactory", model_args=network, loss=loss)


def trainer_with(*callbacks, **options):
    return Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=list(callbacks), **options
    )


@pytest.fixture(scope="module")
def task():
    return task_with(["ce", "dice"])


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        *(("val/loss", "min"), ("train/loss", "min"), ("val/ce", "min"), ("val/dice_epoch", "min")),
        *(("val/mIoU", "max"), ("val/IoU_1", "max"), ("val/Class_Accuracy_0", "max"), ("train/mIoU", "max")),
    ],
)
def test_what_the_task_logs_can_be_watched(task, metric, mode):
    check_monitors(trainer_with(EarlyStopping(metric, mode=mode)), task)
    other = {"min": "max", "max": "min"}[mode]
    with pytest.raises(
        ConfigError, match=f"{metric} with mode {other} takes the worst for the best; give mode {mode}"
    ):
        check_monitors(trainer_with(EarlyStopping(metric, mode=other)), task)


@pytest.mark.parametrize("metric", ["val/mIoU_micro", "val/loss_x", "val/Multiclass_Jaccard_Index", "loss"])
def test_what_the_task_does_not_log_is_refused_unless_a_callback_of_the_users_may(task, metric):
    watch = EarlyStopping(metric)
    with pytest.raises(ConfigError, match=f"EarlyStopping: monitor {metric} is no metric of this task"):
        check_monitors(trainer_with(watch), task)
    check_monitors(trainer_with(watch, OwnCallback()), task)


def test_the_metrics_that_are_known_without_torch_are_those_of_the_task(task):
    for stage, measured in (("val/", task.val_metrics), ("train/", task.train_metrics)):
        assert set(measured) == {f"{stage}{name}" for name in (*METRICS, *CLASS_METRICS)}


def test_a_loss_by_its_name_is_logged_as_the_loss_alone():
    with pytest.raises(ConfigError, match="monitor val/ce is no metric"):
        check_monitors(trainer_with(EarlyStopping("val/ce")), task_with("ce"))


def test_a_scheduler_that_looks_each_epoch_needs_a_validation_each_epoch(task, monkeypatch):
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    plateau = {"scheduler": ReduceLROnPlateau(optimizer), "monitor": "val/loss"}
    monkeypatch.setattr(task, "configure_optimizers", lambda: {"lr_scheduler": plateau})
    check_monitors(trainer_with(check_val_every_n_epoch=None, val_check_interval=5), task)
    with pytest.raises(ConfigError, match="in each epoch, but check_val_every_n_epoch is 2"):
        check_monitors(trainer_with(check_val_every_n_epoch=2), task)


def test_an_optimizer_and_a_scheduler_that_the_task_makes_are_looked_at(task, monkeypatch):
    given = {"scheduler": "ReduceLROnPlateau", "scheduler_hparams": None}
    monkeypatch.setattr(task, "monitor", "val_loss")
    for key, value in given.items():
        monkeypatch.setitem(task.hparams, key, value)
    with pytest.raises(ConfigError, match="lr_scheduler: monitor val_loss is no metric"):
        check_monitors(trainer_with(), task)
    monkeypatch.setitem(task.hparams, "optimizer", "Lion")
    with pytest.raises(ConfigError, match=r"optimizer and scheduler of the task: .* no attribute 'Lion'"):
        check_monitors(trainer_with(), task)


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        ({"val_check_interval": 10}, True),
        ({"val_check_interval": 11}, False),
        ({"val_check_interval": 5, "limit_train_batches": 3}, False),
        ({"val_check_interval": 11, "limit_val_batches": 0}, True),
        ({"val_check_interval": 11, "check_val_every_n_epoch": None}, True),
        ({"val_check_interval": datetime.timedelta(hours=1), "check_val_every_n_epoch": None}, True),
    ],
)
def test_a_validation_every_so_many_batches_falls_into_an_epoch_of_ten(options, fits):
    trainer = trainer_with(**options)
    if fits:
        check_interval(trainer, 10)
    else:
        with pytest.raises(ConfigError, match="but an epoch has fewer batches"):
            check_interval(trainer, 10)


@pytest.mark.parametrize(("limit", "expected"), [(3, 3), (20, 10), (0.25, 2), (1.0, 10)])
def test_a_limit_counts_batches_or_is_a_share_of_them(limit, expected):
    assert batches_of_epoch(trainer_with(limit_train_batches=limit), 10) == expected
