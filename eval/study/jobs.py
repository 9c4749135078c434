"""Running a study's steps side by side: what may start, where, and what happens if one fails or all are interrupted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eval.errors import EvaluationError
from eval.study.plan import Step
from eval.study.runner import is_recorded, step_command


@dataclass(frozen=True)
class Job:
    """Steps that one process runs one after another."""

    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """Return the name of the first step."""
        return self.steps[0].name

    @property
    def after(self) -> frozenset[str]:
        """Return the names of the steps of other jobs whose products it reads."""
        read = {name for step in self.steps for name in step.after}
        return frozenset(read - {step.name for step in self.steps})


class JobHandle(Protocol):
    """A job that was started."""

    @property
    def log(self) -> Path | None:
        """File that its output goes to; None if that is the study's own."""

    def poll(self) -> int | None:
        """Return its exit status; None while it runs."""

    def interrupt(self) -> None:
        """Ask it to end, and return at once."""

    def join(self) -> None:
        """Wait until it has ended after `interrupt`."""


class Executor(Protocol):
    """Where jobs run."""

    def find_running(self, jobs: Sequence[Job]) -> None:
        """Find the jobs of an earlier start that still run, before any is started: a conflict ends those that run."""

    def start(self, job: Job, device: str) -> JobHandle:
        """Start a job on a device; an empty name leaves the choice to the job."""

    def pause(self) -> None:
        """Wait a little before the jobs are polled again."""

    def close(self) -> None:
        """End what waits for further jobs."""


class JobProgress(Protocol):
    """Who is told how far a study is."""

    def started(self, job: Job, device: str, log: Path | None) -> None:
        """Tell that a job runs."""

    def finished(self, step: Step) -> None:
        """Tell that a step is done."""

    def stopped(self, job: Job) -> None:
        """Tell that a job failed or was interrupted."""


def jobs_of(steps: Sequence[Step]) -> tuple[Job, ...]:
    """Group the steps that are left: the score of a run goes with its training."""
    groups: dict[str, list[Step]] = {}
    for step in steps:
        first = groups.get(step.after[0]) if len(step.after) == 1 else None
        # only a training has a checkpoint to resume from; a zero-shot score must not wait in generation's place
        if first is not None and first[0].checkpoint is not None:
            first.append(step)
        else:
            groups[step.name] = [step]
    return tuple(Job(tuple(group)) for group in groups.values())


def run_jobs(
    out: Path, jobs: Sequence[Job], executor: Executor, devices: Sequence[str], progress: JobProgress
) -> None:
    """Run jobs, as many at a time as there are devices, each as soon as what it reads is there.

    If one fails, those that run may end, and no other starts. If this process is interrupted, so are they.

    Args:
        out: Folder of the study.
        jobs: Jobs in an order in which they could run one after another.
        executor: Where they run.
        devices: Device of each place; places may share one, or have no name.
        progress: Who is told.

    Raises:
        EvaluationError: Naming the steps that failed.
    """
    waiting, left = list(jobs), {step.name for job in jobs for step in job.steps}
    running: dict[int, tuple[Job, JobHandle]] = {}
    failed: list[str] = []
    try:
        while running or (waiting and not failed):
            for place in [] if failed else [n for n in range(len(devices)) if n not in running]:
                job = next((job for job in waiting if job.after.isdisjoint(left)), None)
                if job is None:
                    break
                waiting.remove(job)
                running[place] = job, executor.start(job, devices[place])
                progress.started(job, devices[place], running[place][1].log)
            executor.pause()
            for place, (job, handle) in list(running.items()):
                # the status before the records, which a job writes before it ends
                status = handle.poll()
                for step in job.steps:
                    if step.name in left and (status == 0 or is_recorded(out, step)):
                        left.remove(step.name)
                        progress.finished(step)
                if status is not None:
                    del running[place]
                unfinished = [step for step in job.steps if step.name in left]
                # killed after its last record, a process has done its work
                if status and unfinished:
                    progress.stopped(job)
                    failed.append(_failure(unfinished[0], status, handle.log))
    finally:
        _interrupt(list(running.values()), progress.stopped)
        executor.close()
    if failed:
        raise EvaluationError(
            "; ".join(failed) + ". Fix the cause and run the study again; what is done is kept"
        )


def _interrupt(running: Sequence[tuple[Job, JobHandle]], tell: Callable[[Job], None]) -> None:
    """End the jobs that run; all are asked before the first is waited for."""
    for _, handle in running:
        handle.interrupt()
    for job, handle in running:
        handle.join()
        tell(job)


def _failure(step: Step, status: int, log: Path | None) -> str:
    seen = "" if log is None else f" (its output is in {log})"
    return f"step {step.name} ended with exit status {status}{seen}: {step_command(step)}"
