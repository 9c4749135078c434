"""`tim-eval publish`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from augment_store.cli.parser import add_location_arguments
from augment_store.io.files import check_free
from augment_store.publish.attribution import PublicationInfo
from augment_store.publish.hub import push
from eval.errors import EvaluationError
from eval.publish.recompute import check_numbers
from eval.publish.report import read_report
from finetune.run.manifest import RunManifest
from finetune.run.preflight import PathOverrides

EXAMPLES: Final = """
tim-eval publish runs/tim_lulc --report report --out published/tim_lulc --license Apache-2.0
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `publish`."""
    # not `run`, which is the name under which a parsed command line holds the command's own function
    parser.add_argument(
        "directory", type=Path, metavar="RUN", help="run directory; one of the report's candidates"
    )
    parser.add_argument(
        "--report", type=Path, required=True, metavar="DIR", help="folder that compare wrote its report to"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to make")
    parser.add_argument("--name", help="name of the model (default: the bundle's folder)")
    parser.add_argument(
        "--license", default="apache-2.0", help="license of the weights (default: apache-2.0)"
    )
    parser.add_argument(
        "--attribution",
        nargs="+",
        default=[],
        metavar="TEXT",
        help="who to credit for the chip set and its masks",
    )
    parser.add_argument(
        "--space",
        type=Path,
        metavar="DIR",
        help="also make the folder of a static Hugging Face Space that shows test chips, their maps and predictions",
    )
    parser.add_argument(
        "--push",
        metavar="REPO",
        help="upload to this Hugging Face repository, as owner/name; made private, needs --attribution",
    )
    add_location_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the bundle, and upload it where asked.

    Raises:
        AugmentStoreError: If run and report do not belong together, or the folder or upload fails.
    """
    if args.push and not args.attribution:
        raise EvaluationError(
            f"--push {args.push}: say with --attribution who to credit for the chips and masks"
        )
    report = read_report(args.report)
    table = check_numbers(args.report, report)
    manifest = RunManifest.read(args.directory)
    paths = PathOverrides(args.chips, args.store, args.layout)
    paths.check()
    # before the slow imports and the loading, though the folder is checked again when it is made
    check_free(args.out)
    if args.space is not None:
        check_free(args.space)
        _check_apart(args.out, args.space)
    from eval.publish.folder import publish  # torch and TerraTorch are imported from here on
    from eval.publish.model_card import claim

    imprint = PublicationInfo(args.name or args.out.name, args.license, tuple(args.attribution))
    publish(args.directory, manifest, report, table, args.out, paths=paths, imprint=imprint, space=args.space)
    sys.stdout.write(f"{args.out}: {claim(report)}\n")
    if args.space is not None:
        sys.stdout.write(
            f"{args.space}: look at index.html; hf upload OWNER/NAME {args.space} --repo-type space\n"
        )
    if args.push:
        sys.stdout.write(f"{push(args.out, args.push, 'model')}\n")
    return 0


def _check_apart(out: Path, space: Path) -> None:
    """Make sure that neither folder lies within the other, as each is made whole.

    Raises:
        EvaluationError: Naming both.
    """
    bundle, page = out.resolve(), space.resolve()
    if bundle.is_relative_to(page) or page.is_relative_to(bundle):
        raise EvaluationError(
            f"--space {space}: the same folder as --out {out}, or one within the other; name another"
        )
