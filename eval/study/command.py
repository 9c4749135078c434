"""`python -m eval study`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from eval.study.config import Study

SUMMARY: Final = "arms × seeds with their controls: runs what is missing, from generation to report"
CONFIGS: Final = Path(__file__).with_name("configs")
"""Folder of the studies that ship with the package."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `study`."""
    shipped = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
    parser.add_argument(
        "--config", required=True, metavar="YAML", help=f"a file, or one that ships: {shipped}"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what the design can find and the commands that are missing",
    )


def run(args: argparse.Namespace) -> int:
    """Runs or prints what is missing of a study.

    Raises:
        StudyError: If the YAML cannot be, or a step fails.
    """
    from eval.study.config import Study
    from eval.study.plan import plan
    from eval.study.runner import command_line, forget, missing, run_step

    study = Study.load(find_study(args.config))
    steps = plan(study)
    left = missing(study.out, steps)
    if not args.dry_run:
        forget(study.out, left)
    sys.stdout.write(f"# {len(steps) - len(left)} of {len(steps)} steps are done\n")
    for step in left:
        sys.stdout.write(f"{command_line(step)}\n")
        sys.stdout.flush()
        if not args.dry_run:
            run_step(study.out, step)
    for name in study.comparisons:
        sys.stdout.write(f"# {study.out / 'reports' / name / 'report.html'}\n")
    for line in _power(study) if args.dry_run else _together(study):
        sys.stdout.write(f"{line}\n")
    return 0


def _power(study: Study) -> Iterator[str]:
    """What the design can find; the chips must be there to count their scenes."""
    from augment_store.chips import ChipSet
    from augment_store.layouts import find_layout
    from augment_store.scenes import scenes_by_pattern
    from eval.study.power import power_lines

    yield f"# {len(study.comparisons)} comparisons declared, {len(study.seeds)} seeds an arm"
    if not study.chips.is_dir():
        yield f"# {study.chips}: not there yet, so its test scenes are not counted and no power is given"
        return
    test = ChipSet(study.chips, find_layout(study.chips)).splits.get("test", ())
    yield from power_lines(len({*scenes_by_pattern(test).values()}), len(study.seeds))


def _together(study: Study) -> Iterator[str]:
    """What all comparisons say together, by their reports."""
    from eval.publish.folder import read_report
    from eval.study.power import family_lines

    reports = {name: read_report(study.out / "reports" / name) for name in study.comparisons}
    yield from family_lines({name: report["difference"]["p_value"] for name, report in reports.items()})


def find_study(name: str) -> Path:
    """The file of that name, or the study of that name that ships.

    Raises:
        StudyError: If there is neither.
    """
    from eval.errors import StudyError

    shipped = CONFIGS / f"{name.removesuffix('.yaml')}.yaml"
    if Path(name).is_file():
        return Path(name)
    if Path(name).parent == Path() and shipped.is_file():
        return shipped
    raise StudyError(f"--config {name}: no such file, and no study of that name ships")
