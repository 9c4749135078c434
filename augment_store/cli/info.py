"""`tim-store info`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from augment_store.io.files import printable
from augment_store.io.remote import as_path
from augment_store.store.summary import summarize
from augment_store.store.writer import AugmentStore

EXAMPLES: Final = """
tim-store info stores/lulc
tim-store info stores/lulc --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `info`."""
    parser.add_argument("store", type=as_path, metavar="STORE", help="folder of the store, or its URL")
    parser.add_argument("--json", action="store_true", help="print plain JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Print what a store holds.

    Raises:
        AugmentStoreError: If it is not a store, or damaged.
    """
    store = AugmentStore.open(args.store)
    if args.json:
        sys.stdout.write(json.dumps(summarize(store), indent=1) + "\n")
    else:
        Console().print(render_info(store))
    return 0


def render_info(store: AugmentStore) -> RenderableType:
    """Render the summary as rich tables."""
    summary = summarize(store)
    spec = summary.pop("spec")
    audit, history = summary.pop("audit"), summary.pop("history")
    about = Table("store", "", box=None, title_justify="left")
    if summary["bytes"] is None:  # at a URL, where counting them would list every object
        del summary["bytes"]
    for key, value in summary.items():
        about.add_row(key, _cell(", ".join(map(str, value)) if isinstance(value, list) else value))
    made = Table("generation spec", "", box=None)
    for key, value in _spec_rows(spec):
        made.add_row(_cell(key), _cell(value))
    # an entry without a message is shown whole rather than left out
    accepted = [_cell(f"{_audit_subject(entry)}{entry.get('message', entry)}") for entry in audit]
    runs = [Text.assemble(("run ", "bold"), _cell(line)) for line in history]
    return Group(about, "", made, *accepted, *runs)


def _audit_subject(entry: dict[str, str]) -> str:
    """Return what a line of the input audit is about."""
    if entry.get("level") == "note":
        return f"{entry.get('modality', '')}: "
    return "accepted by the user despite the input audit: "


def _cell(value: object) -> Text:
    """Return a value of the store as text, in which nothing is markup or a control sequence."""
    return Text(printable(str(value)))


def _spec_rows(spec: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for key, value in spec.items():
        if key == "inputs":
            rows += [(f"input {e['name']}", f"unit {e['unit']}, offset {e['offset']:g}") for e in value]
        elif isinstance(value, dict):
            rows += [(f"{key}.{name}", str(entry)) for name, entry in value.items()]
        else:
            rows.append((key, str(value)))
    return rows
