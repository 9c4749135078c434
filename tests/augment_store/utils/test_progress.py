import io

import pytest
from rich.console import Console

from augment_store.utils.progress import ProgressReporter, format_duration, format_rate, track


class Clock:
    """A clock that a test turns on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def reporter(total, **options):
    log, clock = io.StringIO(), Clock()
    return ProgressReporter("verifying", total, console=Console(file=log), clock=clock, **options), log, clock


def work(progress, clock, seconds, count):
    for _ in range(count):
        clock.now += seconds
        progress.advance()


def test_a_log_gets_a_line_every_30_seconds_with_count_rate_and_time_left():
    progress, log, clock = reporter(1000)
    with progress:
        work(progress, clock, 10, 7)  # 1 % of the work after 100 s: time decides
    assert log.getvalue().splitlines() == [
        "verifying: 3 of 1,000 chips (0%), 0.10/s, about 2 h 46 min left",  # 997 chips at 10 s are 166 min
        "verifying: 6 of 1,000 chips (1%), 0.10/s, about 2 h 46 min left",
    ]


def test_a_log_gets_a_line_for_every_5_percent_if_that_is_earlier():
    progress, log, clock = reporter(20)
    with progress:
        work(progress, clock, 6, 20)
    lines = log.getvalue().splitlines()
    assert len(lines) == 19  # the last chip is told by the command's result
    assert lines[9] == "verifying: 10 of 20 chips (50%), 0.17/s, about 60 s left"


def test_work_of_a_few_seconds_and_quiet_work_write_nothing():
    progress, log, clock = reporter(4)
    with progress:
        work(progress, clock, 1, 4)
    assert log.getvalue() == ""
    progress, log, clock = reporter(4, quiet=True)
    with progress:
        work(progress, clock, 100, 4)
    assert log.getvalue() == ""


def test_a_terminal_shows_a_bar_and_removes_it_at_the_end():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with ProgressReporter("exporting", 2, unit="file", console=console) as progress:
        progress.advance(2)
    assert "exporting" in screen.getvalue()
    assert "2/2" in screen.getvalue()
    assert "files/s" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")  # the line is erased


def test_nothing_to_do_is_no_progress(capsys):
    assert list(track([], "exporting", 0)) == []
    assert list(track("ab", "exporting", 2)) == ["a", "b"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("rate", "text"), [(0, "0.00"), (0.254, "0.25"), (9.876, "9.88"), (12.54, "12.5"), (1340.4, "1,340")]
)
def test_a_rate_has_three_digits(rate, text):
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (45.4, "45 s"),
        (89, "89 s"),
        (90, "2 min"),
        (5340, "89 min"),
        (5400, "1 h 30 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_a_duration_is_said_as_people_do(seconds, text):
    assert format_duration(seconds) == text
