"""`python -m demo`, `tim-demo`: the whole chain on a procedural world, each step as the command a user would type."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from augment_store.cli.parser import new_parser, parse_whole, run_guarded
from augment_store.io.files import check_free
from demo.recipe import stages


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit status of the first command that fails, or 0."""
    examples = "tim-demo --out demo_quick --quick\ntim-demo --out demo_out"
    parser = new_parser("demo", __doc__, examples)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--quick", action="store_true", help="fewer scenes and epochs, to see how it works")
    parser.add_argument("--seed", type=int, default=0, help="seed for the world and every stage (default: 0)")
    parsed = parse_whole(parser, arguments)
    return run_guarded(lambda: _run_stages(parsed.out, parsed.seed, quick=parsed.quick))


def _run_stages(out: Path, seed: int, *, quick: bool) -> int:
    # an empty folder is fine; files in it could be taken for this run's
    check_free(out)
    console, started = Console(), time.monotonic()
    for stage in stages(out, seed, quick=quick):
        console.rule(stage.title, align="left")
        console.print(f"$ {stage.command}", style="bold", soft_wrap=True, highlight=False)
        status = stage.run()
        # every later command needs what the failed one should have made
        if status:
            return status
    console.rule("Done", align="left")
    console.print(f"{(time.monotonic() - started) / 60:.1f} minutes", highlight=False)
    for what, path in (("report", out / "report" / "report.html"), ("picture of the maps", out / "maps.png")):
        console.print(f"{what}: {path}", soft_wrap=True, highlight=False)
    return 0


def script() -> int:
    """Entry point of the console script."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(script())
