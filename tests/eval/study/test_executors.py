"""What jobs of this machine share, and jobs of a scheduler, which may outlive the study that submitted them."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from eval.cli import study
from eval.errors import EvaluationError
from eval.study import executors
from eval.study.executors import LocalExecutor, SubmititExecutor, SubmittedJob
from eval.study.jobs import Job
from eval.study.plan import Step

FIT = Step("fit", ("finetune", "fit"), Path("best.ckpt"))
SCORE = Step("score", ("eval", "score"), Path("score.json"), ("fit",))


@pytest.fixture
def submitted(tmp_path, monkeypatch):
    """What was submitted, each with its state; every executor made of it is another start of the study."""
    states = {}

    def open_job(folder, job_id):
        return SimpleNamespace(
            job_id=job_id,
            state=states[job_id],
            done=lambda force_check=False: states[job_id] == "COMPLETED",
        )

    def submit(*_):
        job_id = str(len(states))
        states[job_id] = "RUNNING"
        return open_job(None, job_id)

    def start(*steps):
        executor = SubmititExecutor(tmp_path, {}, "local")
        executor._executor = SimpleNamespace(update_parameters=lambda **_: None, submit=submit)
        executor._job_class = open_job
        jobs = [Job(steps)]
        executor.find_running(jobs)
        return executor.start(jobs[0], "").job.job_id

    return SimpleNamespace(states=states, start=start)


@pytest.mark.parametrize(
    ("places", "given", "threads"), [(1, None, None), (2, None, "3"), (16, None, "1"), (2, "5", "5")]
)
def test_jobs_side_by_side_share_the_cores(tmp_path, monkeypatch, places, given, threads):
    monkeypatch.setattr(executors, "_cores", lambda: 7)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    environments = []
    monkeypatch.setattr(executors.subprocess, "Popen", lambda *_, env, **__: environments.append(env))
    LocalExecutor(tmp_path, places).start(Job((FIT,)), "").worker.ready.close()
    assert [environment.get("OMP_NUM_THREADS") for environment in environments] == [threads]


def test_a_job_that_has_outlived_its_study_is_waited_for(submitted):
    assert submitted.start(FIT, SCORE) == "0"
    assert submitted.start(FIT, SCORE) == "0"
    # its first step done, the score alone is left
    assert submitted.start(SCORE) == "0"


def test_a_job_that_has_ended_is_submitted_again(submitted):
    submitted.start(FIT)
    submitted.states["0"] = "COMPLETED"
    assert submitted.start(FIT) == "1"
    assert submitted.start(FIT) == "1"


def test_a_job_of_which_nobody_says_whether_it_runs_is_not_submitted_twice(submitted):
    submitted.start(FIT)
    submitted.states["0"] = "UNKNOWN"
    with pytest.raises(
        EvaluationError, match=r"step fit: sacct does not say whether job 0 .* remove .*fit\.json"
    ):
        submitted.start(FIT)
    assert list(submitted.states) == ["0"]


def test_a_job_of_another_command_is_not_taken_for_the_step(submitted):
    submitted.start(FIT)
    other = Step("fit", ("finetune", "fit", "--smoke"), Path("best.ckpt"))
    with pytest.raises(EvaluationError, match="step fit: job 0 still makes it by another command"):
        submitted.start(other)


def test_a_cancelled_job_is_waited_for(monkeypatch):
    slept, ends = [], iter([False, False, True])
    monkeypatch.setattr(executors.time, "sleep", slept.append)
    SubmittedJob(SimpleNamespace(done=lambda force_check: next(ends))).join()
    assert slept == [2, 2]


def test_several_tasks_of_one_step_are_refused(tmp_path):
    """Each would run the whole step."""
    with pytest.raises(EvaluationError, match="--slurm tasks_per_node=4: a step is one task"):
        SubmititExecutor(tmp_path, {"tasks_per_node": 4})


def test_a_conflict_is_found_before_any_job_is_started(tmp_path, monkeypatch):
    """Found later, it would cancel the jobs that the study has taken over."""
    monkeypatch.chdir(tmp_path)
    asked = []

    def find_running(jobs):
        asked.extend(job.name for job in jobs)
        raise EvaluationError("step fit_b_1: job 7 still makes it by another command")

    monkeypatch.setattr(study, "_started", lambda _: ((FIT, SCORE), (FIT, SCORE), {}))
    with pytest.raises(EvaluationError, match="job 7"):
        # nothing else of an executor may be used
        study.make_study(SimpleNamespace(out=Path("out")), SimpleNamespace(find_running=find_running), [""])
    assert asked == ["fit", "score"]
    assert not list(Path("out").rglob("*.json"))
