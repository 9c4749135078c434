"""YAMLs and masks as people bring them to TerraTorch: each is trained, or refused in one line before training."""

import csv
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY

from finetune.data import training_checks
from finetune.data.datamodule import TimStoreDataModule
from finetune.errors import RunError
from finetune.run.callbacks import FiniteTraining
from finetune.run.manifest import RunManifest
from terramind_weights.checkpoint import NETWORK
from tests.finetune.run.foreign import HOLES, arguments, fit, make_chips, refusal

pytestmark = pytest.mark.slow


def test_a_yaml_without_a_trainer_or_precision_trains_in_32_bits(config, tmp_path):
    del config["trainer"]
    assert fit(config, tmp_path, "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1") == 0
    assert RunManifest.read(tmp_path / "run").cost.precision == "32-true"


@pytest.mark.parametrize("place", ["data", pytest.param("optimizer", marks=pytest.mark.nightly)])
def test_a_section_may_be_a_file_of_its_own(config, tmp_path, place):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "part.yml").write_text(yaml.safe_dump(config[place]))
    config[place] = "parts/part.yml"
    assert fit(config, tmp_path, "--smoke") == 0


def test_a_section_that_names_no_file_is_a_line(config, tmp_path, capsys):
    config["data"] = "parts/none.yaml"
    assert fit(config, tmp_path) == 2
    assert "parts/none.yaml: cannot be read" in refusal(capsys)


@pytest.mark.parametrize(
    ("loss", "masks", "status"),
    [
        ({"focal": 0.5, "lovasz": 1.5}, "holed", 0),
        pytest.param(["dice", "ce"], "holed", 0, marks=pytest.mark.nightly),
        pytest.param(["ce", "jaccard"], "chips", 0, marks=pytest.mark.nightly),
        pytest.param("jaccard", "holed", 2, marks=pytest.mark.nightly),
        ({"ce": 1.0, "jaccard": 1.0}, "holed", 2),
    ],
)
def test_several_losses_leave_ignored_pixels_out_or_refuse_them(
    config, tmp_path, request, capsys, loss, masks, status
):
    config["model"]["init_args"]["loss"] = loss
    config["data"]["init_args"]["data_root"] = str(request.getfixturevalue(masks))
    assert fit(config, tmp_path, "--smoke") == status
    if status:
        assert "jaccard cannot leave out; take ce, dice, focal or lovasz" in refusal(capsys)


def test_a_mask_without_labels_leaves_the_validation_loss_a_number(config, tmp_path, capsys):
    root = make_chips(
        tmp_path / "chips", lambda chip_id: np.full((32, 32), -1) if chip_id == "b_0_1" else HOLES
    )
    config["data"]["init_args"] |= {"data_root": str(root), "batch_size": 1}
    config["trainer"]["enable_progress_bar"] = True
    assert fit(config, tmp_path) == 0
    out, told = capsys.readouterr()
    assert "Epoch 0" not in out  # no bar where there is no terminal
    assert "note: val/loss: a batch holds no label that counts" in told
    assert re.search(
        r"^epoch 1 of 1: train/loss [\d.]+, val/loss [\d.]+, val/mIoU [\d.]+ %, \d+ s$", told, re.M
    )
    rows = csv.DictReader((tmp_path / "run/logs/fit_0/metrics.csv").read_text().splitlines())
    losses = [float(row["val/loss"]) for row in rows if row.get("val/loss")]
    assert losses
    assert all(map(math.isfinite, losses))


def test_a_validation_split_without_any_label_stops_by_name(config, tmp_path, capsys):
    root = make_chips(
        tmp_path / "chips", lambda chip_id: np.full((32, 32), -1) if chip_id[0] == "b" else HOLES
    )
    config["data"]["init_args"]["data_root"] = str(root)
    assert fit(config, tmp_path) == 2
    assert "no mask of the 2 chips of the val split holds a label, only -1 (ignored)" in refusal(capsys)
    TimStoreDataModule(str(root), modalities=["S1RTC"], limit_chips=2).setup(
        "fit"
    )  # of which the others may have some


def test_a_smoke_run_without_any_label_is_sound():
    trainer = SimpleNamespace(
        callback_metrics={"val/loss": torch.tensor(math.nan)}, fast_dev_run=2, current_epoch=0
    )
    module = SimpleNamespace(state_dict=lambda: {f"{NETWORK}weight": torch.ones(1)})
    FiniteTraining().on_train_epoch_end(trainer, module)
    trainer.fast_dev_run = False
    with pytest.raises(RunError, match="no checkpoint can be the best"):
        FiniteTraining().on_train_epoch_end(trainer, module)


