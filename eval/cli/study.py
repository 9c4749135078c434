"""`tim-eval study`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from rich.console import Console

from augment_store.cli.parser import positive
from augment_store.io.lock import file_lock
from augment_store.utils.text import shipped_or_given, utc_now
from eval.cli.main import COMMANDS
from eval.compare.declaration import declare
from eval.compare.inference import nadeau_bengio_factor
from eval.compare.planner import Spread, spread_of
from eval.errors import EvaluationError
from eval.publish.report import read_report
from eval.study.checks import check_study_steps, costs
from eval.study.config import Study
from eval.study.declared import declaration_of
from eval.study.executors import LocalExecutor, SubmititExecutor
from eval.study.folds import write_folds
from eval.study.jobs import Executor, jobs_of, run_jobs
from eval.study.plan import Step, plan, unequal_recipes, unequal_starts
from eval.study.power import ASSUMED, describe_power
from eval.study.progress import StudyProgress
from eval.study.runner import forget, missing_steps, recorded_seconds, step_command
from finetune.options import DEMO_CONFIGS

EXAMPLES: Final = """
tim-eval study --config study.yaml --dry-run
tim-eval study --config study.yaml --devices 0,1,2,3
tim-eval study --config study.yaml --executor slurm --slurm slurm_partition=gpu gpus_per_node=1 timeout_min=240
"""
CONFIGS: Final = Path(str(resources.files("eval.study") / "configs"))
"""Folder of the studies that ship with the package."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `study`."""
    parser.add_argument(
        "--config", required=True, metavar="YAML", help=f"a file, or the name of a study; {_shipped()}"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check and print the commands still to run, what they take, and what the design can resolve, and stop",
    )
    _add_executor_arguments(parser)
    parser.add_argument(
        "--from",
        dest="report",
        type=Path,
        metavar="REPORT",
        help="with --dry-run: a report of compare, whose spread of scenes and seeds is taken for this study",
    )
    spreads = (("scene", "scenes", "2"), ("seed", "seeds, paired", "0.64, the demo's"))
    for name, what, default in spreads:
        parser.add_argument(
            f"--{name}-spread",
            type=_as_share,
            metavar="PP",
            help=f"with --dry-run: assumed SD of the difference in mIoU over {what}, in points (default: {default})",
        )


def _add_executor_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where the steps run")
    group.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="steps at a time, of those that do not wait for one another (default: one for each of --devices, else 1)",
    )
    group.add_argument(
        "--devices",
        type=_devices,
        metavar="0,1,…",
        help="GPUs, one for each step at a time, as CUDA_VISIBLE_DEVICES names them (default: each step sees all)",
    )
    group.add_argument(
        "--executor",
        choices=("process", "slurm"),
        default="process",
        help="processes of this machine, or jobs submitted to SLURM (default: process)",
    )
    group.add_argument(
        "--slurm",
        nargs="+",
        default=[],
        type=_parameter,
        metavar="KEY=VALUE",
        help="parameters of each SLURM job, as submitit's AutoExecutor names them",
    )


def run(args: argparse.Namespace) -> int:
    """Run or print what is missing from a study.

    Raises:
        EvaluationError: If the YAML or an option is invalid, or a step fails.
    """
    path = shipped_or_given(args.config, CONFIGS, DEMO_CONFIGS)
    if path is None:
        raise EvaluationError(
            f"--config {args.config}: no such file, and no study of that name ships; {_shipped()}"
        )
    study = Study.load(path)
    devices = _places(args)
    if args.dry_run:
        return _show_plan(study, args)
    return make_study(study, _executor(args, study.out, len(devices)), devices)


def make_study(study: Study, executor: Executor, devices: Sequence[str]) -> int:
    """Run what is missing from a study.

    Args:
        study: The study.
        executor: Where its steps run.
        devices: Device of each step at a time.

    Raises:
        EvaluationError: If a step fails.
        StoreBusyError: If another process makes it.
    """
    with file_lock(study.out):
        return _make(study, executor, devices)


