"""The command line: help at once, and every bad input as one line on stderr and exit code 2."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.plugins.io import TorchCheckpointIO

from augment_store.lock import exclusive
from augment_store.remote import as_path
from finetune.__main__ import main
from finetune.augment.augmentation import Augmentation, AugmentRequest
from finetune.data.datamodule import TimStoreDataModule
from finetune.errors import ConfigError
from finetune.model.backbone import NEW_COLUMNS
from finetune.options import CONFIGS, Options, find_config, parse, shipped_configs
from finetune.run.agreement import check_agreement, tell_model
from finetune.run.checkpoints import WholeCheckpoints
from finetune.run.config import normalise, read_yaml, resolve, with_our_datamodule
from tests.worlds import make_world, tiny_options, write_tif


def refused(capsys, *arguments):
    """Message of a command that must stop with one line."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if not line.startswith("INFO")]
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def fit(world, tmp_path):
    return ["fit", *tiny_options(world, "nyc_tim_lulc"), "--run", str(tmp_path / "run")]


def test_help_names_the_yamls_that_ship(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*shipped_configs(), "--augment", "--new-columns"))


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse(["--version"])
    assert capsys.readouterr().out == f"terramind-tim-store {version('terramind-tim-store')}\n"


def test_two_networks_in_one_configuration_are_refused(world, capsys, tmp_path):
    """As where an override aims at the key of the other kind of YAML: neither may win without a word."""
    key = "--model.init_args.model_args.backbone_architecture"
    fit = [
        "fit",
        *tiny_options(world, "nyc_phase2"),
        key,
        "terramind_v1_small",
        "--run",
        str(tmp_path / "run"),
    ]
    named = "backbone 'terramind_v1_tiny' and backbone_architecture 'terramind_v1_small' name two networks"
    assert named in refused(capsys, *fit)


def test_the_old_names_of_the_scene_rule_are_refused(fit, capsys, tmp_path):
    path = tmp_path / "old.yaml"
    config = yaml.safe_load((CONFIGS / "nyc_tim_lulc.yaml").read_text())
    config["data"]["init_args"] |= {"scene_pattern": "_0$", "scene_table": None}
    path.write_text(yaml.safe_dump(config))
    fit[fit.index("nyc_tim_lulc")] = str(path)
    expected = (
        "old.yaml: data.init_args: scene_pattern and scene_table are now scenes, a CSV file or a regular"
    )
    assert expected in refused(capsys, *fit)


def test_scenes_and_layout_of_the_command_line_reach_the_configuration(fit):
    given = {
        "data": {"init_args": {"layout": "terramesh", "scenes": "x$"}},
        "model": {"init_args": {"model_args": {}}},
    }
    given["model"]["init_args"]["model_args"]["num_classes"] = 2
    options = parse([*fit[:5], "--run", "run", "--layout", "folders", "--scenes", "_0$"])
    data = resolve(given, options, gpu=False)["data"]["init_args"]
    assert (data["layout"], data["scenes"]) == ("folders", "_0$")
    kept = resolve(given, parse([*fit[:5], "--run", "run"]), gpu=False)["data"]["init_args"]
    assert (kept["layout"], kept["scenes"]) == ("terramesh", "x$")


def test_a_configuration_keeps_no_password(fit):
    """The datamodule, which is made from it, still finds the password of the host and the token of the file."""
    init_args = {
        "data_root": "https://me:s3cret@of-a-yaml/chips",
        "train_split": "https://lists/train.txt?token=t0ken",
    }
    given = {
        "data": {"init_args": init_args},
        "model": {"init_args": {"model_args": {"num_classes": 2}}},
    }
    options = parse([*fit[:3], "--run", "run"])
    assert options.chips is None
    data = resolve(given, options, gpu=False)["data"]["init_args"]
    assert (data["data_root"], data["train_split"]) == ("https://of-a-yaml/chips", "https://lists/train.txt")
    for key, address in init_args.items():
        assert as_path(data[key]).address == address


