"""Further members of the kinds of mistakes, from YAMLs that TerraTorch, TerraMind and GEO-Bench publish."""

import math

import numpy as np
import pytest

from finetune.data.datamodule import TimStoreDataModule
from tests.finetune.run.foreign import fit, make_chips, put, refusal

pytestmark = pytest.mark.slow

LORA = {"method": "LORA", "peft_config_kwargs": {"r": 4, "target_modules": ["qkv", "proj"]}}
AUXILIARY = {"name": "aux_head", "decoder": "FCNDecoder", "decoder_args": {"decoder_channels": 8}}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "trainer.precision",
            "fp16",
            "trainer.precision fp16; expected one of 32-true, 16-mixed, bf16-mixed",
        ),
        ("trainer.precision", True, "trainer.precision True; expected one of 32-true"),
        ("trainer.max_steps", 0, "trainer.max_steps 0 trains nothing"),
        ("trainer.limit_train_batches", 0.0, "trainer.limit_train_batches 0.0 trains nothing"),
        (
            "optimizer",
            {"class_path": "AdamW", "lr": 1e-4},
            "optimizer: lr beside class_path; expected class_p",
        ),
        (
            "args.peft_config",
            LORA | {"ckpt_path": "a.ckpt"},
            "peft_config: ckpt_path would not be read; expec",
        ),
        (
            "args.decoder_encoder_weights",
            "imagenet",
            "decoder_encoder_weights imagenet would leave what does not",
        ),
        (
            "model.aux_heads",
            [AUXILIARY],
            "class_path: terratorch.models.model.AuxiliaryHead, with name, deco",
        ),
        (
            "args.backbone",
            "terramind_v1_tokenizer_lulc",
            "backbone 'terramind_v1_tokenizer_lulc'; tim-finetune ",
        ),
        (
            "args.backbone",
            "terramind_v1_base_generate",
            "backbone 'terramind_v1_base_generate'; tim-finetune ",
        ),
        ("args.backbone", None, "backbone None; tim-finetune trains TerraMind backbones"),
        ("model.model_factory", "MyFactory", "cannot be built: Registry: unknown name 'MyFactory'"),
        ("data.stds", {"S1RTC": [math.nan, 4.0]}, "stds of S1RTC: nan; expected positive numbers"),
        ("data.means", {"S1RTC": [-12.0, math.inf]}, "means of S1RTC: inf; expected numbers"),
        ("data.no_data_replace", math.nan, "no_data_replace nan; expected a number, or nothing for 0"),
    ],
)
def test_a_value_that_would_be_read_as_another_is_a_line(config, tmp_path, capsys, key, value, message):
    if key in ("data.means", "data.stds"):
        config["data"]["init_args"] |= {"means": {"S1RTC": [-12.0, -18.0]}, "stds": {"S1RTC": [4.0, 4.0]}}
    put(config, key, value)
    assert fit(config, tmp_path) == 2
    assert message in refusal(capsys)


def test_another_task_is_told_before_its_data(config, tmp_path, capsys):
    """As GEO-Bench's YAML for parcels in PASTIS."""
    config["model"] = {"class_path": "terratorch.tasks.ObjectDetectionTask"}
    config["data"] = {
        "class_path": "GeoBenchV2ObjectDetectionDataModule",
        "init_args": {"cls": "geobench_v2.datamodules.GeoBenchPASTISPanopticDataModule"},
        "dict_kwargs": {"img_size": 128},
    }
    assert fit(config, tmp_path) == 2
    assert "model.class_path: terratorch.tasks.ObjectDetectionTask; tim-finetune trains" in refusal(capsys)


def test_arguments_beside_our_own_datamodule_are_a_line(config, tmp_path, capsys):
    config["data"]["dict_kwargs"] = {"img_size": 128}
    assert fit(config, tmp_path) == 2
    assert "data: dict_kwargs beside class_path; expected class_path and init_args alone" in refusal(capsys)


def test_what_a_run_replaces_is_said_and_choices_of_transforms_are_taken(config, tmp_path, capsys):
    """GEO-Bench's trainers keep no checkpoints, and a task may name an optimizer beside the section."""
    flips = [{"class_path": f"albumentations.{axis}Flip"} for axis in ("Horizontal", "Vertical")]
    choice = {"class_path": "albumentations.OneOf", "init_args": {"transforms": flips}}
    put(config, "data.train_transform", [choice, {"class_path": "ToTensorV2"}])
    put(config, "trainer.enable_checkpointing", False)
    put(config, "model.optimizer", "SGD")
    assert fit(config, tmp_path) == 0
    told = capsys.readouterr().err
    assert "note: trainer.enable_checkpointing false is left out: a run keeps its best checkpoint and" in told
    assert "note: model.init_args: optimizer not used, since the section optimizer replaces them" in told
    assert (tmp_path / "run/checkpoints/best.ckpt").is_file()


def test_a_class_that_no_training_mask_holds_is_said(tmp_path, capsys):
    """As where labels count from 1, and the number of classes counts the 0 that never comes."""
    root = make_chips(tmp_path / "chips", lambda _: np.indices((32, 32)).sum(0) % 2 + 1)
    given = {"modalities": ["S1RTC"], "means": "terramind_v1", "class_names": ["nothing", "land", "water"]}
    TimStoreDataModule(str(root), **given).setup("fit")
    assert (
        "no mask of the train split holds a label of nothing (0), which the network"
        in capsys.readouterr().err
    )
    TimStoreDataModule(str(root), **given, limit_chips=2).setup("fit")
    assert "no mask" not in capsys.readouterr().err
