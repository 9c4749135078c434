"""A run directory from someone else runs none of its code when it is opened."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.errors import ConfigError
from finetune.run.trust import check_trusted
from tests.conftest import ROOT

MODULE = "from pathlib import Path\nPath('RAN').touch()\nclass Thing: pass\n"


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
    ],
)
def test_no_package_is_imported_that_is_not_trusted(tmp_path, monkeypatch, config):
    (tmp_path / "evil.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="would run code of the package evil"):
        check_trusted(config, Path("run/config.yaml"))
    assert "evil" not in sys.modules
    assert not (tmp_path / "RAN").exists()


def test_what_a_run_of_ours_names_is_trusted():
    check_trusted(
        {
            "model": {"class_path": "terratorch.tasks.SemanticSegmentationTask"},
            "data": {"class_path": "finetune.data.datamodule.TimStoreDataModule", "data_root": "chips.v2"},
            "optimizer": {"class_path": "torch.optim.AdamW"},
        },
        Path("run/config.yaml"),
    )


def test_a_strangers_run_is_refused_by_the_command(tmp_path):
    """As a process of its own, in a folder that holds the module."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (tmp_path / "evil.py").write_text(MODULE)
    (run / "config.yaml").write_text("model: {class_path: evil.Thing}\ndata: {}\n")
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
    assert "would run code of the package evil" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "RAN").exists()
