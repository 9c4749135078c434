"""Where a study's jobs run: processes of this machine, or jobs of a cluster's scheduler."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import ConfigDict

from augment_store.io.files import read_text, write_json
from augment_store.utils.text import single_line
from augment_store.utils.validation import STRICT, load_json, parse
from eval.errors import EvaluationError
from eval.study.config import CommandArgs
from eval.study.jobs import Job
from eval.study.plan import Step
from eval.study.worker import work_for, worker_command

if TYPE_CHECKING:
    import submitit

LOGS: Final = "logs"
"""Folder of a study for the output of jobs that run side by side."""

SUBMITTED: Final = "submitted"
"""Folder of a study with the scheduler's job of each step that was submitted."""

GRACE_SECONDS: Final = 60
"""Seconds that an interrupted job has to write what it needs to be resumed."""

TASKS: Final = ("tasks_per_node", "slurm_ntasks_per_node")
"""submitit's parameters of how many times a job runs its command."""


@dataclass
class LocalWorker:
    """A process of this machine, which imports TerraTorch once for all jobs that it runs one after another.

    Attributes:
        process: The process.
        ready: Pipe in which it writes a byte when it has done a job and waits for another.
        device: Its device; an empty name for all.
        waits: Whether it waits.
    """

    process: subprocess.Popen[bytes]
    ready: io.FileIO
    device: str
    waits: bool = False

    def poll(self) -> int | None:
        """Return its exit status, or 0 if it waits; None while it is at a job."""
        status = self.process.poll()
        if status is not None:
            self.close()
            self.ready.close()
            return status
        # looked at without waiting
        written, _, _ = select.select([self.ready], [], [], 0)
        if written and self.ready.read(1):
            self.waits = True
        return 0 if self.waits else None

    def take(self, work: str) -> None:
        """Let it run another job, by a line of `work_for`."""
        assert self.process.stdin is not None
        self.waits = False
        self.process.stdin.write(f"{work}\n".encode())
        self.process.stdin.flush()

    def close(self) -> None:
        """Close its standard input, which it takes for the end of its parent."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def join(self) -> None:
        """Wait until it has ended; kill it with all of its children if that takes too long."""
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.ready.close()


@dataclass(frozen=True)
class LocalJob:
    """A job of a process of this machine; see `JobHandle`."""

    worker: LocalWorker
    log: Path | None

    def poll(self) -> int | None:
        """Return its exit status; None while it runs."""
        return self.worker.poll()

    def interrupt(self) -> None:
        """Ask its process to end."""
        self.worker.close()

    def join(self) -> None:
        """Wait until its process has ended."""
        self.worker.join()


class LocalExecutor:
    """Runs jobs in processes of this machine, one for each place, which end with this one, however it ends.

    Args:
        out: Folder of the study.
        places: Jobs at a time; several write to a log each, and share the cores.
    """

    def __init__(self, out: Path, places: int) -> None:
        self._out = out
        self._logs = places > 1
        # as many threads as there are cores: in each of several jobs they would wait for one another
        self._threads = {"OMP_NUM_THREADS": str(max(1, _cores() // places))} if places > 1 else {}
        self._workers: list[LocalWorker] = []

    def find_running(self, jobs: Sequence[Job]) -> None:
        """Find none, as processes end with the study that started them."""

    def start(self, job: Job, device: str) -> LocalJob:
        """Start a job that sees one GPU, or all that this process sees if none is named."""
        log = self._out / LOGS / f"{job.name}.log" if self._logs else None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
        for worker in self._workers:
            if worker.waits and worker.device == device and worker.process.poll() is None:
                # it may have been killed since
                with contextlib.suppress(BrokenPipeError):
                    worker.take(work_for(self._out, job.steps, log))
                    return LocalJob(worker, log)
        self._workers.append(self._started(job, device, log))
        return LocalJob(self._workers[-1], log)

    def _started(self, job: Job, device: str, log: Path | None) -> LocalWorker:
        """Start a process with its first job."""
        # what the user has set stands
        environment = {**self._threads, **os.environ, **({"CUDA_VISIBLE_DEVICES": device} if device else {})}
        ready, written = os.pipe()
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, written)
            # what an interrupted start said stays
            output = None if log is None else stack.enter_context(log.open("ab"))
            # a session of its own: Ctrl-C reaches this process alone, which then ends its jobs in order
            process = subprocess.Popen(
                worker_command(work_for(self._out, job.steps, log, written)),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                pass_fds=(written,),
            )
        return LocalWorker(process, io.FileIO(ready), device)

    def pause(self) -> None:
        """Wait a little before the jobs are polled again."""
        time.sleep(0.2)

    def close(self) -> None:
        """End the processes that wait for further jobs."""
        for worker in self._workers:
            if worker.waits:
                worker.close()
                worker.join()


def _cores() -> int:
    """Return the number of cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class SubmittedJob:
    """A job of a cluster's scheduler; see `JobHandle`."""

    job: submitit.Job[int]

    @property
    def log(self) -> Path:
        """File of its standard error, to which commands write how far they are."""
        return Path(self.job.paths.stderr)

    def poll(self) -> int | None:
        """Return its exit status; None while it waits or runs."""
        from submitit.core.utils import FailedJobError, UncompletedJobError

        if not self.job.done():
            return None
        try:
            return self.job.result()
        except (FailedJobError, UncompletedJobError):  # the scheduler ended it, by a time limit for example
            return 1

    def interrupt(self) -> None:
        """Cancel it."""
        self.job.cancel(check=False)

    def join(self) -> None:
        """Wait until the scheduler, which kills a cancelled job that takes too long, has ended it."""
        for _ in range(0, GRACE_SECONDS, 2):
            if self.job.done(force_check=True):
                return
            time.sleep(2)


