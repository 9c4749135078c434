"""A share of what `python -m tests.faults` does, and that it counts what goes wrong as a failure."""

import pytest

from tests.faults import interruptions, reading, scenarios, strangers
from tests.faults.tally import Tally
from tests.faults.test_operations import write_two

pytestmark = pytest.mark.slow


def first_at_once(cases):
    """Parameters: the first case in the default run, the others by night."""
    for number, case in enumerate(cases):
        yield pytest.param(
            case, id=getattr(case, "name", None), marks=[pytest.mark.nightly] if number else []
        )


def broken(tmp_path, **changes):
    """A scenario of text files that loses what was there when it is killed."""

    def act(path):
        (path / "a").write_text("")
        (path / "a").write_text("new")

    given = {
        "name": "text",
        "prepare": write_two,
        "act": act,
        "between": lambda path: "" if (path / "a").read_text() in {"first", "new"} else "lost",
        "state": lambda path: (path / "a").read_text(),
    }
    return scenarios.Scenario(**{**given, **changes})


def test_what_is_lost_or_ends_otherwise_is_counted_as_a_failure(tmp_path):
    tally = interruptions.kills(broken(tmp_path), tmp_path / "k", own_process=False)
    assert (tally.counts["recovered"], tally.failures) == (1, ["operation 1: lost"])
    endless = broken(tmp_path, state=lambda path: object())
    tally = interruptions.kills(endless, tmp_path / "e", own_process=False)
    assert "another end than without interruption" in tally.failures[0]


@pytest.mark.parametrize("scenario", [*first_at_once(scenarios.STORES), *first_at_once(scenarios.RECORDS)])
def test_writings_survive_kills_and_disk_errors(tmp_path, scenario):
    killed = interruptions.kills(scenario, tmp_path / "k", every=151, own_process=False)
    refused = interruptions.errors(scenario, tmp_path / "e", every=401)
    assert killed.failures + refused.failures == []
    assert killed.counts["recovered"] >= 1
    assert refused.counts["recovered"] >= len(interruptions.ERRORS)


@pytest.mark.parametrize("place", first_at_once(range(len(reading.COMMANDS))))
def test_commands_name_what_they_cannot_read(tmp_path, place):
    tally = reading.errors(place, tmp_path, every=31)
    assert tally.failures == []
    assert tally.counts["refused"] >= 1


@pytest.mark.parametrize("reader", first_at_once(strangers.READERS))
def test_files_of_strangers_are_read_or_refused_in_a_line(tmp_path, reader):
    tally = strangers.attack(reader, tmp_path, each=3, every=53)
    assert tally.failures == []
    assert tally.counts["refused"] >= 3


def test_a_reader_that_believes_or_breaks_is_counted_as_a_failure(tmp_path):
    def read(path):
        text = path.read_text()
        return {"whole": text}[text]

    given = {"make": lambda folder: (folder / "f").write_text("whole"), "read": read, "signed": True}
    reader = strangers.Reader("x", "f", **given)
    (tmp_path / "f").write_text("whole")
    assert strangers.outcome(reader, tmp_path / "f", {"whole": "whole"}) == "believed"
    (tmp_path / "f").write_text("other")
    assert strangers.outcome(reader, tmp_path / "f", "whole").startswith("KeyError")


def test_a_tally_adds_up():
    tally = Tally("some")
    for outcome in ("refused", "refused", "harmless", "a traceback"):
        tally.add("x", outcome)
    assert str(tally).split() == ["some", "4", "2", "1", "0", "1"]
    assert tally.failures == ["x: a traceback"]
