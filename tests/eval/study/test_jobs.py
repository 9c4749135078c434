"""Jobs side by side: which start when and where, what a failure and an interruption do, and what is told of them."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from eval.cli.main import main
from eval.errors import EvaluationError
from eval.study.jobs import Job, jobs_of, run_jobs
from eval.study.plan import Step
from eval.study.progress import StudyProgress, last_epoch


def step(name, *after, kind="score", costly=False, checkpoint=None):
    product = Path(name)
    return Step(name, ("eval", "score", name), product, after, costly, checkpoint, f"{kind} {name}")


GENERATE = step("g", kind="generate", costly=True)
FITS = [
    step(f"fit_{n}", *after, kind="fit", costly=True, checkpoint=Path("c"))
    for n, after in ((1, "g"), (2, ""))
]
SCORES = [step(f"score_{n}", f"fit_{n}") for n in (1, 2)]
COMPARE = step("compare", "score_1", "score_2", kind="compare")


class Handle:
    """A job that ends when the test says with which status."""

    log = None

    def __init__(self, job, device, told):
        self.job, self.device, self.told, self.status = job, device, told, None

    def poll(self):
        return self.status

    def interrupt(self):
        self.told.append(f"interrupt {self.job.name}")

    def join(self):
        self.told.append(f"join {self.job.name}")


class Script:
    """An executor that does at each pause what the test wrote down: ends jobs, or raises."""

    def __init__(self, *acts):
        self.acts, self.started, self.running, self.told = list(acts), [], {}, []

    def start(self, job, device):
        self.running[job.name] = handle = Handle(job, device, self.told)
        self.started.append((job.name, device))
        return handle

    def close(self):
        """Nothing waits."""

    def pause(self):
        self.told.append(sorted(self.running))
        for name, status in self.acts.pop(0).items():
            if status == "interrupt":
                raise KeyboardInterrupt
            self.running.pop(name).status = status


@pytest.fixture
def silent():
    return SimpleNamespace(started=lambda *_: None, finished=lambda *_: None, stopped=lambda *_: None)


def test_the_score_of_a_run_shares_the_process_of_its_training():
    alone = step("zero", "g", kind="zero-shot")
    found = jobs_of([GENERATE, *FITS, *SCORES, alone, COMPARE])
    assert [[entry.name for entry in job.steps] for job in found] == [
        ["g"],
        ["fit_1", "score_1"],
        ["fit_2", "score_2"],
        ["zero"],
        ["compare"],
    ]
    assert found[1].after == {"g"}
    # a training that is done leaves its score to a process of its own
    assert [job.name for job in jobs_of([SCORES[0], COMPARE])] == ["score_1", "compare"]


def test_independent_jobs_run_side_by_side_each_on_a_device(tmp_path, silent):
    script = Script({"fit_2": 0}, {"g": 0}, {"fit_1": 0}, {"compare": 0})
    run_jobs(tmp_path, jobs_of([GENERATE, *FITS, *SCORES, COMPARE]), script, ["3", "5"], silent)
    # fit_1 reads what g makes, so fit_2 goes first; the freed place is taken by what may start
    assert script.started == [("g", "3"), ("fit_2", "5"), ("fit_1", "3"), ("compare", "3")]
    assert script.told == [["fit_2", "g"], ["g"], ["fit_1"], ["compare"]]


def test_after_a_failure_what_runs_may_end_and_nothing_else_starts(tmp_path, silent):
    script = Script({"g": 3}, {"fit_2": 0})
    with pytest.raises(EvaluationError, match="step g ended with exit status 3: tim-eval score g"):
        run_jobs(tmp_path, jobs_of([GENERATE, *FITS, *SCORES, COMPARE]), script, ["", ""], silent)
    assert script.told == [["fit_2", "g"], ["fit_2"]]


@pytest.mark.parametrize("act", [{"g": -9}, {"g": "interrupt"}], ids=["killed", "interrupted"])
def test_a_job_that_ends_after_its_last_record_has_not_failed(tmp_path, capsys, act):
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "g.json").touch()
    script = Script({}, act)
    raises = pytest.raises(KeyboardInterrupt) if "interrupt" in act.values() else contextlib.nullcontext()
    with raises:
        run_jobs(tmp_path, jobs_of([GENERATE]), script, [""], StudyProgress([GENERATE], 1, 1, {}))
    assert "stopped after" not in capsys.readouterr().out


def test_an_interruption_asks_all_jobs_before_it_waits_for_one(tmp_path, silent):
    script = Script({"g": "interrupt"})
    with pytest.raises(KeyboardInterrupt):
        run_jobs(tmp_path, jobs_of([GENERATE, *FITS]), script, ["", ""], silent)
    assert script.told[1:] == ["interrupt g", "interrupt fit_2", "join g", "join fit_2"]


def test_time_left_by_hand(capsys):
    now = SimpleNamespace(time=0.0)
    steps = [GENERATE, *FITS, *SCORES, COMPARE]
    progress = StudyProgress(steps, 9, 2, {"score": [6.0]}, clock=lambda: now.time)
    first, second = Job((GENERATE,)), Job((FITS[1], SCORES[1]))
    progress.started(first, "0", None)
    progress.started(second, "1", None)
    now.time = 80.0
    progress.finished(FITS[1])  # no generation has ended yet, so nobody knows how long it takes
    now.time = 84.0
    progress.finished(SCORES[1])
    now.time = 85.0
    progress.finished(GENERATE)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    # left then: a fit of 80 s, a score of (6 + 4) / 2 = 5 s, and a comparison of unknown length, on two places
    assert told == [
        "[4/9] fit fit_2 … 80 s",
        "[5/9] score score_2 … 4 s",
        "[6/9] generate g … 85 s, about 42 s left",
    ]


def test_a_step_may_end_while_the_table_is_drawn():
    """The table has a thread of its own; here, the look at one step ends another."""
    acts = []

    class Watched(Step):
        @property
        def kind(self):
            if acts:
                acts.pop()()
            return "score"

    watched = Watched("w", ("eval", "score", "w"), Path("w"), title="score w")
    progress = StudyProgress([watched, FITS[1]], 2, 1, {"score": [2.0], "fit": [5.0]}, clock=lambda: 0.0)
    progress.started(Job((FITS[1],)), "", None)
    acts.append(lambda: progress.finished(FITS[1]))
    assert progress.seconds_left() == 7.0  # as it was when it was asked


def test_a_table_shows_device_and_epoch(tmp_path):
    log = tmp_path / "log"
    log.write_text("epoch 1 of 20: 3 s\nepoch 2 of 20: val/loss 1.0, 3 s\n")
    now = SimpleNamespace(time=0.0)
    progress = StudyProgress([FITS[0]], 3, 1, {"fit": [60.0]}, clock=lambda: now.time)
    progress.started(Job((FITS[0],)), "2", log)
    now.time = 20.0
    console = Console(width=100)
    with console.capture() as shown:
        console.print(progress.table())
    rows = [line.split() for line in shown.get().splitlines()]
    assert rows[1] == ["fit", "fit_1", "2", "2", "of", "20", "20", "s", "40", "s"]
    assert " ".join(rows[2]) == "2 of 3 steps are done, about 40 s left"
    assert last_epoch(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--devices", "0,0"], "expected GPUs by commas, each once"),
        (["--devices", "0,1", "--jobs", "3"], "there are 2 --devices; each step needs one of its own"),
        (["--executor", "slurm", "--devices", "0"], "SLURM deals out its own"),
        (["--slurm", "timeout_min=1"], "give --executor slurm as well"),
        (["--executor", "slurm", "--slurm", "timeout"], "expected KEY=VALUE"),
    ],
)
def test_options_that_contradict_each_other(words, message, capsys):
    try:
        status = main(["study", "--config", "nyc_study", "--dry-run", *words])
    except SystemExit as error:  # argparse's own
        status = error.code
    assert status == 2
    assert message in capsys.readouterr().err
