"""The configuration that a command and its YAML resolve to: one data section, one model, one trainer, in agreement."""

from pathlib import Path

import pytest
import yaml

from augment_store.errors import RemotePathError
from finetune.augment.augmentation import Augmentation, AugmentRequest
from finetune.data.datamodule import TimStoreDataModule
from finetune.errors import ConfigError
from finetune.model.backbone import NEW_COLUMNS
from finetune.options import CONFIGS, Options, find_config, parse
from finetune.run.config import check_model, normalize, resolve, with_our_datamodule
from finetune.run.lightning_cli import check_agreement, configure_backbone
from finetune.run.yaml_file import read_yaml

pytestmark = pytest.mark.slow


def resolved(*words, config="nyc_phase2", run="run", gpu=False):
    options = parse(["fit", "--config", config, "--run", run, *words])
    given = with_our_datamodule(read_yaml(options.config), options.config)
    return resolve(given, options, gpu=gpu)


def told(*words, config="nyc_phase2"):
    """A configuration after the datamodule has settled what is joined and told the model."""
    config = resolved(*words, config=config)
    data = config["data"]["init_args"]
    named = tuple(data["encoding"]) if data.get("encoding") else None
    store = Path(data["augment"]) if data["augment"] else None
    request = AugmentRequest(store, named, data["control"], data["control_seed"])
    configure_backbone(model_args(config), Augmentation(request, memory_limit_mb=1))
    return config


def model_args(config):
    return config["model"]["init_args"]["model_args"]


def test_scenes_and_layout_of_the_command_line_reach_the_configuration(world):
    given = {
        "data": {"init_args": {"layout": "terramesh", "scenes": "x$"}},
        "model": {"init_args": {"model_args": {}}},
    }
    given["model"]["init_args"]["model_args"]["num_classes"] = 2
    fit = ["fit", "--config", "nyc_tim_lulc", "--chips", str(world.root), "--run", "run"]
    options = parse([*fit, "--layout", "folders", "--scenes", "_0$"])
    data = resolve(given, options, gpu=False)["data"]["init_args"]
    assert (data["layout"], data["scenes"]) == ("folders", "_0$")
    kept = resolve(given, parse(fit), gpu=False)["data"]["init_args"]
    assert (kept["layout"], kept["scenes"]) == ("terramesh", "x$")


@pytest.mark.parametrize("key", ["data_root", "train_split"])
@pytest.mark.parametrize("url", ["https://me:s3cret@of-a-yaml/chips", "https://lists/train.txt?token=s3cret"])
def test_a_configuration_with_a_password_is_refused(key, url):
    """Runs keep their configuration."""
    given = {
        "data": {"init_args": {"data_root": "chips", key: url}},
        "model": {"init_args": {"model_args": {"num_classes": 2}}},
    }
    options = parse(["fit", "--config", "nyc_tim_lulc", "--run", "run"])
    with pytest.raises(RemotePathError, match="given with a password, token or query") as raised:
        resolve(given, options, gpu=False)
    assert "s3cret" not in str(raised.value)


def test_one_flag_is_the_whole_difference(plain_store):
    plain, joined = told(), told("--augment", str(plain_store))
    assert joined["data"]["init_args"].pop("augment") == str(plain_store)
    assert model_args(joined).pop("backbone_encoding") == ["onehot"]
    assert plain["data"]["init_args"].pop("augment") is None
    assert joined == plain
    assert model_args(plain)["backbone_architecture"] == "terramind_v1_base"


def test_a_baselines_own_configuration_joins_the_store_it_is_given(plain_store, tmp_path):
    baseline = resolved()
    baseline["data"]["init_args"]["encoding"] = []
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(baseline))
    for words in (["--augment", str(plain_store)], ["--control", "constant"]):
        assert model_args(told(*words, config=str(path)))["backbone_encoding"] == ["onehot"]
    for words in ([], ["--encoding", "onehot"], ["--control", "constant"]):
        with pytest.raises(ConfigError, match=r"--augment .*nowhere: not an augment store"):
            resolved("--augment", str(tmp_path / "nowhere"), *words, config=str(path))


