"""The table of attempts to buy a claim names tests that are there."""

import re

from tests.conftest import ROOT


def test_every_attempt_has_its_test():
    text = (ROOT / "docs/explanation/statistics.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, len(rows) + 1))
    named = [found for row in rows for found in re.findall(r"`([\w/]+\.py)::(test_\w+)`", row)]
    assert len(named) + sum("| the same, " in row for row in rows) == len(rows) >= 25
    for path, name in named:
        assert f"\ndef {name}(" in (ROOT / "tests/eval" / path).read_text(), name
