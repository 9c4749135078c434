"""Map a scene, or the chips of a chip set, with one or more trained runs, into cloud-optimized GeoTIFFs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from augment_store.cli.parser import (
    add_layout_argument,
    add_quiet_argument,
    new_parser,
    parse_whole,
    positive,
    run_guarded,
)
from augment_store.store.history import command_line
from augment_store.utils.text import pluralize
from terramind_weights.catalog import HUB

EXAMPLES: Final = """
tim-predict runs/tim_1 --scene S2L2A=s2.tif S1RTC=s1.tif DEM=dem.tif --out map.tif
tim-predict runs/two_dates --scene S2L2A=may.tif S2L2A=june.tif DEM=dem.tif --out map.tif
tim-predict runs/tim_1 runs/tim_2 runs/tim_3 --chips data/new --out maps
tim-predict runs/radar_1 runs/radar_2 --scene S1RTC=s3://bucket/s1.tif --out map.tif --layers class agreement
"""

LAYER_NAMES: Final = "class, probability, entropy, agreement, generated"


def main(arguments: Sequence[str]) -> int:
    """Run `tim-predict` and return its exit status."""
    return run_guarded(lambda: _run(arguments), command_line("predict", arguments))


def predict_parser() -> argparse.ArgumentParser:
    """Return the parser of `tim-predict`."""
    parser = new_parser("predict", __doc__ or "", EXAMPLES)
    _add_arguments(parser)
    return parser


def _run(arguments: Sequence[str]) -> int:
    parser = predict_parser()
    parsed = parse_whole(parser, arguments)
    scene = _scene(parser, parsed.scene or [])
    from predict.api import predict
    from predict.options import CLASS, PredictOptions  # NumPy and rasterio are imported from here on

    made = predict(
        PredictOptions(
            runs=parsed.runs,
            out=parsed.out,
            scene=scene,
            chips=parsed.chips,
            layout=parsed.layout,
            layers=parsed.layers or (CLASS,),
            samples=parsed.samples,
            store=parsed.store,
            weights=parsed.weights or HUB,
            keep=parsed.keep,
            window=parsed.window,
            bounds=None if parsed.bounds is None else tuple(parsed.bounds),
            mask=parsed.mask,
            devices=parsed.devices,
            accept_audit=parsed.accept_audit,
            quiet=parsed.quiet,
        )
    )
    layers = " ".join(parsed.layers or [CLASS])
    sys.stdout.write(f"{parsed.out}: {pluralize(len(made), 'map')}; {layers}\n")
    return 0


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="run directories; several predict together, by the mean of their probabilities",
    )
    parser.add_argument(
        "--scene",
        nargs="+",
        action="extend",
        metavar="MODALITY=FILE",
        help="rasters on one grid, paths or URLs; of several dates either all bands of the first, then those of the "
        "second in one, or the modality named once for each date, in order",
    )
    parser.add_argument("--chips", metavar="DIR", help="a chip set to map chip by chip, in place of a scene")
    add_layout_argument(parser, "detected from the files; for a scene TerraMind's bands")
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE|DIR",
        help="GeoTIFF to write, or with --chips the folder for them",
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="NAME",
        help=f"what to write: {LAYER_NAMES}; class is --out itself, others go into files with their name at the end "
        "(default: class)",
    )
    parser.add_argument(
        "--samples",
        type=positive,
        default=1,
        metavar="N",
        help="samples of the generated map that are predicted from, the probabilities averaged (default: 1)",
    )
    parser.add_argument(
        "--store",
        metavar="DIR",
        help="where the store of the training is now (default: where the run read it)",
    )
    parser.add_argument(
        "--weights", metavar="FOLDER", help="the generator's weights (default: from the Hub or its cache)"
    )
    parser.add_argument(
        "--keep",
        metavar="STORE",
        help="keep the maps that are generated on the way in this store, and use those that it has already",
    )
    parser.add_argument(
        "--window",
        type=positive,
        metavar="PX",
        help="side of what the network sees at a time (default: the size of the training chips)",
    )
    parser.add_argument(
        "--bounds",
        nargs=4,
        type=float,
        metavar=("WEST", "SOUTH", "EAST", "NORTH"),
        help="part of the scene to map, in its coordinate reference system (default: all)",
    )
    parser.add_argument(
        "--mask",
        metavar="FILE",
        help="polygons around what to map (GeoJSON, GeoPackage …), or a raster on the scene's grid of 0 elsewhere",
    )
    parser.add_argument(
        "--devices",
        type=positive,
        default=1,
        metavar="N",
        help="processes side by side, each with a GPU of its own where there are GPUs, for the same map (default: 1)",
    )
    parser.add_argument(
        "--accept-audit", action="store_true", help="go on despite what the input audit finds"
    )
    add_quiet_argument(parser)


def _scene(parser: argparse.ArgumentParser, words: Sequence[str]) -> dict[str, list[str]]:
    """Return the files of each modality, in the order in which they were named."""
    scene: dict[str, list[str]] = {}
    for word in words:
        name, sign, file = word.partition("=")
        if not (name and sign and file):
            parser.error(f"--scene {word}: expected MODALITY=FILE, as in S2L2A=s2.tif")
        scene.setdefault(name, []).append(file)
    return scene