@dataclass(frozen=True)
class Submission:
    """A step that was submitted.

    Attributes:
        words: Its command, as `Step.words`.
        job: The scheduler's id of its job.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    words: CommandArgs
    job: str


class SubmititExecutor:
    """Submits jobs to a cluster by submitit; each records its own steps, so that it may outlive this process.

    A job that has outlived the study is waited for by the next start, instead of being submitted again.

    Args:
        out: Folder of the study, on a disk that all machines share.
        parameters: submitit's parameters, for example ``slurm_partition`` and ``timeout_min``.
        cluster: ``slurm``, or ``local`` for processes of this machine.

    Raises:
        EvaluationError: If submitit or the cluster is not there, or does not know a parameter.
    """

    def __init__(self, out: Path, parameters: Mapping[str, str | int], cluster: str = "slurm") -> None:
        try:
            import submitit
        except ImportError as error:
            raise EvaluationError(
                "--executor slurm needs submitit: pip install 'terramind-tim-store[slurm]'"
            ) from error
        self._out = out
        self._running: dict[str, submitit.Job[int]] = {}
        self._job_class = submitit.SlurmJob if cluster == "slurm" else submitit.LocalJob
        several = [f"{name}={parameters[name]}" for name in TASKS if parameters.get(name, 1) != 1]
        if several:
            raise EvaluationError(f"--slurm {several[0]}: a step is one task; leave it out")
        try:
            self._executor = submitit.AutoExecutor(out.resolve() / LOGS, cluster=cluster)
            self._executor.update_parameters(**parameters)
        except (RuntimeError, NameError, ValueError, TypeError, AssertionError) as error:
            raise EvaluationError(
                f"--executor {cluster}: {single_line(error)}; run it on a login node of the cluster, with "
                "parameters of submitit's AutoExecutor in --slurm"
            ) from error

    def find_running(self, jobs: Sequence[Job]) -> None:
        """Find the jobs of an earlier start that still run, which `start` then takes.

        Raises:
            EvaluationError: If one of them makes a step by another command, or nobody says whether it runs.
        """
        found = ((step.name, self._running_job(step)) for job in jobs for step in job.steps)
        self._running = {name: running for name, running in found if running is not None}

    def start(self, job: Job, device: str) -> SubmittedJob:
        """Submit a job, unless `find_running` found it; which device it gets is for the scheduler to say."""
        for step in job.steps:
            if step.name in self._running:
                return SubmittedJob(self._running[step.name])
        self._executor.update_parameters(name=job.name)
        command = worker_command(work_for(self._out, job.steps))
        submitted = self._executor.submit(subprocess.call, command)
        for step in job.steps:
            write_json(self._record(step), dataclasses.asdict(Submission(step.words, submitted.job_id)))
        return SubmittedJob(submitted)

    def _record(self, step: Step) -> Path:
        return self._out / SUBMITTED / f"{step.name}.json"

    def _running_job(self, step: Step) -> submitit.Job[int] | None:
        """Return the job of an earlier start that is at a step still."""
        record = self._record(step)
        if not record.is_file():
            return None
        try:
            submission = parse(Submission, load_json(read_text(record)))
        except ValueError as error:
            raise EvaluationError(
                f"{record}: cannot be read ({error}); remove it if no job runs the step"
            ) from error
        job: submitit.Job[int] = self._job_class(self._out.resolve() / LOGS, submission.job)
        if job.done(force_check=True):
            return None
        # so it is for a job that was just submitted too, and for all while the accounting does not answer
        if job.state.upper() == "UNKNOWN":
            raise EvaluationError(
                f"step {step.name}: sacct does not say whether job {submission.job} still makes it; run the study "
                f"again later, or remove {record} if squeue -j {submission.job} does not show the job"
            )
        if submission.words != step.words:
            raise EvaluationError(
                f"step {step.name}: job {submission.job} still makes it by another command; cancel the job, or wait "
                "for it to end"
            )
        return job

    def pause(self) -> None:
        """Wait a little before the jobs are polled again; submitit asks the scheduler less often than that."""
        time.sleep(1)

    def close(self) -> None:
        """Leave all as it is: each job has a process of its own."""
