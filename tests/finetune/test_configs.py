"""Every shipped YAML runs a training, a validation and a test batch, through both command lines."""

import pytest

from finetune.__main__ import main
from finetune.options import CONFIGS, shipped_configs
from finetune.run.reopen import load_run

STORES = {"nyc_tim_ndvi": "ndvi_store"}
PLAIN = {"nyc_phase2", "nyc_s1_only", "nyc_inline_tim", "nyc_phase2_lora"}


def store_of(name, request):
    return None if name in PLAIN else str(request.getfixturevalue(STORES.get(name, "plain_store")))


@pytest.mark.parametrize("name", shipped_configs())
def test_runs_through_python_m_finetune(name, tiny, request, tmp_path):
    if name == "nyc_inline_tim":  # its checkpoints hold a whole generator, some 0.8 GB each: none are written
        tiny = [word.replace("terramind_v1_tiny", "terramind_v1_tiny_tim") for word in tiny]
        assert main(["fit", "--config", name, *tiny, "--smoke", "--run", str(tmp_path / "run")]) == 0
        return
    store = store_of(name, request)
    joined = ["--augment", store] if store else []
    batches = ["--trainer.limit_train_batches", "0.5"]
    run = tmp_path / "run"
    arguments = [*tiny, *joined, *batches, "--trainer.max_epochs", "1", "--run", str(run)]
    assert main(["fit", "--config", name, *arguments]) == 0
    assert main(["test", "--run", str(run), "--trainer.limit_test_batches", "0.5"]) == 0
    task, datamodule = load_run(run)
    assert not task.training
    assert datamodule.augmentation.wish.store == (None if store is None else type(run)(store))


@pytest.mark.parametrize("name", shipped_configs())
def test_runs_through_terratorch(name, world, request, tmp_path, monkeypatch):
    from terratorch.cli_tools import build_lightning_cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["terratorch"])
    store = store_of(name, request)
    joined = ["--data.init_args.augment", store] if store else []
    key = "backbone_architecture" if store else "backbone"
    tiny = "terramind_v1_tiny_tim" if name == "nyc_inline_tim" else "terramind_v1_tiny"
    shrunk = [
        *(f"--model.init_args.model_args.{key}", tiny, "--model.init_args.model_args.backbone_pretrained="),
        *("--model.init_args.model_args.decoder_channels", "[16,8,8,8]"),
        *("--data.init_args.data_root", str(world.root), "--data.init_args.num_workers", "0"),
        *(
            "--data.init_args.batch_size",
            "2",
            "--trainer.accelerator",
            "cpu",
            "--trainer.precision",
            "32-true",
        ),
        *("--trainer.fast_dev_run", "true", "--trainer.enable_progress_bar", "false"),
    ]
    for command in ("fit", "test"):
        cli = build_lightning_cli([command, "--config", str(CONFIGS / f"{name}.yaml"), *joined, *shrunk])
        assert cli.trainer.state.finished
