"""The command line: help at once, and every bad input as one line on stderr and exit code 2."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.plugins.io import TorchCheckpointIO

from augment_store.errors import StoreError
from augment_store.lock import exclusive
from finetune.__main__ import main
from finetune.augment.augmentation import Augmentation, Wish
from finetune.errors import ConfigError
from finetune.options import CONFIGS, Options, find_config, parse, shipped_configs
from finetune.run.checkpoints import WholeCheckpoints
from finetune.run.config import check_agreement, read_yaml, resolve
from tests.finetune.world import make_world, write_tif


def refused(capsys, *arguments):
    """Message of a command that must stop with one line."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if not line.startswith("INFO")]
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def fit(tiny, tmp_path):
    return ["fit", "--config", "nyc_tim_lulc", *tiny, "--run", str(tmp_path / "run")]


def test_help_loads_nothing_heavy():
    heavy = ["torch", "terratorch", "lightning", "zarr"]
    code = "import runpy, sys\nsys.argv = ['finetune', '--help']\n"
    code += "try:\n    runpy.run_module('finetune', run_name='__main__')\nexcept SystemExit:\n"
    code += f"    print('loaded', [name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("loaded []\n")
    assert all(name in shown for name in (*shipped_configs(), "--augment", "--new-columns"))


def test_a_bad_command_runs_as_a_process_in_one_line(tmp_path):
    words = ["fit", "--config", "nyc_phase3", "--run", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "finetune", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: --config nyc_phase3: no such file; these ship: nyc_inline_tim")
    assert "Traceback" not in done.stderr


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
    assert "have other inputs on disk" in refused(capsys, *fit, "--augment", str(plain_store))
    mask = world.labels("alpha_0_0")
    mask[0, 0] = 9
    write_tif(world.root / "data/MASK/alpha_0_0_annotation_flood.tif", mask.astype("int8"))
    assert "mask holds label 9" in refused(capsys, *fit, "--control", "constant")
    (world.root / "split/impactmesh_flood_val.txt").write_text("alpha_0_1\n")
    assert "are in both" in refused(capsys, *fit, "--control", "constant")
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
    return resolve(read_yaml(options.config), options, gpu=gpu)


def model_args(config):
    return config["model"]["init_args"]["model_args"]


def test_one_flag_is_the_whole_difference(plain_store):
    plain, joined = resolved(), resolved("--augment", str(plain_store))
    assert joined["data"]["init_args"].pop("augment") == str(plain_store)
    assert joined["data"]["init_args"].pop("encoding") == ["onehot"]
    assert model_args(joined).pop("backbone_encoding") == ["onehot"]
    assert plain["data"]["init_args"].pop("augment") is None
    assert "encoding" not in plain["data"]["init_args"]
    assert joined == plain
    assert model_args(plain)["backbone_architecture"] == "terramind_v1_base"


def test_a_baselines_own_configuration_joins_the_store_it_is_given(plain_store, tmp_path):
    baseline = resolved()
    baseline["data"]["init_args"]["encoding"] = []
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(baseline))
    for words in (["--augment", str(plain_store)], ["--control", "constant"]):
        joined = resolved(*words, config=str(path))
        assert joined["data"]["init_args"]["encoding"] == ["onehot"]
        assert model_args(joined)["backbone_encoding"] == ["onehot"]
    for words in ([], ["--encoding", "onehot"], ["--control", "constant"]):
        with pytest.raises(StoreError, match="nowhere"):
            resolved("--augment", str(tmp_path / "nowhere"), *words, config=str(path))


def test_phase_2s_own_yaml_is_taken(plain_store, tmp_path):
    config = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    config["data"]["class_path"] = "impactmesh.impactmesh_datamodule.ImpactMeshDataModule"
    path = tmp_path / "phase2.yaml"
    path.write_text(yaml.safe_dump(config))
    found = resolved("--augment", str(plain_store), config=str(path))
    assert found["data"]["class_path"] == "finetune.data.datamodule.TimStoreDataModule"


def test_a_band_subset_is_the_models_too(fit, capsys, tmp_path):
    config = yaml.safe_load((CONFIGS / "nyc_tim_lulc.yaml").read_text())
    config["data"]["init_args"]["bands"] = {"S2L2A": ["RED", "GREEN"]}
    path = tmp_path / "subset.yaml"
    path.write_text(yaml.safe_dump(config))
    subset = [str(path) if word == "nyc_tim_lulc" else word for word in fit]
    assert main([*subset, "--control", "constant", "--smoke"]) == 0
    capsys.readouterr()
    late = ["--control", "constant", "--data.init_args.bands", "{S2L2A: [RED]}"]
    assert "make them agree" in refused(capsys, *fit, *late)


def test_tokens_are_the_stores_modality_under_a_control_too(ndvi_store, world):
    words = ["--augment", str(ndvi_store), "--control", "constant"]
    config = resolved(*words, config="nyc_tokens")
    assert model_args(config)["backbone_token_modality"] == "NDVI"
    wish = Wish(ndvi_store, ("tokens",), "constant")
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
    config = resolved("--augment", str(lulc_store), "--encoding", "modality", "onehot", "--weights", "hub")
    assert model_args(config)["backbone_encoding"] == ["modality", "onehot"]
    assert (model_args(config)["backbone_pretrained"], model_args(config)["backbone_weights"]) == (True, None)
    config = resolved("--augment", str(ndvi_store), "--encoding", "tokens", "--weights", "random")
    assert model_args(config)["backbone_token_modality"] == "NDVI"
    assert model_args(config)["backbone_pretrained"] is False
    assert resolved("--augment", str(ndvi_store))["data"]["init_args"]["encoding"] == ["ndvi"]


def test_lora_trains_the_new_columns_whole(plain_store):
    config = resolved("--augment", str(plain_store), config="nyc_phase2_lora")
    assert model_args(config)["peft_config"]["peft_config_kwargs"]["modules_to_save"] == ["added"]
    assert config == resolved("--augment", str(plain_store), config="nyc_tim_lulc_lora")


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
        resolved("--augment", str(plain_store), config="nyc_inline_tim")


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("model", "num_classes", 3, "num_classes 3, but class_names names 5"),
        ("model", "backbone_modalities", ["S1RTC"], r"model_args has backbone_modalities \['S1RTC'\]"),
        ("model", "backbone_encoding", ["ndvi"], r"model_args has backbone_encoding \['ndvi'\]"),
        ("data", "timesteps", [0], "data has 1 timesteps, model_args has backbone_use_temporal True"),
        ("data", "timesteps", [0, 1], "backbone_temporal_n_timestamps 4"),
    ],
)
def test_data_and_model_must_agree(section, key, value, message):
    config = resolved()
    (config["data"]["init_args"] if section == "data" else model_args(config))[key] = value
    with pytest.raises(ConfigError, match=message):
        check_agreement(config, ())


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
