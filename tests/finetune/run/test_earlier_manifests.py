"""Runs that earlier versions wrote, kept in the repository, are refused in the words of the documentation."""

import shutil

import pytest

from finetune.errors import RunError
from finetune.run.manifest import MANIFEST_VERSION, RunManifest
from tests.conftest import ROOT


@pytest.mark.parametrize("version", [2])
def test_a_run_of_an_earlier_version_is_refused(tmp_path, version):
    shutil.copy(ROOT / f"tests/fixtures/run_manifest_{version}.json", tmp_path / "manifest.json")
    told = f"manifest version {version}, expected {MANIFEST_VERSION}; train into a new --run"
    with pytest.raises(RunError, match=told) as raised:
        RunManifest.read(tmp_path)
    assert str(raised.value) == f"{tmp_path / 'manifest.json'}: {told}"
    assert f'"{told}"' in (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
