"""`python -m tests.benchmarks [ROW…]`: the table of ratios, or some of its rows; `--list` names them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.benchmarks.table import find_rows, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 where a ratio is out of its bound."""
    rows = find_rows()
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"any of {', '.join(rows)} (default: all)")
    parser.add_argument(
        "--json",
        type=Path,
        default=Path("benchmarks.json"),
        metavar="FILE",
        help="where the table is written (default: benchmarks.json)",
    )
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parsed = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)  # a file has no width to keep to
    if parsed.list:
        for row in rows.values():
            console.print(f"{row.name}: {row.what} against {row.against} {row.bound}", soft_wrap=True)
        return 0
    unknown = [name for name in parsed.rows if name not in rows]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(rows)}")
    return 0 if run([rows[name] for name in parsed.rows or rows], parsed.json, console) else 1


if __name__ == "__main__":
    sys.exit(main())
