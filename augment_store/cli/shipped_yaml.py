"""Subcommands that list and print YAML files that come with the package, to copy and edit."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from augment_store.errors import ChipSetError


def add_actions(
    parser: argparse.ArgumentParser, noun: str
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """Add the actions `list`, which is what is done without one, and `show NAME`; return all actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", help=f"list every {noun} that ships (default)")
    show = actions.add_parser("show", help=f"print a {noun}'s YAML file, to copy and edit")
    show.add_argument("name", metavar="NAME", help=f"{noun} that comes with the package")
    return actions


def show_yaml(name: str, shipped: Mapping[str, Path], noun: str) -> int:
    """Print the file of that name.

    Args:
        name: What the user named; only a name that is known, as any other could lead out of the package.
        shipped: Files by name.
        noun: What they are, for the message.

    Raises:
        ChipSetError: If there is none.
    """
    if name not in shipped:
        raise ChipSetError(f"no {noun} {name!r} comes with the package; expected one of {', '.join(shipped)}")
    sys.stdout.write(shipped[name].read_text(encoding="utf-8"))
    return 0


def yaml_files(*folders: Path) -> dict[str, Path]:
    """Return the YAML files in folders, by name."""
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}
