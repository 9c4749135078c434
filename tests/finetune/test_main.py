"""The command line: help at once, and every bad input as one line on stderr and exit code 2."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml

from augment_store.io.lock import file_lock
from finetune.__main__ import main
from finetune.options import CONFIGS, parse, shipped_configs
from tests.worlds import MINI, make_world, tiny_options, write_tif

pytestmark = pytest.mark.slow


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
        (["fit", "--precision", "tf32", "--trainer.precision", "32"], "name the same thing; give one"),
        (["test", "--precision", "tf32"], "--precision is for fit and encode"),
        (["fit", "stray"], "unexpected argument 'stray'"),
    ],
)
def test_options_that_contradict(capsys, words, message, tmp_path):
    assert message in refused(capsys, *words, "--config", "nyc_phase2", "--run", str(tmp_path))


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
    named = "backbone 'terramind_demo' and backbone_architecture 'terramind_v1_small' name two networks"
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
    assert "UNetDecoder.__init__() got an unexpected keyword argument 'chanels'" in message


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


@pytest.mark.nightly
def test_a_checkpoint_of_another_architecture_is_refused(fit, capsys, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {"model.encoder.weight": torch.zeros(2)}}, path)
    for option in ("--init", "--ckpt_path"):
        assert "another architecture" in refused(capsys, *fit, "--control", "constant", option, str(path))
    path.write_bytes(b"nothing")
    assert "cannot be read" in refused(capsys, *fit, "--control", "constant", "--init", str(path))


def test_weights_that_are_not_there_name_the_remedy(fit, capsys, tmp_path):
    fit[fit.index("--weights") + 1] = str(tmp_path)
    fit[fit.index(MINI)] = "terramind_v1_tiny"
    message = refused(capsys, *fit, "--control", "constant")
    assert message.startswith(f"error: {tmp_path}")
    assert "hf download ibm-esa-geospatial/TerraMind-1.0-tiny" in message
    assert "cannot be built" not in message


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


def test_a_run_directory_has_one_writer(fit, capsys, tmp_path):
    with file_lock(Path(fit[fit.index("--run") + 1])):
        assert "another run is writing here" in refused(capsys, *fit, "--control", "constant")
