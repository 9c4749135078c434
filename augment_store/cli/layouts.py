"""`tim-store layouts`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layout_check import check_chips
from augment_store.chips.layouts import LAYOUT_FILES, SHIPPED, shipped_layout
from augment_store.cli.shipped_yaml import add_actions, show_yaml, yaml_files
from augment_store.io.files import printable
from augment_store.io.remote import as_path
from augment_store.utils.text import pluralize

EXAMPLES: Final = """
tim-store layouts
tim-store layouts show folders > my_layout.yaml
tim-store layouts check my_layout.yaml --chips tiles
tim-store layouts check sen1floods11 --chips sen1floods11/v1.1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `layouts`."""
    actions = add_actions(parser, "layout")
    check = actions.add_parser(
        "check", allow_abbrev=False, help="say what a layout finds in a folder; exit 1 on a problem"
    )
    check.add_argument("layout", metavar="NAME|FILE", help="layout by name, or a YAML file")
    check.add_argument(
        "--chips", type=as_path, required=True, metavar="DIR", help="root folder of the chip set"
    )


def run(args: argparse.Namespace) -> int:
    """List, show or check layouts; return the exit status.

    Raises:
        AugmentStoreError: If there is no such layout, or no chip of it in the folder.
    """
    if args.action == "show":
        return show_yaml(args.name, yaml_files(LAYOUT_FILES), "layout")
    if args.action == "check":
        return _check(args.layout, args.chips)
    return _list()


def _list() -> int:
    for layout in map(shipped_layout, SHIPPED):
        sys.stdout.write(f"{layout.name}: {layout.description}\n")
        data = "" if layout.data[0] == "." else f"{layout.data[0]}/"
        inside = {name: image.files for name, image in layout.images.items()} | {"mask": layout.mask}
        # a layout without masks has no pattern for them
        files = {name: f"{data}{patterns[0]}" for name, patterns in inside.items() if patterns}
        files |= {split: paths[0] for split, paths in layout.splits.items()}
        sys.stdout.writelines(f"  {name:6} {file}\n" for name, file in files.items())
    sys.stdout.write("Another: tim-store layouts show NAME prints a file to edit; --layout takes it\n")
    return 0


def _check(layout: str, root: Path) -> int:
    problems = 0
    for found in check_chips(ChipSet.open(root, layout)):
        problems += found.problem
        mark = "problem: " if found.problem else ""
        sys.stdout.write(f"{found.subject:8} {mark}{printable(found.text)}\n")
    told = pluralize(problems, "problem") if problems else "no problem"
    sys.stdout.write(f"{root}: {told} with layout {layout}\n")
    return 1 if problems else 0
