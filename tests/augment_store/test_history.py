import json
from datetime import UTC, datetime

import pytest
import xarray

from augment_store.cli import main
from augment_store.errors import StoreError
from augment_store.history import LONGEST_HISTORY, command_line, last_command, with_line
from augment_store.store import AugmentStore

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_a_command_is_one_line_that_a_shell_takes_back():
    line = command_line("generate", ["--chips", "my chips", "--scenes", "_r.*$", "a\nb"])
    assert line == "python -m generate --chips 'my chips' --scenes '_r.*$' 'a\\nb'"


def test_lines_are_added_and_the_oldest_give_way():
    once = with_line("", "first", NOON)
    assert once == "2026-11-24T12:00:00Z: first"
    assert with_line(once, "second: with a colon", NOON).splitlines()[1:] == [
        "2026-11-24T12:00:00Z: second: with a colon"
    ]
    long = "x" * (LONGEST_HISTORY // 2)
    assert with_line(with_line(once, long, NOON), long, NOON) == with_line("", long, NOON)
    assert len(with_line(once, "x" * LONGEST_HISTORY, NOON)) == LONGEST_HISTORY


def test_the_last_command():
    assert last_command(with_line("2026-01-01T00:00:00Z: a", "b: c", NOON)) == "b: c"
    assert last_command("") is None


def test_a_store_keeps_its_commands_and_info_and_xarray_show_them(store, capsys):
    assert store.history == ""
    store.record_history("python -m generate --store a")
    store.record_history("python -m generate --store a --samples 2")
    kept = AugmentStore.open(store.path).history.splitlines()
    assert [line.partition(": ")[2] for line in kept] == [
        "python -m generate --store a",
        "python -m generate --store a --samples 2",
    ]
    assert main(["info", str(store.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["history"] == kept
    assert main(["info", str(store.path)]) == 0
    assert "python -m generate --store a --samples 2" in " ".join(capsys.readouterr().out.split())
    with xarray.open_zarr(store.path) as dataset:
        assert dataset.attrs["history"].splitlines() == kept


def test_repairing_names_the_command_to_run_again(store, capsys):
    store.record_history("python -m generate --store a")
    assert main(["verify", str(store.path), "--repair"]) == 1
    assert "chips set back to pending; run again: python -m generate --store a\n" in capsys.readouterr().out


@pytest.mark.parametrize("history", [3, ["a"], "x" * (LONGEST_HISTORY + 1)])
def test_a_history_that_this_version_did_not_write_is_refused(store, history):
    path = store.path / "zarr.json"
    plain = json.loads(path.read_text())
    plain["attributes"]["history"] = history
    path.write_text(json.dumps(plain))
    with pytest.raises(StoreError, match=r"attribute history: .*; the store is damaged"):
        AugmentStore.open(store.path)
