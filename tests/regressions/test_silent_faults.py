"""The table of silent faults names tests that exist, each once."""

import ast
from collections import Counter

import pytest

from tests.conftest import ROOT
from tests.regressions.silent_faults import SILENT_FAULTS, Fault


@pytest.fixture(scope="module")
def tests_by_name() -> Counter[str]:
    """How many test functions of each name there are."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tests").rglob("test_*.py"))
    return Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("fault", SILENT_FAULTS, ids=lambda fault: fault.test)
def test_a_fault_has_its_story_and_its_test(fault: Fault, tests_by_name: Counter[str]):
    assert tests_by_name[fault.test] == 1
    assert fault.story.endswith(".")


def test_no_test_stands_for_two_faults():
    assert len({fault.test for fault in SILENT_FAULTS}) == len(SILENT_FAULTS)
