"""The demo's commands are commands that the packages' own parsers take."""

import json
import subprocess
import sys

import pytest

from augment_store.chips.chip_set import ChipSet
from demo.__main__ import main
from demo.recipe import stages
from demo.world.command import main as write_world
from eval.cli.main import COMMANDS
from finetune.options import parse as parse_finetune
from generate.cli.audit import audit_parser
from generate.cli.generate import CommandOptions, generate_parser
from generate.cli.parser import parse_options

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("quick", [True, False])
def test_every_command_is_one_its_package_takes(tmp_path, quick, monkeypatch):
    parsed = []
    for stage in stages(tmp_path / "out", 7, quick=quick):
        assert stage.command.startswith(("python -m demo.world ", "tim-"))
        arguments = list(stage.arguments)
        if stage.module == "finetune":
            parsed.append(parse_finetune(arguments).seed)
        elif stage.module == "generate" and arguments[0] == "audit":
            audit_parser().parse_args(arguments[1:])
        elif stage.module == "generate":
            parsed.append(parse_options(generate_parser(), CommandOptions, arguments).checked().seed)
        elif stage.module == "eval":
            assert arguments[0] in COMMANDS
    assert parsed == [7, 7, 7]


def test_the_world_is_split_by_scene_and_deterministic(tmp_path, capsys):
    small = ["--train", "1", "--val", "1", "--test", "1"]
    for name in ("a", "b"):
        assert write_world(["--chips", str(tmp_path / name), *small]) == 0
    assert "4 train, 4 val, 4 test" in capsys.readouterr().err
    first, second = (ChipSet.open(tmp_path / name) for name in ("a", "b"))
    assert {name: len(ids) for name, ids in first.splits.items()} == {"train": 4, "val": 4, "test": 4}
    for path in sorted(first.folder.rglob("*.*")):
        assert path.read_bytes() == (second.folder / path.relative_to(first.folder)).read_bytes()


def test_what_is_there_is_not_written_over(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("keep")
    assert main(["--out", str(tmp_path)]) == 2
    assert write_world(["--chips", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("exists and is not empty") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.nightly
def test_the_readmes_first_command_runs(tmp_path):
    """The whole chain, quick: world, generation, two trainings, comparison, page."""
    command = [sys.executable, "-m", "demo", "--out", str(tmp_path / "out"), "--quick"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert "one run is not evidence" in told.lower()
    report = json.loads((tmp_path / "out/report/report.json").read_text())
    assert report["verdict"]["claimed"] is False
    assert (tmp_path / "out/maps.png").stat().st_size > 10_000
