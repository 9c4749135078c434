"""Stores that earlier versions wrote, kept in the repository, are refused in the words of the documentation."""

import shutil
from pathlib import Path

import pytest

from augment_store.cli.main import main
from augment_store.store.schema import SCHEMA_VERSION

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests" / "fixtures"


@pytest.mark.parametrize("version", [6])
@pytest.mark.parametrize("command", [["info"], ["verify"], ["verify", "--repair"], ["inspect"]], ids=" ".join)
def test_a_store_of_an_earlier_schema_is_refused_and_left_as_it_is(tmp_path, capsys, version, command):
    shutil.unpack_archive(FIXTURES / f"store_schema_{version}.zip", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    name, *options = command
    assert main([name, str(tmp_path / "store"), *options]) == 2
    line = capsys.readouterr().err
    told = f"schema version {version}, expected {SCHEMA_VERSION}; generate into a new --store"
    assert line == f"error: {tmp_path / 'store'}: {told}\n"
    assert f'"{told}"' in (ROOT / "docs/reference/store.md").read_text(encoding="utf-8")
    after = {
        path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"
    }
    assert {path: content for path, content in after.items() if path.name != ".store.lock"} == before
