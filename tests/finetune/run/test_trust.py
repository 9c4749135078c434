"""A run directory from someone else runs none of its code when it is opened."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from finetune.errors import ConfigError
from finetune.run.trust import check_trusted
from tests.conftest import ROOT

MODULE = "from pathlib import Path\nPath('RAN').touch()\nclass Thing: pass\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, which holds modules of a stranger."""
    for name in ("evil", "évil"):
        (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "config",
    [
        {"model": {"class_path": "evil.Thing"}},
        {"data": {"class_path": "evil.Thing"}},
        {"optimizer": {"class_path": "evil.Thing"}},
        {"lr_scheduler": {"class_path": "evil.Thing"}},
        {"data": {"init_args": {"train_transform": [{"class_path": "evil.Thing"}]}}},
        {"trainer": {"strategy": "evil.Thing"}},
        {"trainer": {"profiler": {"class_path": "evil.sub.Thing"}}},
        {"trainer": {"callbacks": [{"class_path": "evil.Thing"}]}},
        {"optimizer": "'\"evil.Thing\" # quoted twice'"},
        {"optimizer": {"class_path": " evil.Thing"}},
        {"optimizer.class_path": "evil.Thing"},
        {"trainer": {"plugins": {"evil.Thing"}}},
    ],
)
def test_no_package_is_imported_that_is_not_trusted(here, config):
    with pytest.raises(ConfigError, match="would run code of the package evil"):
        check_trusted(config, Path("run/config.yaml"))
    assert "evil" not in sys.modules
    assert not (here / "RAN").exists()


@pytest.mark.parametrize(
    ("config", "package"),
    [
        ({"optimizer": "évil.Thing"}, "évil"),
        ({"optimizer": {"class_path": "évil.Thing"}}, "évil"),
        ({"optimizer.class_path": "évil.Thing"}, "évil"),
        ({"optimizer": {"class_path": "__main__.Thing"}}, "__main__"),
        ({"optimizer": "__main__.Thing"}, "__main__"),
        ({"optimizer": {"class_path": "not_there_yet.Thing"}}, "not_there_yet"),
        ({"optimizer": {"class_path": "/folder/evil.Thing"}}, "/folder/evil"),
    ],
)
def test_a_name_is_judged_as_python_judges_it(here, config, package):
    with pytest.raises(ConfigError, match=f"would run code of the package {package}, which is none of"):
        check_trusted(config, Path("run/config.yaml"))


@pytest.mark.parametrize(
    "text",
    [
        '{"class_path": "evil.Thing"}',
        "class_path: evil.Thing",
        "class_path: évil.Thing",
        '[{"class_path": "evil.Thing"}]',
        "- evil.Thing",
        "? evil.Thing",
        "evil: Thing",
        "'- evil.Thing'",
        "evil.Thing\n",
        "- " * 2000,
    ],
)
@pytest.mark.parametrize("key", ["optimizer", "lr_scheduler", "test_transform"])
def test_values_written_as_one_text_are_refused(here, key, text):
    config = {"data": {"init_args": {key: text}}} if key == "test_transform" else {key: text}
    with pytest.raises(ConfigError, match=rf"{key}: .* holds values written as one text"):
        check_trusted(config, Path("run/config.yaml"))


def test_a_file_in_the_place_of_a_class_is_refused(here, monkeypatch):
    (here / "opt.yaml").write_text("class_path: evil.Thing\n")
    (here / "AdamW").write_text("class_path: evil.Thing\n")
    monkeypatch.setenv("HOME", str(here))
    for name in ("opt.yaml", str(here / "opt.yaml"), "~/opt.yaml", " opt.yaml", "AdamW"):
        with pytest.raises(ConfigError, match=r"optimizer: .* names a file"):
            check_trusted({"optimizer": name}, Path("run/config.yaml"))


def test_paths_and_patterns_of_the_data_are_text(here):
    (here / "test.txt").write_text("a_0_0\n")
    (here / "layout.yaml").write_text("name: mine\n")
    (here / "evil.pt").write_text("")
    data = {
        "scenes": r"[a-z]+_\d{2}$",
        "test_split": "test.txt",
        "layout": "layout.yaml",
        "data_root": "evil.d",
    }
    model = {"model_args": {"backbone_weights": str(here / "evil.pt")}}
    check_trusted({"data": {"init_args": data}, "model": {"init_args": model}}, Path("run/config.yaml"))
    with pytest.raises(ConfigError, match=r"data\.init_args\.scenes\.class_path: evil\.Thing would run"):
        check_trusted(
            {"data": {"init_args": {"scenes": {"class_path": "evil.Thing"}}}}, Path("run/config.yaml")
        )


def test_what_a_run_of_ours_names_is_trusted():
    check_trusted(
        {
            "model": {"class_path": "terratorch.tasks.SemanticSegmentationTask"},
            "data": {"class_path": "finetune.data.datamodule.TimStoreDataModule", "data_root": "chips.v2"},
            "optimizer": {"class_path": "torch.optim.AdamW"},
            "trainer": {
                "callbacks": [{"class_path": "RichProgressBar"}],
                "logger": [{"init_args": {"version": "2024-01-01", "comment": "", "name": "a b%"}}],
                "precision": "32-true",
            },
            "model.init_args.model_args.peft_config": {"target_modules": ["attn.qkv", "attn.proj"]},
        },
        Path("run/config.yaml"),
    )


@pytest.mark.slow
def test_a_strangers_run_is_refused_by_the_command(tmp_path):
    """As a process of its own, in a folder that holds the module."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (tmp_path / "evil.py").write_text(MODULE)
    text = yaml.safe_dump({"model": {}, "data": {}, "optimizer": '{"class_path": "evil.Thing"}'})
    (run / "config.yaml").write_text(text)
    command = [sys.executable, "-m", "finetune", "test", "--run", str(run)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert (
        'config.yaml: optimizer: {"class_path": "evil.Thing"} holds values written as one text' in done.stderr
    )
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "RAN").exists()
