"""The table of what is done with other people's YAMLs names tests that are there."""

import re

from tests.conftest import ROOT

KINDS = 9


def test_every_kind_has_its_tests():
    text = (ROOT / "docs/reference/yaml.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| `([\w/]+\.py)::(test_\w+)` \|$", text, re.MULTILINE)
    section = text[text.index("## YAMLs and data sets of others") :]
    assert len(rows) == section.count("::test_")
    assert len({kind for kind, _, _ in rows}) == KINDS
    for _, path, name in rows:
        assert f"\ndef {name}(" in (ROOT / "tests/finetune" / path).read_text(), name
