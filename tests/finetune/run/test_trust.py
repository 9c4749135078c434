"""A run directory from someone else runs none of its code when it is opened."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from finetune.errors import ConfigError
from finetune.options import CONFIGS
from finetune.run.config import normalize
from finetune.run.import_lock import class_paths, import_lock
from finetune.run.trust import rebuild
from finetune.run.yaml_file import read_yaml
from tests.conftest import ROOT

ORIGIN = Path("run/config.yaml")
MODULE = "from pathlib import Path\nPath('RAN').touch()\nclass Thing: pass\n"

RECORDED = {
    "seed_everything": 1,
    "out_dtype": "int16",
    "trainer": {
        "accelerator": "auto",
        "precision": "16-mixed",
        "max_time": "00:12:00:00",
        "callbacks": [
            {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "val/loss"}},
            {
                "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                "init_args": {"dirpath": "/elsewhere"},
            },
        ],
        "logger": {"class_path": "evil.Thing"},
        "profiler": {"class_path": "evil.Thing"},
        "plugins": [{"class_path": "finetune.run.checkpoints.WholeCheckpoints"}],
        "default_root_dir": "/elsewhere",
    },
    "data": {
        "class_path": "finetune.data.datamodule.TimStoreDataModule",
        "init_args": {
            "data_root": "/data/nyc.v2",
            "scenes": r"_r\d+c\d+$",
            "class_names": ["bare, dry", "wet"],
            "means": {"DEM": [3.5]},
            "train_transform": [
                {
                    "class_path": "albumentations.OneOf",
                    "init_args": {"transforms": [{"class_path": "albumentations.D4"}], "p": 0.5},
                },
                {
                    "class_path": "terratorch.datasets.transforms.Rearrange",
                    "init_args": {"rearrange": "t h w c -> h w (t c)"},
                },
            ],
        },
    },
    "model": {
        "class_path": "terratorch.tasks.SemanticSegmentationTask",
        "init_args": {
            "model_factory": "EncoderDecoderFactory",
            "model_args": {
                "backbone": "terramind_tim_store",
                "backbone_architecture": "terramind_v1_tiny",
                "backbone_modalities": ["DEM", {"mine": 3}],
                "peft_config": {"method": "LORA", "peft_config_kwargs": {"target_modules": ["attn.qkv"]}},
                "necks": [{"name": "SelectIndices", "indices": [0, 1]}],
                "decoder": "UNetDecoder",
                "decoder_channels": [8, 8],
                "num_classes": 2,
            },
            "loss": {"ce": 0.5, "dice": 0.5},
            "scheduler": "SequentialLR",
            "scheduler_hparams": {
                "schedulers": {"LambdaLR": {}, "StepLR": {"step_size": 2}},
                "milestones": [3],
            },
        },
    },
    "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-5, "betas": [0.9, 0.999]}},
    "lr_scheduler": {
        "class_path": "lightning.pytorch.cli.ReduceLROnPlateau",
        "init_args": {"monitor": "val/loss"},
    },
}


def changed(change):
    """The recorded configuration with one more value, at keys joined by a dot."""
    made = copy.deepcopy(RECORDED)
    for key, value in change.items():
        *path, last = key.split(".")
        place = made
        for name in path:
            place = place[name]
        place[last] = value
    return made


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, which holds modules of a stranger."""
    (tmp_path / "evil.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_recorded_run_keeps_what_is_listed_and_none_of_its_loggers():
    made = rebuild(RECORDED, ORIGIN, training=True)
    assert "out_dtype" not in made
    assert set(made["trainer"]) == {"accelerator", "precision", "max_time", "callbacks"}
    assert made["trainer"]["callbacks"] == RECORDED["trainer"]["callbacks"][:1]
    for section in ("seed_everything", "data", "model", "optimizer", "lr_scheduler"):
        assert made[section] == RECORDED[section]


def test_a_progress_bar_keeps_its_class_and_not_its_colors():
    theme = {"progress_bar": "#6206E0", "metrics_format": ".3f", "description": {"class_path": "evil.Thing"}}
    bar = {"class_path": "RichProgressBar", "init_args": {"refresh_rate": 1, "theme": theme}}
    made = rebuild(changed({"trainer.callbacks": [bar]}), ORIGIN, training=True)
    assert made["trainer"]["callbacks"] == [{"class_path": "lightning.pytorch.callbacks.RichProgressBar"}]


def test_an_evaluation_has_no_use_for_what_trains():
    strange = {
        "optimizer": {"class_path": "mine.Adam"},
        "trainer": {"callbacks": [{"class_path": "mine.Watch"}]},
    }
    strange["data.init_args.train_transform"] = [{"class_path": "mine.Jitter"}]
    made = rebuild(changed(strange), ORIGIN, training=False)
    assert set(made) == {"seed_everything", "data", "model"}
    assert "train_transform" not in made["data"]["init_args"]
    with pytest.raises(ConfigError, match=r"callbacks\[0\]\.class_path: mine\.Watch"):
        rebuild(changed({"trainer": strange["trainer"]}), ORIGIN, training=True)


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_shipped_yaml_could_be_a_recorded_run(name):
    given = normalize(read_yaml(CONFIGS / f"{name}.yaml"))
    assert rebuild(given, ORIGIN, training=True)["model"] == given["model"]


ATTACKS = [
    # the class of each section
    {"model.class_path": "torch.fx.graph_module.reduce_graph_module"},
    {"model.class_path": "evil.Thing"},
    {"model.class_path": " terratorch.tasks.SemanticSegmentationTask"},
    {"data.class_path": "finetune.data.joined.JoinedDataModule"},
    {"optimizer": {"class_path": "torch.optim.lr_scheduler.LambdaLR"}},
    {"optimizer": {"class_path": "torch.optim.adamw.AdamW"}},
    {"optimizer": "evil.Thing"},
    {"optimizer": "opt.yaml"},
    {"optimizer": '{"class_path": "evil.Thing"}'},
    {"optimizer": "class_path: evil.Thing"},
    {"optimizer": "- evil.Thing"},
    {"optimizer": {"class_path": "torch.optim.AdamW", "dict_kwargs": {"a": 1}}},
    {
        "lr_scheduler": {
            "class_path": "torch.optim.lr_scheduler.LambdaLR",
            "init_args": {"lr_lambda": "os.system"},
        }
    },
    # modules that the model or its factory would import
    {"model.init_args.model": {"class_path": "torch.nn.Linear"}},
    {"model.init_args.model_factory": "SMPModelFactory"},
    {"model.init_args.model_factory": "TimmModelFactory"},
    {"model.init_args.model_args.backbone": "runs.shared-1.helper.X"},
    {"model.init_args.model_args.backbone": "timm_resnet18"},
    {"model.init_args.model_args.backbone_architecture": "evil.Thing"},
    {"model.init_args.model_args.backbone": {"class_path": "evil.Thing"}},
    {"model.init_args.model_args.backbone_ckpt_path": "weights.pt"},
    {"model.init_args.model_args.backbone_norm_layer": "evil.Thing"},
    {"model.init_args.model_args.backbone_modalities": [{"class_path": "evil.Thing"}]},
    {"model.init_args.model_args.decoder": "evil.Thing"},
    {"model.init_args.model_args.decoder": "mmseg_FCNHead"},
    {"model.init_args.model_args.decoder_encoder_name": "resnet18"},
    {"model.init_args.model_args.head_final_act": "evil.Thing"},
    {"model.init_args.model_args.necks": [{"name": "evil.Thing"}]},
    {
        "model.init_args.model_args.necks": [
            {"name": "SelectIndices", "indices": {"class_path": "evil.Thing"}}
        ]
    },
    {"model.init_args.model_args.peft_config.peft_config_kwargs.megatron_core": "evil"},
    {"model.init_args.model_args.peft_config.method": "XLORA"},
    {"model.init_args.aux_heads": [{"class_path": "terratorch.models.model.AuxiliaryHead"}]},
    {"model.init_args.loss": {"class_path": "evil.Thing"}},
    {"model.init_args.loss": "evil.Thing"},
    {"model.init_args.optimizer": "lr_scheduler.LambdaLR"},
    {"model.init_args.scheduler_hparams": {"schedulers": {"_LRScheduler": {}}}},
    {"model.init_args.optimizer_hparams": {"lr": {"class_path": "evil.Thing", "init_args": {}}}},
    {"model.init_args.path_to_record_metrics": "/etc"},
    # transforms
    {"data.init_args.test_transform": [{"class_path": "evil.Thing"}]},
    {
        "data.init_args.test_transform": [
            {"class_path": "albumentations.Lambda", "init_args": {"image": "os.system"}}
        ]
    },
    {
        "data.init_args.test_transform": {
            "class_path": "albumentations.Compose",
            "init_args": {"transforms": "x.yaml"},
        }
    },
    {
        "data.init_args.test_transform": {
            "class_path": "albumentations.Sequential",
            "init_args": {
                "transforms": [{"class_path": "albumentations.FDA", "init_args": {"read_fn": "evil.f"}}]
            },
        }
    },
    # the network, unasked
    {"data.init_args.data_root": "s3://bucket/chips"},
    {"data.init_args.augment": "https://example.org/store"},
    {"data.init_args.layout": "https://example.org/layout.yaml"},
    {"data.init_args.test_split": "http://example.org/test.txt"},
    {"data.init_args.scenes": "http://example.org/scenes.csv"},
    # keys in disguise
    {"custom_modules_path": "evil"},
    {"optimizer.class_path ": "evil.Thing"},
    {"evil": {"class_path": "evil.Thing"}},
    {"model.init_args.plugins": ["evil.Thing"]},
    {"trainer.strategy": "evil.Thing"},
    {"trainer.strategy": {"class_path": "evil.Thing"}},
    {"trainer.accelerator": "config"},
    {"trainer.callbacks": [{"class_path": "evil.Thing"}]},
    {"trainer.devices": "[evil.Thing]"},
]


@pytest.mark.parametrize("change", ATTACKS, ids=str)
def test_whatever_is_not_listed_at_its_key_is_refused(here, change):
    made = changed(change) if set(change) != {"optimizer.class_path "} else {**RECORDED, **change}
    with pytest.raises(ConfigError, match="expected") as refused:
        rebuild(made, ORIGIN, training=True)
    told = str(refused.value)
    assert told.startswith("run/config.yaml: ")
    assert "\n" not in told
    assert "--config run/config.yaml" in told
    assert "evil" not in sys.modules
    assert not (here / "RAN").exists()


def test_values_that_nest_without_end_are_refused():
    deep = []
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(ConfigError, match="levels"):
        rebuild(changed({"model.init_args.class_weights": deep}), ORIGIN, training=True)


def test_a_url_that_the_user_gives_is_not_the_runs():
    made = changed({"data.init_args.data_root": "s3://bucket/chips"})
    assert "data_root" not in rebuild(made, ORIGIN, training=False, given=["data_root"])["data"]["init_args"]


def test_the_parser_imports_nothing_else_either(here):
    """The second lock, if a class should slip through the first."""
    from jsonargparse import ArgumentParser
    from torch.optim import Optimizer

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--optimizer", type=type[Optimizer])
    slipped = {"optimizer": "evil.Thing"}
    with import_lock({"optimizer": {"class_path": "torch.optim.SGD"}}, []):
        assert parser.parse_object({"optimizer": "torch.optim.SGD"}).optimizer.__name__ == "SGD"
        with pytest.raises(Exception, match="not allowed"):
            parser.parse_object(slipped)
    assert "evil" not in sys.modules
    assert set(class_paths(RECORDED)) > {"torch.optim.AdamW", "albumentations.D4"}


@pytest.mark.slow
def test_a_strangers_run_is_refused_by_the_command(tmp_path):
    """As a process of its own, in a folder that holds the module."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (tmp_path / "evil.py").write_text(MODULE)
    text = yaml.safe_dump(changed({"model.init_args.model": {"class_path": "evil.Thing"}}))
    (run / "config.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "finetune", "test", "--run", str(run)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "config.yaml: model.init_args.model: {'class_path': 'evil.Thing'}; expected" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "RAN").exists()