def test_the_yamls_store_that_is_not_there_is_named_with_the_option():
    with pytest.raises(
        ConfigError, match=r"augment: stores/nyc_lulc is not .* name yours with --augment STORE"
    ):
        resolved(config="nyc_tim_lulc")
    assert (
        resolved("--control", "constant", config="nyc_tim_lulc")["data"]["init_args"]["control"] == "constant"
    )


@pytest.mark.parametrize("before", [["ndvi"], ["tokens"]])
def test_the_model_is_told_whatever_the_yaml_said(before, plain_store):
    arguments = {
        "backbone": "terramind_tim_store",
        "backbone_encoding": before,
        "backbone_token_modality": "NDVI",
    }
    configure_backbone(
        arguments, Augmentation(AugmentRequest(plain_store, ("index", "onehot")), memory_limit_mb=1)
    )
    assert arguments == {"backbone": "terramind_tim_store", "backbone_encoding": ["index", "onehot"]}
    configure_backbone(arguments, Augmentation(AugmentRequest(), memory_limit_mb=1))
    assert arguments == {"backbone": "terramind_tim_store"}


def test_phase_2s_own_yaml_is_taken(plain_store, tmp_path, capsys):
    config = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    config["data"]["class_path"] = "impactmesh.impactmesh_datamodule.ImpactMeshDataModule"
    path = tmp_path / "phase2.yaml"
    path.write_text(yaml.safe_dump(config))
    found = resolved("--augment", str(plain_store), config=str(path))
    assert found["data"]["class_path"] == "finetune.data.datamodule.TimStoreDataModule"
    assert "ImpactMeshDataModule is replaced by" in capsys.readouterr().err


def test_another_datamodule_is_refused_with_how_to_write_the_section(tmp_path):
    config = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    config["data"]["class_path"] = "terratorch.datamodules.GenericMultiModalDataModule"
    path = tmp_path / "generic.yaml"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(
        ConfigError,
        match=r"GenericMultiModalDataModule; expected finetune.*data_root .*MASK/<id>.*by finetune\.data\.joined",
    ):
        resolved(config=str(path))


def test_tokens_are_the_stores_modality_under_a_control_too(ndvi_store, world):
    words = ["--augment", str(ndvi_store), "--control", "constant"]
    assert model_args(told(*words, config="nyc_tokens"))["backbone_token_modality"] == "NDVI"
    wish = AugmentRequest(ndvi_store, ("tokens",), "constant")
    assert Augmentation(wish, memory_limit_mb=1).token_modality == "NDVI"


def test_a_seed_is_the_controls_too(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(resolved("--seed", "3", "--control", "constant")))
    own = resolved(config=str(path))
    again = resolved("--seed", "4", config=str(path))
    assert (own["seed_everything"], own["data"]["init_args"]["control_seed"]) == (3, 3)
    assert (again["seed_everything"], again["data"]["init_args"]["control_seed"]) == (4, 4)


def test_precision_follows_the_device():
    assert resolved(gpu=True)["trainer"]["precision"] == "16-mixed"
    assert resolved(gpu=False)["trainer"]["precision"] == "32-true"


def test_encodings_and_weights_from_the_command_line(lulc_store, ndvi_store):
    config = told("--augment", str(lulc_store), "--encoding", "modality", "onehot", "--weights", "hub")
    assert model_args(config)["backbone_encoding"] == ["modality", "onehot"]
    assert (model_args(config)["backbone_pretrained"], model_args(config)["backbone_weights"]) == (True, None)
    config = told("--augment", str(ndvi_store), "--encoding", "tokens", "--weights", "random")
    assert model_args(config)["backbone_token_modality"] == "NDVI"
    assert model_args(config)["backbone_pretrained"] is False
    assert model_args(told("--augment", str(ndvi_store)))["backbone_encoding"] == ["ndvi"]


