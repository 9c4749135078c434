"""TerraTorch imports no folder `custom_modules` of the working directory, which may be someone else's."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

SEARCH = "terratorch.registry.custom_registry"
"""TerraTorch's module that imports the folder."""


def run(code, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True)


@pytest.mark.parametrize("package", ["finetune", "eval", "generate", "predict", "demo"])
def test_a_package_takes_the_place_of_the_search_before_terratorch_is_imported(tmp_path, package):
    code = f"import sys, {package}; assert not hasattr(sys.modules['{SEARCH}'], '__file__')"
    run(f"{code}; assert 'terratorch' not in sys.modules", tmp_path)


def test_terratorch_searches_in_that_module():
    terratorch = Path(importlib.util.find_spec("terratorch").origin).parent
    searching = [path for path in terratorch.rglob("*registry*.py") if "custom_modules" in path.read_text()]
    assert searching == [terratorch.parent / f"{SEARCH.replace('.', '/')}.py"]


@pytest.mark.nightly
@pytest.mark.parametrize(
    "package", ["finetune.run.load", "eval.score.predict", "generate.model.terramind", "demo.generator"]
)
def test_nothing_of_the_working_folder_runs(tmp_path, package):
    folder = tmp_path / "custom_modules"
    folder.mkdir()
    (folder / "__init__.py").write_text("open('RAN', 'w')")
    run(f"import {package}; import terratorch.registry", tmp_path)
    assert not (tmp_path / "RAN").exists()
