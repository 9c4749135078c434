"""The training recipe: what it holds, what it leaves out, and that the shipped arms share one."""

import copy

import pytest
import yaml

from finetune.options import CONFIGS
from finetune.run.recipe import describe, differences, recipe_of, with_overrides


def shipped(name):
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


PHASE2 = shipped("nyc_phase2")


def changed(section, **values):
    made = copy.deepcopy(PHASE2)
    place = made
    for name in section.split("."):
        place = place[name]
    place |= values
    return made


def apart(one, other):
    return {key for key, _, _ in differences(recipe_of(one), recipe_of(other))}


def test_a_recipe_in_full():
    config = {
        "seed_everything": 1,
        "trainer": {
            "max_epochs": 2,
            "devices": 4,
            "logger": False,
            "callbacks": [
                {"class_path": "lightning.pytorch.callbacks.RichProgressBar"},
                {"class_path": "mine.EarlyStopping", "init_args": {"monitor": "val/loss", "patience": 5}},
            ],
        },
        "data": {
            "class_path": "x.TimStoreDataModule",
            "init_args": {
                "data_root": "chips",
                "augment": "store",
                "batch_size": 8,
                "means": "terramind_v1",
                "train_transform": [{"class_path": "albumentations.D4", "init_args": {"p": 1}}],
            },
        },
        "model": {
            "class_path": "terratorch.tasks.SemanticSegmentationTask",
            "init_args": {
                "loss": "ce",
                "lr": 0.5,  # overruled by the section
                "model_args": {
                    "backbone": "terramind_tim_store",
                    "backbone_architecture": "terramind_v1_base",
                    "backbone_encoding": ["onehot"],
                    "decoder_channels": [64, 32],
                },
            },
        },
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1}},
    }
    assert recipe_of(config) == {
        "trainer.max_epochs": "2",
        "trainer.callbacks": "[mine.EarlyStopping(monitor=val/loss, patience=5)]",
        "data.batch_size": "8",
        "data.means": "terramind_v1",
        "data.stds": "terramind_v1",
        "data.train_transform": "[albumentations.D4(p=1)]",
        "model.class_path": "terratorch.tasks.SemanticSegmentationTask",
        "model.loss": "ce",
        "model.model_args.backbone": "terramind_v1_base",
        "model.model_args.decoder_channels": "[64, 32]",
        "optimizer.class_path": "torch.optim.AdamW",
        "optimizer.lr": "0.1",
    }


def test_classes_of_one_name_are_one_only_where_yamls_are_compared():
    short, full = ({"class_path": name, "init_args": {"lr": 1}} for name in ("AdamW", "torch.optim.AdamW"))
    assert apart({**PHASE2, "optimizer": short}, {**PHASE2, "optimizer": full}) == {"optimizer.class_path"}
    plans = (recipe_of({**PHASE2, "optimizer": entry}, short_names=True) for entry in (short, full))
    assert differences(*plans) == []


@pytest.mark.parametrize("arm", ["nyc_tim_lulc", "nyc_tim_ndvi", "nyc_inline_tim"])
def test_an_arm_is_trained_as_phase_2(arm):
    assert apart(PHASE2, shipped(arm)) == set()


def test_lora_arms_are_trained_alike_though_one_trains_a_layer_more():
    plain, joined = shipped("nyc_phase2_lora"), shipped("nyc_tim_lulc_lora")
    kwargs = joined["model"]["init_args"]["model_args"]["peft_config"]["peft_config_kwargs"]
    kwargs["modules_to_save"] = ["added"]  # as the run does
    assert apart(plain, joined) == set()
    kwargs["modules_to_save"] = ["mlp", "added"]  # twice the weights to train
    assert apart(plain, joined) == {"model.model_args.peft_config.peft_config_kwargs.modules_to_save"}
    assert apart(PHASE2, plain) >= {"trainer.max_epochs", "optimizer.lr"}