@pytest.mark.parametrize(
    "switch", [{"decoder_use_checkpoint": True}, {"backbone_ckpt_path": ""}, {"backbone_pretrained": False}]
)
def test_a_switch_with_a_word_for_weights_names_none(switch):
    given = {"backbone": "terramind_v1_tiny"}
    check_model({"init_args": {"model_args": {**given, **switch}}}, "mine.yaml")
    with pytest.raises(
        ConfigError, match=r"decoder_checkpoint mine\.pt would leave what does not fit random"
    ):
        check_model(
            {"init_args": {"model_args": {**given, **switch, "decoder_checkpoint": "mine.pt"}}}, "mine.yaml"
        )


def test_new_columns_are_those_the_backbone_knows(plain_store):
    for start in NEW_COLUMNS:
        config = resolved("--augment", str(plain_store), "--new-columns", start)
        assert model_args(config)["backbone_new_columns"] == start
    with pytest.raises(SystemExit):
        parse(["fit", "--run", "run", "--new-columns", "one"])


def test_lora_trains_the_new_columns_whole(plain_store):
    config = told("--augment", str(plain_store), config="nyc_phase2_lora")
    assert model_args(config)["peft_config"]["peft_config_kwargs"]["modules_to_save"] == ["added"]
    shipped = told("--augment", str(plain_store), config="nyc_tim_lulc_lora")
    assert shipped["data"]["init_args"].pop("encoding") == ["onehot"]
    assert config == shipped


def test_a_smoke_run_is_one_flag(plain_store):
    config = resolved("--smoke", "--augment", str(plain_store))
    assert (config["trainer"]["fast_dev_run"], config["trainer"]["logger"]) == (2, False)
    assert [entry["class_path"] for entry in config["trainer"]["callbacks"]] == [
        "RichProgressBar",
        "EarlyStopping",
    ]
    assert config["data"]["init_args"]["limit_chips"] == 4


def test_inline_tim_takes_no_store(plain_store):
    with pytest.raises(ConfigError, match="'terramind_v1_base_tim' cannot take cached modalities"):
        told("--augment", str(plain_store), config="nyc_inline_tim")


# Data and model --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        ({}, {"backbone_modalities": ["S1RTC"]}, r"model_args has backbone_modalities \['S1RTC'\]"),
        ({}, {"backbone_bands": {"DEM": ["DEM"], "S1RTC": ["VV"]}}, "backbone_bands .*make them agree"),
        ({"timesteps": [0]}, {}, "data has 1 timestep, model_args has backbone_use_temporal True"),
        ({"timesteps": [0, 1]}, {}, "backbone_temporal_n_timestamps 4"),
        (
            {},
            {"backbone_use_temporal": False},
            "data has 4 timesteps, model_args has backbone_use_temporal False",
        ),
    ],
)
def test_data_and_model_must_agree(data, model, message, world):
    """The world's chips have four timesteps, which count where none are named."""
    config = resolved()["model"]["init_args"]
    check_agreement(config, TimStoreDataModule(str(world.root)))
    config["model_args"] |= model
    with pytest.raises(ConfigError, match=message):
        check_agreement(config, TimStoreDataModule(str(world.root), **data))


def test_tokens_are_not_cut_into_tiles(world, plain_store):
    module = TimStoreDataModule(str(world.root), augment=str(plain_store), encoding=["tokens"])
    with pytest.raises(ConfigError, match="tiled_inference_parameters with encoding tokens"):
        check_agreement(resolved()["model"]["init_args"], module)


def with_classes(tmp_path, classes, *, data=None, model=None):
    config = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    model_args(config)["num_classes"] = classes
    del config["model"]["init_args"]["class_weights"]  # of five classes
    for part, names in (("data", data), ("model", model)):
        config[part]["init_args"]["class_names"] = names
    path = tmp_path / "classes.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.mark.parametrize(
    ("data", "model", "names"),
    [
        (None, None, ["class 0", "class 1"]),
        (None, ["dry", "wet"], ["dry", "wet"]),
        (["land", "sea"], None, ["land", "sea"]),
        (["land", "sea"], ["land", "sea"], ["land", "sea"]),
    ],
)
def test_classes_have_the_names_they_are_given_or_numbers(tmp_path, data, model, names):
    config = resolved(config=with_classes(tmp_path, 2, data=data, model=model))
    assert config["data"]["init_args"]["class_names"] == names


