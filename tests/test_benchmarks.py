"""The table of benchmarks: its rows by name, its verdict and its JSON; what the rows measure is run by hand."""

import io
import json

import pytest
from rich.console import Console

from tests.benchmarks.__main__ import main
from tests.benchmarks.table import Row, find_rows, run


def test_rows_are_listed_by_name(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in listed] == list(find_rows())
    assert "announce: announcing, per chip, of 1,000,000 against of 1,000 ≤ 1.5" in listed


def test_an_unknown_row_is_a_line(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["anounce"])
    assert "no row 'anounce'; there are " in capsys.readouterr().err


def test_a_ratio_is_the_median_of_its_pairs_and_held_to_its_bound(tmp_path):
    rows = [
        Row("low", "a", "b", lambda: [0.5, 9.0, 1.0], at_most=1.0),
        Row("high", "a", "b", lambda: [1.0, 2.0, 9.0], at_least=2.5),
        Row("free", "a", "b", lambda: [7.0]),
    ]
    shown = io.StringIO()
    assert run(rows[:1], tmp_path / "a.json", Console(file=shown))
    assert not run(rows, tmp_path / "b.json", Console(file=shown, width=160))
    found = {
        row["name"]: (row["ratio"], row["holds"])
        for row in json.loads((tmp_path / "b.json").read_text())["rows"]
    }
    assert found == {"low": (1.0, True), "high": (2.0, False), "free": (7.0, True)}
    assert "2.000 missed" in shown.getvalue()