def _make(study: Study, executor: Executor, devices: Sequence[str]) -> int:
    steps, left, took = _started(study)
    forget(study.out, left)  # at once: a job of an earlier start may record its step from here on
    jobs = jobs_of(left)
    executor.find_running(jobs)
    declare(study.out, declaration_of(study, utc_now()))  # before the first step, so before any result
    write_folds(study)
    console = Console() if len(devices) > 1 else None
    progress = StudyProgress(left, len(steps), len(devices), took, console=console)
    with progress.drawn():
        run_jobs(study.out, jobs, executor, devices, progress)
    return _finished(study)


def _places(args: argparse.Namespace) -> Sequence[str]:
    """Return the device of each step at a time; empty names where there is nothing to choose."""
    if args.executor == "slurm" and args.devices:
        raise EvaluationError("--devices: SLURM deals out its own; ask for them with --slurm gpus_per_node=1")
    if args.executor == "process" and args.slurm:
        raise EvaluationError("--slurm: parameters of jobs; give --executor slurm as well")
    devices: list[str] = args.devices or [""] * (args.jobs or 1)
    if args.jobs is not None and args.jobs > len(devices):
        raise EvaluationError(
            f"--jobs {args.jobs}: there are {len(devices)} --devices; each step needs one of its own"
        )
    return devices[: args.jobs]


def _executor(args: argparse.Namespace, out: Path, places: int) -> Executor:
    if args.executor == "slurm":
        return SubmititExecutor(out, dict(args.slurm))
    return LocalExecutor(out, places)


def _show_plan(study: Study, args: argparse.Namespace) -> int:
    """Print what is missing from a study, and what its design can resolve."""
    _, left, _ = _started(study)
    sys.stdout.writelines(f"{step_command(step)}\n" for step in left)
    given = {"scenes": args.scene_spread, "seeds": args.seed_spread}
    # without what was not given, so that defaults are in one place
    spread = dataclasses.replace(
        _spread(args), **{key: value for key, value in given.items() if value is not None}
    )
    sys.stdout.writelines(f"# {line}\n" for line in describe_power(study, spread))
    return _finished(study)


def _spread(args: argparse.Namespace) -> Spread:
    """Return the spread that a report found, or the one assumed where none is named."""
    if args.report is None:
        return ASSUMED
    report = read_report(args.report)
    found = spread_of(report.difference.parts)
    if found is None:
        raise EvaluationError(
            f"--from {args.report}: its runs are not paired by seed, or there is one; give --seed-spread"
        )
    # without what a cross-validation adds: the plan adds it, if this study is one
    return dataclasses.replace(
        found, scenes=found.scenes / nadeau_bengio_factor(report.statistics.folds) ** 0.5
    )


def _started(study: Study) -> tuple[Sequence[Step], Sequence[Step], Mapping[str, Sequence[float]]]:
    """Check a study, and print what speaks against its design and what it takes.

    Returns:
        Its steps, those that are missing, and seconds of the others by kind.
    """
    concerns = [*unequal_starts(study), *unequal_recipes(study)]
    steps = plan(study)
    left = missing_steps(study.out, steps)
    check_study_steps(study, left, COMMANDS)
    sys.stdout.writelines(f"# {line}\n" for line in concerns)
    sys.stdout.write(f"# {len(steps) - len(left)} of {len(steps)} steps are done\n")
    took = recorded_seconds(study.out, [step for step in steps if step not in left])
    if left:
        sys.stdout.writelines(f"# {line}\n" for line in costs(study, steps, left, took))
    sys.stdout.flush()  # before the jobs, which are other processes with the same output
    return steps, left, took


def _finished(study: Study) -> int:
    for name in study.comparisons:
        sys.stdout.write(f"# {study.out / 'reports' / name / 'report.html'}\n")
    return 0


def _shipped() -> str:
    return f"these ship: {', '.join(sorted(path.stem for path in CONFIGS.glob('*.yaml')))}, demo_study, demo_controls"


def _as_share(text: str) -> float:
    """Return a spread in percentage points, as a share."""
    number = float(text)
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text}; expected points from 0 to 100")
    return number / 100


def _devices(text: str) -> list[str]:
    """Parse a list of GPUs."""
    names = text.split(",")
    if "" in names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text}; expected GPUs by commas, each once, such as 0,1")
    return names


def _parameter(text: str) -> tuple[str, str | int]:
    """Parse a parameter of a job; whole numbers become numbers."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text}; expected KEY=VALUE, such as timeout_min=240")
    return name, int(value) if value.isdigit() else value