def test_a_class_of_no_weight_alone_leaves_the_losses_numbers(config, tmp_path, capsys):
    """Cross entropy divides by the weights of a batch's labels, here 0."""
    one_class = make_chips(
        tmp_path / "chips", lambda chip_id: HOLES if chip_id.endswith("1") else np.zeros((32, 32), int)
    )
    config["data"]["init_args"] |= {"data_root": str(one_class), "batch_size": 1}
    config["model"]["init_args"]["class_weights"] = [0, 1]
    config["trainer"] |= {"max_epochs": -1, "max_steps": 3, "log_every_n_steps": 1}
    assert fit(config, tmp_path) == 0
    told = capsys.readouterr().err
    assert "note: train/loss: a batch holds no label that counts" in told
    assert "note: val/loss: a batch holds no label that counts" in told
    assert RunManifest.read(tmp_path / "run").cost.steps == 3


def test_a_label_for_no_data_names_its_remedy(config, tmp_path, capsys):
    root = make_chips(tmp_path / "chips", lambda _: np.where(HOLES < 0, 255, HOLES))
    config["data"]["init_args"]["data_root"] = str(root)
    assert fit(config, tmp_path) == 2
    told = refusal(capsys)
    assert "mask holds label 255" in told
    assert "ignored_labels of a layout file (--layout)" in told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"backbone": "prithvi_eo_v2_tiny_tl"},
            "backbone 'prithvi_eo_v2_tiny_tl'; tim-finetune trains TerraMind",
        ),
        ({"backbone": "timm_resnet18"}, "train others by terratorch fit"),
        ({"ckpt_data": "mine.pt"}, "model_args: ckpt_data mine.pt would leave what does not fit random"),
        (
            {"backbone_pretrained": "mine.pt"},
            "backbone_pretrained mine.pt would leave what does not fit random",
        ),
        ({"pretrained": True}, "pretrained True would leave what does not fit random, without a word"),
        ({"backbone_pretrained": True}, "TerraMind_v1_tiny.pt is not in"),
        (
            {"backbone_ckpt_path": "mine.pt"},
            "backbone_ckpt_path mine.pt would leave what does not fit random",
        ),
        (
            {"backbone_weights": "mine.pt"},
            "backbone_weights mine.pt is not read without backbone_pretrained: true",
        ),
        (
            {"decoder": "LinearDecoder"},
            "LinearDecoder.__init__() got an unexpected keyword argument 'channels'",
        ),
        ({"decoder": "UNetDecoderr"}, "there is no UNetDecoderr; did you mean UNetDecoder?"),
        (
            {"necks": [{"name": "SelectIndices", "indices": [99]}]},
            "SelectIndices: indices [99]; terramind_v1_tiny has blocks 0 to 11",
        ),
    ],
)
def test_what_is_not_ours_to_train_or_not_there_is_a_line(config, tmp_path, capsys, change, message):
    arguments(config).update(change)
    assert fit(config, tmp_path) == 2
    assert message in refusal(capsys)


@pytest.mark.parametrize(
    "task",
    [
        "terratorch.tasks.PixelwiseRegressionTask",
        "ClassificationTask",
        "torchgeo.trainers.SemanticSegmentationTask",
    ],
)
def test_another_task_is_a_line(config, tmp_path, capsys, task):
    config["model"]["class_path"] = task
    assert fit(config, tmp_path) == 2
    assert f"model.class_path: {task}; tim-finetune trains" in refusal(capsys)


ALBUMENTATIONS = "albumentations."
TERRATORCH = "terratorch.datasets.transforms."
LEARNING_RATES = "torch.optim.lr_scheduler."


