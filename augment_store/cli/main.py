"""Command line of the store and of what it is made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from augment_store.cli.parser import Command, run_command
from augment_store.utils.log_filters import UNPLACED, filter_warnings

DESCRIPTION: Final = """\
An augment store holds what TerraMind generated for each chip: tokens, maps, confidence and where they came from, in
one Zarr folder. These commands look at a store, check, export and publish it, and prepare the chips it is made from."""


EXAMPLES: Final = """
tim-store info stores/lulc
tim-store verify stores/lulc --chips data/nyc
tim-store inspect stores/lulc --chips data/nyc --html maps.html
tim-store export stores/lulc --format cog --out maps
tim-store publish stores/lulc --out published/nyc-lulc --license CC-BY-4.0
tim-store init data/mine
tim-store layouts
tim-store cut S2L2A=scene_s2.tif S1RTC=scene_s1.tif --out chips
"""


COMMANDS: Final = {
    "init": Command(
        "augment_store.cli.init",
        "look at a folder of chips, write the layout, legend, fine-tune and study it needs, print the next commands",
    ),
    "info": Command("augment_store.cli.info", "show what a store holds, and which spec and commands made it"),
    "verify": Command("augment_store.cli.verify", "check whether a store can be trusted; exit 1 if not"),
    "inspect": Command(
        "augment_store.cli.inspect",
        "look at the generated maps: a summary, a contact sheet, a page for the browser",
    ),
    "export": Command(
        "augment_store.cli.export",
        "write the generated maps as GeoTIFF, COG or GeoZarr, or a table of their footprints",
    ),
    "publish": Command(
        "augment_store.cli.publish", "make a store a folder for others: data, STAC collection, dataset card"
    ),
    "layouts": Command(
        "augment_store.cli.layouts",
        "layouts of chip sets on disk: list them, show one, check one against a folder",
    ),
    "legends": Command("augment_store.cli.legends", "legend tables that ship: list them, show one"),
    "configs": Command("augment_store.cli.configs", "fine-tunes and studies that ship: list them, show one"),
    "cut": Command("augment_store.cli.cut", "cut GeoTIFFs or COGs of any size into a chip set"),
}


def main(arguments: Sequence[str]) -> int:
    """Run `tim-store` and return its exit status."""
    # chips need no georeference, and rasterio would say so for every file
    filter_warnings([UNPLACED])
    return run_command("augment_store", DESCRIPTION, EXAMPLES, COMMANDS, arguments)
