"""`tim-store legends`."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from augment_store.cli.shipped_yaml import add_actions, show_yaml, yaml_files
from augment_store.modalities.legend_table import SHIPPED, LegendTable
from augment_store.utils.text import join_first

EXAMPLES: Final = """
tim-store legends
tim-store legends show worldcover > my_legend.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `legends`."""
    add_actions(parser, "legend table")


def run(args: argparse.Namespace) -> int:
    """List or show legend tables; return the exit status.

    Raises:
        AugmentStoreError: If there is no such table.
    """
    files = yaml_files(SHIPPED)
    if args.action == "show":
        return show_yaml(args.name, files, "legend table")
    for name, path in files.items():
        table = LegendTable.load(path)
        codes = f" (from codes {join_first(map(str, sorted(table.codes)), 6)})" if table.codes else ""
        names = ", ".join(f"{entry.value} {entry.name}" for entry in table.classes)
        sys.stdout.write(f"{name}: {names}{codes}\n")
    sys.stdout.write("Another: tim-store legends show NAME prints a file to edit; --legend takes it\n")
    return 0