def stops_by(metric, **more):
    return [{"class_path": "EarlyStopping", "init_args": {"monitor": metric, **more}}]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.class_weights", [0, 0], "class_weights [0, 0]; expected numbers of 0 or more, and not 0"),
        ("model.class_weights", [math.nan, 1], "class_weights [nan, 1]; expected numbers of 0 or more"),
        ("model.class_weights", [1, 1, 1], "num_classes 2, but 3 class_weights; give one for each class"),
        ("model.loss", {"ce": -1.0}, "loss {'ce': -1.0}; expected for each loss a weight of 0 or more"),
        (
            "model.model_args.num_classes",
            1,
            "num_classes 1; expected the number of classes in the masks, 2 or",
        ),
        (
            "model.model_factory",
            "SMPModelFactory",
            "model_factory: SMPModelFactory; tim-finetune trains",
        ),
        ("model.path_to_record_metrics", "x", "TerraTorch then counts test batches twice; leave it out"),
        ("data.batch_size", 0, "batch_size 0, num_workers 0; expected 1 or more, and 0 or more"),
        (".optimizer", None, "lr_scheduler without a section optimizer would be left out without a word"),
        (".ckpt_path", "old.ckpt", "ckpt_path old.ckpt; give it as --ckpt_path, to resume that training"),
        (".lr_scheduler.init_args.monitor", "val_loss", "lr_scheduler: monitor val_loss is no metric"),
        (
            ".lr_scheduler",
            {"class_path": f"{LEARNING_RATES}ReduceLROnPlateau"},
            "ReduceLROnPlateau watches no metric; name lightning.pytorch.cli.ReduceLROnPlateau",
        ),
        (".trainer.callbacks", stops_by("val/Jaccard"), "EarlyStopping: monitor val/Jaccard is no metric"),
        (".trainer.callbacks", stops_by("val/mIoU"), "takes the worst for the best; give mode max"),
        (".trainer.callbacks", stops_by("val/IoU_1"), "takes the worst for the best; give mode max"),
        (
            ".trainer.check_val_every_n_epoch",
            2,
            "lr_scheduler: looks at val/loss in each epoch, but check_val_",
        ),
        (".trainer.limit_val_batches", 0, "monitor val/loss, but limit_val_batches 0 turns validation off"),
        (
            ".trainer.val_check_interval",
            50,
            "val_check_interval 50, but an epoch has fewer batches; give 2 or",
        ),
        (".trainer.callbacks", stops_by("val/loss", monitr=1), "Option 'monitr' is not accepted"),
    ],
)
def test_what_is_known_before_training_is_a_line_before_training(
    config, tmp_path, capsys, key, value, message
):
    section, *path, last = key.split(".")
    place = config[section]["init_args"] if section else config
    for name in path:
        place = place[name]
    place[last] = value
    assert fit(config, tmp_path) == 2
    assert message in refusal(capsys)
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("step", "arguments", "message"),
    [
        (
            f"{ALBUMENTATIONS}Normalize",
            {"mean": [-11.0, -17.0], "std": [4.0, 4.0], "max_pixel_value": 1.0},
            "train_transform Normalize standardizes what means and stds impactmesh_flood standardize again",
        ),
        (
            f"{ALBUMENTATIONS}Resize",
            {"height": 64, "width": 64, "mask_interpolation": 1},
            "Resize: mask_interpolation 1 makes labels between those of the mask",
        ),
        (
            f"{TERRATORCH}SelectBands",
            {"band_indices": [0]},
            "transforms make images of S1RTC [1, 32, 32] of [2, 32, 32]",
        ),
        (
            f"{TERRATORCH}Rearrange",
            {"rearrange": "h w c -> c h w"},
            "transforms make images of S1RTC [32, 2, 32] of [2, 32, 32]",
        ),
        (f"{ALBUMENTATIONS}Resize", {"size": 64}, "albumentations.Resize': Option 'size' is not accepted"),
        (f"{ALBUMENTATIONS}RandomFlip", {}, "there is no albumentations.RandomFlip; did you mean"),
    ],
)
def test_transforms_that_change_units_bands_or_labels_are_a_line(
    config, tmp_path, capsys, step, arguments, message
):
    config["data"]["init_args"]["train_transform"] = [{"class_path": step, "init_args": arguments}]
    assert fit(config, tmp_path, "--smoke") == 2
    assert message in refusal(capsys)


@pytest.mark.parametrize(
    ("decoder", "more", "message"),
    [
        (
            "UperNetDecoder",
            {"decoder_channels": 16},
            "batch of an epoch holds one chip (3 chips, batch_size 2)",
        ),
        (
            "smp_PSPNet",
            {},
            "batch norm over a single pixel needs two; choose another data.init_args.batch_size",
        ),
        ("MLPDecoder", {}, "the network fails on a chip of 32 px: Sizes of tensors must match"),
    ],
)
def test_decoders_that_cannot_take_a_batch_are_a_line(config, tmp_path, capsys, decoder, more, message):
    del arguments(config)["decoder_channels"]
    arguments(config).update({"decoder": decoder, **more})
    assert fit(config, tmp_path, "--smoke") == 2
    assert message in refusal(capsys)


@pytest.mark.parametrize(("limit", "counted"), [(1, None), (2, "3 chips, batch_size 2"), (0.5, None)])
def test_only_a_batch_that_is_trained_counts(limit, counted, monkeypatch):
    """Of 3 chips the second batch of two holds one, which a limit of one batch, or of half of two, never reaches."""
    chips = [{"image": {"S1RTC": torch.zeros(2, 32, 32)}}] * 3
    module = SimpleNamespace(batch_size=2, datasets={"train": chips}, model_batch=lambda batch: batch)
    trainer = SimpleNamespace(world_size=1, limit_train_batches=limit)
    tried = []
    monkeypatch.setattr(training_checks, "try_network", lambda _task, _images, one: tried.append(one))
    monkeypatch.setattr(training_checks, "check_interval", lambda *_: None)
    training_checks.check_batches(trainer, None, module)
    assert tried == [counted]


def test_weights_of_a_file_are_proven_and_named(config, tmp_path):
    network = TERRATORCH_BACKBONE_REGISTRY.build("terramind_v1_tiny", modalities=["S1RTC"], pretrained=False)
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    arguments(config).update({"backbone_weights": str(tmp_path / "mine.pt"), "backbone_pretrained": True})
    assert fit(config, tmp_path) == 0
    assert RunManifest.read(tmp_path / "run").start.weights == str(tmp_path / "mine.pt")
