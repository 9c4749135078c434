"""Command line of the store and of what it is made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from augment_store.cli import cut as cut_command
from augment_store.cli import export as export_command
from augment_store.cli import inspect as inspect_command
from augment_store.cli import layouts as layouts_command
from augment_store.cli import publish as publish_command
from augment_store.cli.info import _info, _info_arguments
from augment_store.cli.parser import (
    Command,
    add_commands,
    new_parser,
    run_guarded,
)
from augment_store.cli.verify import _verify, _verify_arguments
from augment_store.utils.log_filters import UNPLACED, filter_warnings

DESCRIPTION: Final = """\
An augment store holds what TerraMind generated for each chip: tokens, maps, confidence and where they came from, in
one Zarr folder. These commands look at a store, check, export and publish it, and prepare the chips it is made from."""


EXAMPLES: Final = """
python -m augment_store info stores/lulc
python -m augment_store verify stores/lulc --chips data/nyc
python -m augment_store inspect stores/lulc --chips data/nyc --html maps.html
python -m augment_store export stores/lulc --format cog --out maps
python -m augment_store publish stores/lulc --out published/nyc-lulc --license CC-BY-4.0
python -m augment_store layouts
python -m augment_store cut S2L2A=scene_s2.tif S1RTC=scene_s1.tif --out chips
"""


COMMANDS: Final = {
    "info": Command(
        "what a store holds, and which spec and commands made it",
        _info_arguments,
        _info,
        "python -m augment_store info stores/lulc\npython -m augment_store info stores/lulc --json",
    ),
    "verify": Command(
        "whether a store can be trusted; exit 1 if not",
        _verify_arguments,
        _verify,
        "python -m augment_store verify stores/lulc --chips data/nyc\n"
        "python -m augment_store verify stores/lulc --repair",
    ),
    "inspect": Command(
        inspect_command.SUMMARY,
        inspect_command.add_arguments,
        inspect_command.run,
        "python -m augment_store inspect stores/lulc --png sheet.png\n"
        "python -m augment_store inspect stores/lulc --chips data/nyc --worst 20 --html maps.html",
    ),
    "export": Command(
        export_command.SUMMARY,
        export_command.add_arguments,
        export_command.run,
        "python -m augment_store export stores/lulc --format cog --mosaic --out maps\n"
        "python -m augment_store export stores/lulc --format geotiff --ids nyc_r000c001 --out maps",
    ),
    "publish": Command(
        publish_command.SUMMARY, publish_command.add_arguments, publish_command.run, publish_command.EXAMPLES
    ),
    "layouts": Command(
        layouts_command.SUMMARY, layouts_command.add_arguments, layouts_command.run, layouts_command.EXAMPLES
    ),
    "cut": Command(cut_command.SUMMARY, cut_command.add_arguments, cut_command.run, cut_command.EXAMPLES),
}


def main(arguments: Sequence[str]) -> int:
    """Entry point of `python -m augment_store`; returns the exit status."""
    parser = new_parser("augment_store", DESCRIPTION, EXAMPLES)
    add_commands(parser, COMMANDS)
    parsed = parser.parse_args(arguments)
    filter_warnings([UNPLACED])
    return run_guarded(lambda: COMMANDS[parsed.command].run(parsed))