@pytest.mark.parametrize(
    ("other", "key"),
    [
        (changed("trainer", max_epochs=40), "trainer.max_epochs"),
        (changed("trainer", gradient_clip_val=1.0), "trainer.gradient_clip_val"),
        (changed("trainer", accumulate_grad_batches=2), "trainer.accumulate_grad_batches"),
        (
            changed("trainer", callbacks={"class_path": "lightning.pytorch.callbacks.Timer"}),
            "trainer.callbacks",
        ),
        (changed("trainer", callbacks=[{"class_path": "mine.EarlyStopping"}]), "trainer.callbacks"),
        (changed("trainer", plugins=["mine.HalfPrecision"]), "trainer.plugins"),
        (changed("data.init_args", batch_size=4), "data.batch_size"),
        (changed("data.init_args", bands={"S2L2A": ["RED", "GREEN", "BLUE"]}), "data.bands.S2L2A"),
        (changed("model", class_path="mine.WeightedTask"), "model.class_path"),
        (changed("data.init_args", timesteps=[0, 1]), "data.timesteps"),
        (changed("data.init_args", train_transform=None), "data.train_transform"),
        (changed("model.init_args", class_weights=[1, 2, 1, 1, 1]), "model.class_weights"),
        (changed("model.init_args", freeze_backbone=True), "model.freeze_backbone"),
        (changed("model.init_args.model_args", backbone="terramind_v1_large"), "model.model_args.backbone"),
        (changed("model.init_args.model_args", head_dropout=0.2), "model.model_args.head_dropout"),
        (changed("optimizer.init_args", lr=1e-4), "optimizer.lr"),
        (changed("lr_scheduler.init_args", patience=9), "lr_scheduler.patience"),
    ],
)
def test_what_could_explain_a_gain_is_part_of_it(other, key):
    assert apart(PHASE2, other) == {key}


@pytest.mark.parametrize(
    "other",
    [
        changed("trainer", devices=4, accelerator="gpu", logger=False, log_every_n_steps=1),
        changed("data.init_args", num_workers=16, data_root="elsewhere", augment="store", control="shuffle"),
        changed("model.init_args.model_args", backbone_weights="elsewhere", backbone_encoding=["index"]),
        changed(
            "trainer",
            precision="16",
            limit_train_batches=1.0,
            accumulate_grad_batches=1,
            gradient_clip_val=0.0,
        ),
        changed("data.init_args", means=None, stds=None, no_data_replace=None, bands={"S1RTC": ["VV", "VH"]}),
        changed("data.init_args", means=None),
        changed("model.init_args", lr=0.5),
        {**PHASE2, "seed_everything": 7},
    ],
)
def test_places_seeds_what_is_joined_and_defaults_are_not(other):
    assert apart(PHASE2, other) == set()


def test_a_command_line_overrides_settings():
    recipe = recipe_of(PHASE2, short_names=True)
    words = ["--trainer.max_epochs", "40", "--init", "a.ckpt", "--data.init_args.train_transform=null"]
    words += [
        "--optimizer.init_args.lr",
        "1.0e-3",
        "--model.init_args.loss",
        "[dice",
        "--data.num_workers",
        "3",
    ]
    made = with_overrides(recipe, [*words, "--model.init_args.model_args.backbone_weights", "w.pt"])
    assert differences(recipe, made) == [
        ("data.train_transform", recipe["data.train_transform"], "default"),
        ("model.loss", "ce", "[dice"),  # no YAML: TerraTorch's parser will say so
        ("optimizer.lr", "1e-05", "0.001"),
        ("trainer.max_epochs", "20", "40"),
    ]
    made = with_overrides(recipe, ["--data.batch_size", "2", "--optimizer", "SGD"])
    assert (made["data.batch_size"], made["optimizer.class_path"]) == ("2", "SGD")


def test_a_message_names_the_first_differences():
    found = [(f"key{number}", "x" * 200, "short") for number in range(5)]
    said = describe(found, "a", "b")
    assert said.startswith(f"key0 is {'x' * 100} … in a, short in b; key1 is ")
    assert said.endswith("; and 2 more")
    assert describe([], "a", "b") == ""
