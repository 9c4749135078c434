"""A study of two arms by its command line, on the demo's world, each job a process of its own: nothing stubbed."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from demo.world.command import main as write_world
from eval.errors import EvaluationError
from eval.study.executors import LocalExecutor, LocalWorker, SubmititExecutor
from eval.study.jobs import Job, run_jobs
from eval.study.plan import Step
from eval.study.runner import is_recorded
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

CONFIG = str(ROOT / "demo" / "configs" / "demo_s1.yaml")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    assert write_world(["--chips", str(folder / "chips"), "--train", "1", "--val", "1", "--test", "2"]) == 0
    plain = {
        "out": "out",
        "chips": "chips",
        "seeds": [1],
        "generate_arguments": ["--generator", "demo", "--accelerator", "cpu", "--top-k", "1"],
        "finetune_arguments": ["--trainer.max_epochs", "1"],
        "stores": {"lulc": {}},
        "arms": {"baseline": {"config": CONFIG}, "tim": {"config": CONFIG, "store": "lulc"}},
        "comparisons": {"main": {"baseline": "baseline", "candidate": "tim"}},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(plain))
    return folder


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "eval", "study", "--config", *words]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        # equal to the last bit whatever runs beside it
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )


def run(folder: Path, *words: str) -> str:
    started = start(folder, *words)
    out, err = started.communicate()
    assert started.returncode == 0, err
    return out


def workers(folder: Path) -> list[int]:
    """Returns the processes that work for a study of this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # a process that has ended, but is not yet waited for, has no command line
            if b"eval.study.worker" in (path / "cmdline").read_bytes() and (path / "cwd").resolve() == folder:
                found.append(int(path.name))
    return found


def wait_until(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("never came about")


@pytest.fixture(scope="module")
def told(study: Path) -> str:
    """What the study tells, one step at a time."""
    return run(study, "study.yaml")


@pytest.mark.nightly
def test_a_study_runs_from_generation_to_report_and_only_once(study, told):
    assert "[6/6] compare main … " in told
    [path] = study.glob("out/**/report.json")
    report = json.loads(path.read_text())
    assert report["verdict"]["claimed"] is False  # one seed is no evidence, whatever the number
    assert [len(report[arm]["runs"]) for arm in ("baseline", "candidate")] == [1, 1]
    made = path.stat().st_mtime_ns
    run(study, "study.yaml")
    assert path.stat().st_mtime_ns == made


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_a_killed_study_ends_its_jobs_and_resumes_to_the_report_of_one_step_at_a_time(study, told):
    plain = yaml.safe_load((study / "study.yaml").read_text())
    (study / "beside.yaml").write_text(yaml.safe_dump({**plain, "out": "beside"}))
    started = start(study, "beside.yaml", "--jobs", "2")
    wait_until((study / "beside/runs/baseline/seed_1/manifest.json").is_file)
    started.kill()  # SIGKILL: it cannot tell anyone
    started.communicate()
    wait_until(lambda: not workers(study))
    assert not (study / "beside/reports").exists()
    run(study, "beside.yaml", "--jobs", "2")
    one, other = (study / out / "reports/main/counts.csv" for out in ("out", "beside"))
    assert one.read_bytes() == other.read_bytes()


def test_a_job_that_has_ended_holds_no_pipe():
    process = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    reading, writing = os.pipe()
    os.close(writing)
    worker = LocalWorker(process, io.FileIO(reading), "")
    wait_until(lambda: worker.poll() is not None)
    assert worker.poll() == 0
    assert process.stdin.closed
    assert worker.ready.closed


def test_one_process_runs_several_jobs_and_ends_with_the_study(tmp_path, monkeypatch):
    """What is printed goes to the log of each, and its failure is told by its exit status."""
    monkeypatch.chdir(ROOT)
    executor, handles = LocalExecutor(tmp_path, 2), []
    for name in ("one", "two"):
        world = ("demo.world", "--chips", str(tmp_path / name), "--train", "1", "--val", "1", "--test", "1")
        product = tmp_path / name / "split/impactmesh_flood_test.txt"
        handles.append(executor.start(Job((Step(name, world, product),)), ""))
        wait_until(lambda: handles[-1].poll() is not None)
        assert handles[-1].poll() == 0
        assert is_recorded(tmp_path, Step(name, world, product))
        assert "chips of the procedural world" in (tmp_path / "logs" / f"{name}.log").read_text()
    assert handles[0].worker is handles[1].worker
    other = executor.start(Job((Step("three", ("demo.world", "--wrong"), tmp_path / "none"),)), "7")
    assert other.worker is not handles[0].worker  # of another device
    wait_until(lambda: other.poll() is not None)
    assert other.poll() == 2
    executor.close()
    assert handles[0].worker.process.returncode == -signal.SIGTERM


@pytest.mark.nightly
def test_a_file_called_like_a_stage_is_not_run_in_its_place_by_submitted_jobs_either(tmp_path, monkeypatch):
    """`python -m` looks into the working folder first; submitit's local executor stands for SLURM's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Path("eval.py").write_text("open('shadowed', 'w').close()")
    product = tmp_path / "chips/split/impactmesh_flood_test.txt"
    words = ("demo.world", "--chips", "chips", "--train", "1", "--val", "1", "--test", "1")
    world = Step("world", words, product)
    silent = SimpleNamespace(started=lambda *_: None, finished=print, stopped=print)
    run_jobs(Path("out"), [Job((world,))], SubmititExecutor(Path("out"), {}, "local"), [""], silent)
    assert is_recorded(Path("out"), world)
    assert product.is_file()
    assert not Path("shadowed").exists()
    with pytest.raises(EvaluationError, match=r"--executor local: .*partitoin"):
        SubmititExecutor(Path("out"), {"partitoin": "gpu"}, "local")