def test_classes_are_as_many_as_their_names(tmp_path):
    config = {"data": {}, "model": {"init_args": {"model_args": {"num_classes": 3}, "class_weights": [1, 1]}}}
    with pytest.raises(ConfigError, match="num_classes 3, but 2 class_weights; give one for each class"):
        normalize(config)
    with pytest.raises(ConfigError, match="num_classes 3, but class_names names 2; make them agree"):
        resolved(config=with_classes(tmp_path, 3, data=["dry", "wet"]))
    with pytest.raises(ConfigError, match="num_classes None; expected the number of classes in the masks"):
        resolved(config=with_classes(tmp_path, None))


# The trainer -----------------------------------------------------------------------------------------


CSV = "lightning.pytorch.loggers.CSVLogger"


BOARD = "lightning.pytorch.loggers.TensorBoardLogger"


def with_trainer(tmp_path, **keys):
    config = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    config["trainer"] |= keys
    path = tmp_path / "trainer.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.mark.parametrize(
    ("given", "classes"),
    [
        (None, [CSV, BOARD]),
        (True, [CSV, BOARD]),
        (False, [CSV]),
        ({"class_path": BOARD, "init_args": {"save_dir": "mine"}}, [BOARD, CSV]),
        (
            [{"class_path": "lightning.pytorch.loggers.WandbLogger"}],
            ["lightning.pytorch.loggers.WandbLogger", CSV],
        ),
    ],
)
def test_the_yamls_loggers_stay_and_csv_is_kept_in_the_run(tmp_path, given, classes):
    run = tmp_path / "run"
    config = resolved(config=with_trainer(tmp_path, logger=given), run=str(run))
    loggers = config["trainer"]["logger"]
    assert [entry["class_path"] for entry in loggers] == classes
    own = {"save_dir": str(run), "name": "logs", "version": "fit_0"}
    assert next(entry for entry in loggers if entry["class_path"] == CSV)["init_args"] == own
    (run / "logs" / "fit_0").mkdir(parents=True)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    again = resolved(config=str(path), run=str(run))["trainer"]["logger"]
    assert [entry["class_path"] for entry in again if entry["class_path"] not in (CSV, BOARD)] == [
        name for name in classes if name not in (CSV, BOARD)
    ]
    assert [entry["init_args"]["version"] for entry in again if entry["class_path"] == CSV] == ["fit_1"]


def test_a_checkpoint_callback_of_the_yaml_is_replaced_in_as_many_words(tmp_path, capsys):
    config = resolved()
    callbacks = [entry["class_path"].rpartition(".")[2] for entry in config["trainer"]["callbacks"]]
    assert callbacks[:3] == ["RichProgressBar", "LearningRateMonitor", "EarlyStopping"]
    assert callbacks[3:] == ["ModelCheckpoint", "ModelCheckpoint"]  # the best, the last
    assert callbacks_of_a_run()[1]["init_args"][
        "save_on_train_epoch_end"
    ]  # also of an epoch that is not validated
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert resolved(config=str(path)) == config
    assert capsys.readouterr().err == ""  # all that the shipped one asks for is done
    own = {"class_path": "ModelCheckpoint", "init_args": {"monitor": "val/loss", "dirpath": "output"}}
    assert (
        resolved(config=with_trainer(tmp_path, callbacks=[own]))["trainer"]["callbacks"]
        == callbacks_of_a_run()
    )
    assert "note: the YAML's ModelCheckpoint is replaced: run/checkpoints keeps" in capsys.readouterr().err


def callbacks_of_a_run():
    return resolved()["trainer"]["callbacks"][-2:]


@pytest.mark.parametrize(
    ("strategy", "whole"), [(None, True), ("ddp", True), ("fsdp", False), ("deepspeed_stage_2", False)]
)
def test_checkpoints_are_written_whole_where_the_strategy_lets_us(strategy, whole):
    given = read_yaml(find_config("nyc_phase2", Path()))
    given["trainer"]["strategy"] = strategy
    options = Options("fit", Path("x.yaml"), Path("run"))
    config = resolve(given, options, gpu=False)
    assert ("finetune.run.callbacks" in str(config["trainer"].get("plugins"))) is whole
