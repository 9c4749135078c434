"""Kinds of errors, by which programs tell them apart: they may be added to, and never renamed."""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

from augment_store.cli.main import main
from augment_store.errors import AugmentStoreError
from tests.conftest import ROOT

KINDS = (
    *("error", "chip_set", "remote_path", "chip_not_found", "chip_data", "store", "store_busy", "output"),
    *("options", "config", "run", "evaluation", "weights", "misfit", "path", "disk", "interrupted"),
)
"""Every kind that a version has ever printed; new ones go last."""

PACKAGES = ("augment_store", "terramind_weights", "generate", "finetune", "eval", "predict", "demo")


def _subclasses(parent: type) -> set[type]:
    return {found for child in parent.__subclasses__() for found in (child, *_subclasses(child))}


def error_classes() -> set[type[AugmentStoreError]]:
    """Every class of ours, from the modules that define one by the name of an error."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if any(isinstance(node, ast.ClassDef) and node.name.endswith("Error") for node in tree.body):
                importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return {
        found
        for found in {AugmentStoreError, *_subclasses(AugmentStoreError)}
        if found.__module__.partition(".")[0] in PACKAGES
    }


@pytest.mark.slow
def test_each_class_has_a_kind_of_its_own_that_was_never_another():
    kinds = [vars(found).get("kind") for found in error_classes()]
    assert len({*kinds}) == len(kinds) >= 8
    assert {*kinds} <= {*KINDS}


def test_the_reference_lists_the_kinds_in_the_order_in_which_they_came():
    text = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    table = text.partition("| kind | what is wrong |")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == KINDS


@pytest.mark.parametrize(
    ("words", "kind", "status"),
    [(["info", "none"], "store", 2), (["info", "https://x:y@h/s"], "remote_path", 2)],
)
def test_an_error_under_json_has_its_kind_on_stdout_and_its_line_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words, kind, status
):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--json"]) == status
    told = capsys.readouterr()
    error = json.loads(told.out)["error"]
    assert error["kind"] == kind
    assert told.err == f"error: {error['message']}\n"
    assert main(words) == status
    assert capsys.readouterr().out == ""
