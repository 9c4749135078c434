"""Keys that nothing takes are told before torch is imported."""

import copy
import inspect

import pytest
import yaml

from finetune.errors import ConfigError
from finetune.options import CONFIGS, parse
from finetune.run.config import check_classes
from finetune.run.early_keys import DATA_KEYS, TRAINER_KEYS, check_class_names, check_keys, check_monitored
from finetune.run.trainer import check_accelerator

GIVEN = yaml.safe_load((CONFIGS / "nyc_tim_lulc.yaml").read_text())


def test_the_keys_are_those_of_trainer_and_datamodule():
    from lightning.pytorch import Trainer

    from finetune.data.datamodule import TimStoreDataModule

    for keys, kind in ((TRAINER_KEYS, Trainer), (DATA_KEYS, TimStoreDataModule)):
        assert keys == set(inspect.signature(kind).parameters)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--trainer.max_epoch", "3"], "--trainer.max_epoch: no such key; did you mean max_epochs?"),
        (
            ["--data.init_args.batchsize=3"],
            "--data.init_args.batchsize: no such key; did you mean batch_size?",
        ),
        (["--trainer.xyzzy", "3"], "--trainer.xyzzy: no such key"),
    ],
)
def test_a_misspelled_override_names_the_key_that_was_meant(words, told):
    with pytest.raises(ConfigError) as error:
        check_keys(GIVEN, "mine.yaml", words)
    assert str(error.value) == told


def test_what_they_take_passes_and_a_yaml_is_named():
    check_keys(
        GIVEN,
        "mine.yaml",
        ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.patience=3", "--model.x=1"],
    )
    with pytest.raises(ConfigError) as error:
        check_keys({**GIVEN, "trainer": {"max_epoch": 3}}, "mine.yaml", [])
    assert str(error.value) == "mine.yaml: trainer.max_epoch: no such key; did you mean max_epochs?"


def test_a_misspelled_argument_of_the_network_is_told_and_one_of_a_decoder_we_do_not_know_passes():
    given = copy.deepcopy(GIVEN)
    arguments = given["model"]["init_args"]["model_args"]
    arguments["decoder_depth_of_its_own"] = 3
    check_keys(given, "mine.yaml", [])
    arguments["decoder_chanels"] = [64]
    with pytest.raises(ConfigError) as error:
        check_keys(given, "mine.yaml", [])
    told = (
        "mine.yaml: model.init_args.model_args.decoder_chanels: no such key; did you mean decoder_channels?"
    )
    assert str(error.value) == told


@pytest.mark.parametrize(
    ("section", "wrong", "told"),
    [
        (
            "data",
            {"init_args": {"train_transform": [{"class_path": "albumentations.RandomCropp"}]}},
            "data.init_args.train_transform.class_path: there is no albumentations.RandomCropp; "
            "did you mean albumentations.RandomCrop?",
        ),
        (
            "model",
            {"init_args": {"model_args": {"necks": [{"name": "SelectIndeces"}]}}},
            "model.init_args.model_args.necks.name: there is no SelectIndeces; did you mean SelectIndices?",
        ),
        (
            "optimizer",
            {"class_path": "AdamWW"},
            "optimizer.class_path: there is no AdamWW; did you mean AdamW?",
        ),
    ],
)
def test_a_misspelled_class_is_told(section, wrong, told):
    with pytest.raises(ConfigError) as error:
        check_class_names({section: wrong}, "mine.yaml")
    assert str(error.value) == f"mine.yaml: {told}"


@pytest.mark.parametrize(
    "path", ["albumentations.RandomCrop3D", "RandomCrop3D", "mine.RandomCropp", "albumentations.D4"]
)
def test_a_class_that_is_there_or_is_someones_own_passes(path):
    check_class_names({"data": {"init_args": {"train_transform": [{"class_path": path}]}}}, "mine.yaml")


def stops_by(metric, path="EarlyStopping", **more):
    return [{"class_path": path, "init_args": {"monitor": metric, **more}}]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"lr_scheduler": stops_by("val_loss", "lightning.pytorch.cli.ReduceLROnPlateau")[0]},
            "lr_scheduler: monitor val_loss",
        ),
        ({"trainer": {"callbacks": stops_by("val/miou")}}, "EarlyStopping: monitor val/miou"),
        (
            {"trainer": {"callbacks": stops_by("val/IoU")}},
            "EarlyStopping: monitor val/IoU",
        ),  # of each class alone
        (
            {"trainer": {"callbacks": stops_by("val/ce")}},
            "EarlyStopping: monitor val/ce",
        ),  # logged as val/loss
    ],
)
def test_a_metric_that_the_task_does_not_log_is_told_with_those_that_it_does(changes, told):
    with pytest.raises(ConfigError) as error:
        check_monitored({**GIVEN, **changes}, "mine.yaml")
    rest = (
        " is no metric of this task; expected val/loss, train/loss, val/mIoU, val/mIoU_Micro, val/F1_Score, "
        "val/Accuracy, val/Pixel_Accuracy, val/Boundary_mIoU, train/mIoU, train/mIoU_Micro, train/F1_Score, "
        "train/Accuracy, train/Pixel_Accuracy, train/Boundary_mIoU, or val/IoU_0 of a class"
    )
    assert str(error.value) == f"mine.yaml: {told}{rest}"


@pytest.mark.parametrize(
    "callbacks",
    [
        stops_by("val/mIoU", mode="max"),
        stops_by("val/IoU_water", mode="max"),
        stops_by("val/dice_epoch"),
        stops_by("of_mine", "mine.EarlyStopping"),
        [*stops_by("of_mine"), {"class_path": "mine.Callback"}],
        stops_by("anything", "ModelCheckpoint"),  # which the run's own replace
        [None],
        "parts/callbacks.yaml",
    ],
)
def test_what_is_logged_or_may_be_by_ones_own_code_passes(callbacks):
    given = copy.deepcopy(GIVEN) | {"trainer": {"callbacks": callbacks}}
    given["model"]["init_args"]["loss"] = ["ce", "dice"]
    check_monitored(given, "mine.yaml")


def test_modules_of_ones_own_may_define_what_is_named_like_ours():
    given = copy.deepcopy(GIVEN) | {"custom_modules_path": "mine"}
    given["model"]["init_args"]["model_args"] |= {"decoder": "MyUNetDecoder", "decoder_chanels": 3}
    check_class_names(given, "mine.yaml")
    check_keys(given, "mine.yaml", [])


@pytest.mark.parametrize("names", [5, True, "water"])
def test_classes_that_are_no_list_are_left_to_the_parser(names):
    check_classes({"data": {"init_args": {"class_names": names}}, "model": {"init_args": {}}})


def test_a_gpu_that_is_not_there_is_told_before_the_network_is_built(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer\.accelerator: cuda: PyTorch .* finds no GPU"):
        check_accelerator({"accelerator": "cuda"}, [])
    with pytest.raises(ConfigError, match=r"--trainer\.accelerator cuda: PyTorch .* finds no GPU"):
        check_accelerator({}, ["--trainer.accelerator", "cuda"])
    check_accelerator({"accelerator": "gpu"}, ["--trainer.accelerator=cpu"])


def test_a_misspelled_option_is_not_left_to_terratorchs_parser():
    with pytest.raises(ConfigError, match=r"unknown option --confg; did you mean --config\?"):
        parse(["fit", "--confg", "mine.yaml", "--run", "runs/x"])
    assert parse(["fit", "--config", "demo", "--run", "runs/x", "--predict_output_dir", "x"]).overrides
