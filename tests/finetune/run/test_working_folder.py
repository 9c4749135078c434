"""TerraTorch imports no folder `custom_modules` of the working directory, which may be someone else's."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


BY_NIGHT = ("finetune.run.load", "eval.score.predict", "demo.generator")


@pytest.mark.parametrize(
    "package",
    ["generate.model.terramind", *(pytest.param(name, marks=pytest.mark.nightly) for name in BY_NIGHT)],
)
def test_nothing_of_the_working_folder_runs(tmp_path, package):
    folder = tmp_path / "custom_modules"
    folder.mkdir()
    (folder / "__init__.py").write_text("open('RAN', 'w')")
    code = f"import {package}; import terratorch.registry"
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True
    )
    assert not (tmp_path / "RAN").exists()
