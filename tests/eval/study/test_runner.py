"""A study of two arms by its command line, on the demo's world, each step a process of its own: nothing stubbed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from demo.world.command import main as write_world
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

CONFIG = str(ROOT / "demo" / "configs" / "demo_s1.yaml")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    assert write_world(["--chips", str(folder / "chips"), "--train", "1", "--val", "1", "--test", "2"]) == 0
    plain = {
        "out": "out",
        "chips": "chips",
        "seeds": [1],
        "generate_arguments": ["--generator", "demo", "--accelerator", "cpu", "--top-k", "1"],
        "finetune_arguments": ["--trainer.max_epochs", "1"],
        "stores": {"lulc": {}},
        "arms": {"baseline": {"config": CONFIG}, "tim": {"config": CONFIG, "store": "lulc"}},
        "comparisons": {"main": {"baseline": "baseline", "candidate": "tim"}},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(plain))
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "eval", "study", "--config", "study.yaml", *words]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
    )


def test_a_study_runs_from_generation_to_report_and_only_once(study):
    first = run(study)
    assert first.returncode == 0, first.stderr
    [path] = study.glob("out/**/report.json")
    report = json.loads(path.read_text())
    assert report["verdict"]["claimed"] is False  # one seed is no evidence, whatever the number
    assert [len(report[arm]["runs"]) for arm in ("baseline", "candidate")] == [1, 1]
    made = path.stat().st_mtime_ns
    again = run(study)
    assert again.returncode == 0, again.stderr
    assert path.stat().st_mtime_ns == made