def test_a_bad_command_runs_as_a_process_in_one_line(tmp_path):
    words = ["fit", "--config", "nyc_phase3", "--run", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "finetune", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: --config nyc_phase3: no such file; these ship: nyc_inline_tim")
    assert "Traceback" not in done.stderr


def test_libraries_say_nothing_before_an_error(world, tmp_path):
    """As a process of its own, where no test has imported them or set their filters."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    command = [
        sys.executable,
        "-m",
        "finetune",
        "fit",
        *tiny_options(world, "nyc_phase2"),
        "--run",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: {tmp_path}: holds a run already; choose another --run, or resume it with --ckpt_path "
        f"{tmp_path / 'checkpoints' / 'last.ckpt'}"
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["test", "--init", __file__], "--init is for fit"),
        (["fit", "--init", __file__, "--ckpt_path", __file__], "choose one"),
        (["fit", "--init", "no.ckpt"], "--init no.ckpt: no such file"),
        (["fit", "--seed_everything", "3"], "use --seed"),
        (["fit", "--seed_everything=3"], "use --seed"),
        (["fit", "stray"], "unexpected argument 'stray'"),
    ],
)
def test_options_that_contradict(capsys, words, message, tmp_path):
    assert message in refused(capsys, *words, "--config", "nyc_phase2", "--run", str(tmp_path))


def test_an_unknown_key_is_named(fit, capsys, tmp_path):
    config = yaml.safe_load((CONFIGS / "nyc_tim_lulc.yaml").read_text())
    config["data"]["init_args"]["batchsize"] = 3
    path = tmp_path / "typo.yaml"
    path.write_text(yaml.safe_dump(config))
    fit[fit.index("nyc_tim_lulc")] = str(path)
    message = refused(capsys, *fit, "--control", "constant")
    assert "typo.yaml" in message
    assert "batchsize" in message


def test_an_unknown_override_or_model_key_is_named(fit, capsys):
    control = ["--control", "constant"]
    assert "trainer.max_epoch" in refused(capsys, *fit, *control, "--trainer.max_epoch", "3")
    message = refused(capsys, *fit, *control, "--model.init_args.model_args.decoder_chanels", "[1]")
    assert "decoder_chanels" in message


def test_a_broken_yaml_is_refused(fit, capsys, tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("data: [1, 2")
    fit[fit.index("nyc_tim_lulc")] = str(path)
    assert "broken.yaml: cannot be read" in refused(capsys, *fit)
    path.write_text("model: {class_path: x}")
    assert "no section 'data'" in refused(capsys, *fit)


def test_a_store_that_does_not_fit_is_refused(fit, capsys, plain_store, ndvi_store, tmp_path):
    assert "not an augment store" in refused(capsys, *fit, "--augment", str(tmp_path))
    ndvi = ["--augment", str(ndvi_store), "--encoding", "onehot"]
    assert "no array 'lulc' in this NDVI store" in refused(capsys, *fit, *ndvi)
    shares = ["--augment", str(plain_store), "--encoding", "probabilities"]
    assert "generate a store with --probabilities" in refused(capsys, *fit, *shares)


def test_chips_that_do_not_fit_are_refused(fit, capsys, plain_store, tmp_path):
    world = make_world(tmp_path / "other", seed=9)
    fit[fit.index("--chips") + 1] = str(world.root)
    assert "content differs from what the store was generated from" in refused(
        capsys, *fit, "--augment", str(plain_store)
    )
    mask = world.labels("alpha_0_0")
    mask[0, 0] = 9
    write_tif(world.root / "data/MASK/alpha_0_0_annotation_flood.tif", mask.astype("int8"))
    assert "mask holds label 9" in refused(capsys, *fit, "--control", "constant")
    (world.root / "split/impactmesh_flood_val.txt").write_text("alpha_0_1\n")
    assert "in both" in refused(capsys, *fit, "--control", "constant")
    (world.root / "split/impactmesh_flood_val.txt").write_text("")
    assert "the split is empty" in refused(capsys, *fit, "--control", "constant")


def test_a_checkpoint_of_another_architecture_is_refused(fit, capsys, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {"model.encoder.weight": torch.zeros(2)}}, path)
    for option in ("--init", "--ckpt_path"):
        assert "another architecture" in refused(capsys, *fit, "--control", "constant", option, str(path))
    path.write_bytes(b"nothing")
    assert "cannot be read" in refused(capsys, *fit, "--control", "constant", "--init", str(path))


def test_weights_that_are_not_there_name_the_remedy(fit, capsys, tmp_path):
    fit[fit.index("--weights") + 1] = str(tmp_path)
    message = refused(capsys, *fit, "--control", "constant")
    assert message.startswith(f"error: {tmp_path}")
    assert "hf download ibm-esa-geospatial/TerraMind-1.0-tiny" in message
    assert "cannot be built" not in message


# Resolving -------------------------------------------------------------------------------------------


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
    tell_model(model_args(config), Augmentation(request, memory_limit_mb=1))
    return config


def model_args(config):
    return config["model"]["init_args"]["model_args"]


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
    tell_model(arguments, Augmentation(AugmentRequest(plain_store, ("index", "onehot")), memory_limit_mb=1))
    assert arguments == {"backbone": "terramind_tim_store", "backbone_encoding": ["index", "onehot"]}
    tell_model(arguments, Augmentation(AugmentRequest(), memory_limit_mb=1))
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


def test_a_band_subset_is_the_models_too(fit, capsys, tmp_path):
    config = yaml.safe_load((CONFIGS / "nyc_tim_lulc.yaml").read_text())
    config["data"]["init_args"]["bands"] = {"S2L2A": ["RED", "GREEN"]}
    path = tmp_path / "subset.yaml"
    path.write_text(yaml.safe_dump(config))
    subset = [str(path) if word == "nyc_tim_lulc" else word for word in fit]
    assert main([*subset, "--control", "constant", "--smoke"]) == 0
    capsys.readouterr()
    clash = ["--model.init_args.model_args.backbone_bands", "{S2L2A: [RED]}"]
    assert "make them agree" in refused(capsys, *subset, "--control", "constant", *clash)


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


def test_a_run_that_left_no_checkpoint_may_be_replaced(fit, tmp_path, capsys):
    checkpoints, control = tmp_path / "run" / "checkpoints", ["--control", "constant"]
    assert main([*fit, *control, "--smoke"]) == 0
    assert main([*fit, *control, "--smoke"]) == 0
    checkpoints.mkdir()
    (checkpoints / "best.ckpt").touch()
    capsys.readouterr()
    assert f"resume it with --ckpt_path {checkpoints / 'best.ckpt'}" in refused(capsys, *fit, *control)
    (checkpoints / "last.ckpt").touch()
    assert f"resume it with --ckpt_path {checkpoints / 'last.ckpt'}" in refused(capsys, *fit, *control)


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
        (["land", "sea"], ["dry", "wet"], ["land", "sea"]),
    ],
)
def test_classes_have_the_names_they_are_given_or_numbers(tmp_path, data, model, names):
    config = resolved(config=with_classes(tmp_path, 2, data=data, model=model))
    assert config["data"]["init_args"]["class_names"] == names


def test_classes_are_as_many_as_their_names(tmp_path):
    config = {"data": {}, "model": {"init_args": {"model_args": {"num_classes": 3}, "class_weights": [1, 1]}}}
    with pytest.raises(ConfigError, match="num_classes 3, but 2 class_weights; give one for each class"):
        normalise(config)
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
    assert callbacks == ["RichProgressBar", "LearningRateMonitor", "EarlyStopping", "ModelCheckpoint"]
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
    return [resolved()["trainer"]["callbacks"][-1]]


@pytest.mark.parametrize(
    ("strategy", "whole"), [(None, True), ("ddp", True), ("fsdp", False), ("deepspeed_stage_2", False)]
)
def test_checkpoints_are_written_whole_where_the_strategy_lets_us(strategy, whole):
    given = read_yaml(find_config("nyc_phase2", Path()))
    given["trainer"]["strategy"] = strategy
    options = Options("fit", Path("x.yaml"), Path("run"))
    config = resolve(given, options, gpu=False)
    assert ("finetune.run.checkpoints" in str(config["trainer"].get("plugins"))) is whole


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1}, path)

    def full(self, checkpoint, path, storage_options=None):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", full)
    with pytest.raises(OSError, match="No space left"):
        WholeCheckpoints().save_checkpoint({"epoch": 2}, path)
    assert torch.load(path) == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_run_directory_has_one_writer(fit, capsys, tmp_path):
    with exclusive(Path(fit[fit.index("--run") + 1])):
        assert "another run is writing here" in refused(capsys, *fit, "--control", "constant")
