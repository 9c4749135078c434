"""What the README says is there, is there."""

import re
from pathlib import Path

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_file_of_the_tree_exists():
    tree = README.split("## Tree")[1].split("```")[1]
    folder = Path()
    for line in filter(str.strip, tree.splitlines()):
        names = re.split(r" {2,}", line.strip())[0].split()
        if not line.startswith(" "):
            folder = ROOT / names.pop(0)
            assert folder.is_dir(), folder
        for name in names:
            assert (folder / name).exists(), folder / name


def test_every_package_is_in_the_tree():
    """One line a folder, complete: the packages within packages, too."""
    tree, known, top = README.split("## Tree")[1].split("```")[1], set(), Path()
    for line in filter(str.strip, tree.splitlines()):
        name = Path(line.split()[0])
        top = top if line.startswith(" ") else name
        known.add(top / name if line.startswith(" ") else top)
    packages = {
        path.parent.relative_to(ROOT)
        for folder in (
            *("augment_store", "terramind_weights", "generate", "finetune", "eval", "predict"),
            *("demo", "tools"),
        )
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert packages <= known


def test_every_command_is_a_package_that_can_be_run():
    modules = set(re.findall(r"python3? -m ([a-z_.]+)", README)) - {"pytest", "venv"}
    for module in modules:
        path = ROOT.joinpath(*module.split("."))
        assert (path / "__main__.py").is_file() or path.with_suffix(".py").is_file(), module


def test_every_shipped_configuration_of_new_york_is_named_and_ships():
    shipped = {
        path.stem
        for folder in ("finetune", "eval/study", "demo")
        for path in (ROOT / folder / "configs").iterdir()
    }
    page = (ROOT / "docs" / "how-to" / "new_york.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(nyc_(?!lulc)\w+)", page))
    assert named == {name for name in shipped if name.startswith("nyc_")}


def test_the_first_screen_says_what_has_not_been_tested_and_what_it_needs():
    first = " ".join(README.split("## Try it")[0].replace("\n> ", " ").split())
    for told in ("published TerraMind weights", "on a GPU", "Linux and macOS", "7 GB", "whl/cpu"):
        assert told in first
    assert len(README.splitlines()) <= 150


def test_ci_runs_the_readmes_test_command():
    command = README.split("## Run the tests")[1].split("```")[1].removeprefix("bash").strip()
    assert command.count("\n") == 0
    assert command.endswith(".venv/bin/python -m pytest -n 2 --dist loadfile")
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
