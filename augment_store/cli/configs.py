"""`tim-store configs`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from augment_store.cli.shipped_yaml import add_actions, show_yaml, yaml_files

EXAMPLES: Final = """
tim-store configs
tim-store configs show demo > mine.yaml
"""

PACKAGES: Final = Path(__file__).parents[2]

FOLDERS: Final = tuple(
    PACKAGES / place for place in ("finetune/configs", "eval/study/configs", "demo/configs")
)
"""Folders of fine-tunes and studies in the packages above this one: files are read, and nothing is imported."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `configs`."""
    add_actions(parser, "fine-tune or study")


def run(args: argparse.Namespace) -> int:
    """List or show fine-tunes and studies; return the exit status.

    Raises:
        AugmentStoreError: If there is none of that name.
    """
    files = yaml_files(*FOLDERS)
    if args.action == "show":
        return show_yaml(args.name, files, "fine-tune or study")
    for name, path in files.items():
        # each begins with a comment that says what it is for
        about, _, _ = path.read_text(encoding="utf-8").removeprefix("# ").partition("\n")
        sys.stdout.write(f"{name}: {about}\n")
    sys.stdout.write("--config takes these names; tim-store configs show NAME prints a file to edit\n")
    return 0
