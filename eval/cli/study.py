"""`python -m eval study`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from augment_store.io.lock import file_lock
from augment_store.utils.text import shipped_or_given, utc_now
from eval.compare.declaration import declare
from eval.errors import StudyError
from eval.study.config import Study
from eval.study.declared import declaration_of
from eval.study.plan import Step, plan, unequal_recipes, unequal_starts
from eval.study.power import StandardDeviations, describe
from eval.study.runner import command_line, forget, missing, run_step

EXAMPLES: Final = """
python -m eval study --config study.yaml
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
        help="print the commands still to run and what the design can resolve, and stop",
    )
    spreads = (("scene", "scenes", "2"), ("seed", "seeds, paired", "0.64, the demo's"))
    for name, what, default in spreads:
        parser.add_argument(
            f"--{name}-spread",
            type=_points,
            metavar="PP",
            help=f"with --dry-run: assumed SD of the difference in mIoU over {what}, in points (default: {default})",
        )


def run(args: argparse.Namespace) -> int:
    """Run or print what is missing from a study.

    Raises:
        StudyError: If the YAML is invalid, or a step fails.
    """
    path = shipped_or_given(args.config, CONFIGS)
    if path is None:
        raise StudyError(
            f"--config {args.config}: no such file, and no study of that name ships; {_shipped()}"
        )
    study = Study.load(path)
    if args.dry_run:
        return _show(study, args)
    with file_lock(study.out):
        return _make(study)


def _make(study: Study) -> int:
    """Run what is missing from a study."""
    left = _started(study)
    declare(study.out, declaration_of(study, utc_now()))  # before the first step, so before any result
    forget(study.out, left)
    for step in left:
        sys.stdout.write(f"{command_line(step)}\n")
        # the step is another process with the same output: unflushed, this line would come after its own
        sys.stdout.flush()
        run_step(study.out, step)
    return _finished(study)


def _show(study: Study, args: argparse.Namespace) -> int:
    """Print what is missing from a study, and what its design can resolve."""
    left = _started(study)
    sys.stdout.writelines(f"{command_line(step)}\n" for step in left)
    given = {"scenes": args.scene_spread, "seeds": args.seed_spread}
    # without what was not given, so that defaults are in one place
    spread = StandardDeviations(**{key: value for key, value in given.items() if value is not None})
    sys.stdout.writelines(f"# {line}\n" for line in describe(study, spread))
    return _finished(study)


def _started(study: Study) -> Sequence[Step]:
    """Print what speaks against a study's design; return the steps that are missing."""
    concerns = [*unequal_starts(study), *unequal_recipes(study)]
    steps = plan(study)
    left = missing(study.out, steps)
    sys.stdout.writelines(f"# {line}\n" for line in concerns)
    sys.stdout.write(f"# {len(steps) - len(left)} of {len(steps)} steps are done\n")
    return left


def _finished(study: Study) -> int:
    for name in study.comparisons:
        sys.stdout.write(f"# {study.out / 'reports' / name / 'report.html'}\n")
    return 0


def _shipped() -> str:
    return f"these ship: {', '.join(sorted(path.stem for path in CONFIGS.glob('*.yaml')))}"


def _points(text: str) -> float:
    """Return a spread in percentage points, as a share."""
    number = float(text)
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text}; expected points from 0 to 100")
    return number / 100
