"""`tim-store export`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from augment_store.chips.georeference import is_known
from augment_store.cli.parser import add_quiet_argument
from augment_store.errors import AugmentStoreError
from augment_store.export.geotiff import write_cog, write_geotiff
from augment_store.export.geozarr import write_zarr
from augment_store.export.layers import choose_arrays, distinct_timesteps, layers
from augment_store.export.mosaic import Canvas, mosaics, single
from augment_store.inspect.footprints import write_footprints
from augment_store.inspect.store_inspector import StoreInspector
from augment_store.io.files import check_outside, printable
from augment_store.io.remote import as_path
from augment_store.modalities.map_arrays import MapArray
from augment_store.modalities.registry import MAPS
from augment_store.store.chip_selection import StoreProgress, check_not_empty, positions_of
from augment_store.store.writer import AugmentStore
from augment_store.utils.progress import ProgressReporter, track
from augment_store.utils.text import pluralize

EXAMPLES: Final = """
tim-store export stores/lulc --format cog --mosaic --out maps
tim-store export stores/lulc --format geotiff --ids nyc_r000c001 --out maps
tim-store export stores/lulc --format footprints --out maps
"""

FORMATS: Final = ("geotiff", "cog", "zarr", "footprints")
# arrays of all modalities, each name once and in a fixed order: modalities have some in common
ARRAYS: Final = tuple(
    dict.fromkeys(
        array.name for kind in MAPS.values() for array in kind.all_arrays(probabilities=True, codebooks=1)
    )
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `export`."""
    parser.add_argument(
        "store", type=as_path, metavar="STORE", help="folder of the store, even while it is being written"
    )
    parser.add_argument(
        "--format", choices=FORMATS, required=True, help="file format; footprints: a GeoParquet of the chips"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--ids", nargs="+", metavar="ID", help="these chips only (default: all complete ones)"
    )
    parser.add_argument(
        "--arrays", nargs="+", choices=ARRAYS, help="these arrays only (default: all but tokens)"
    )
    parser.add_argument("--mosaic", action="store_true", help="join the chips of each scene")
    add_quiet_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Export chips of a store.

    Raises:
        AugmentStoreError: If the store, the choice or the output folder cannot be used.
    """
    store = AugmentStore.open(args.store)
    check_outside(_target(store, args), store.path)  # an export may be beside its store, under the same name
    _check_options(args)
    states = StoreProgress.read(store)
    check_not_empty(store, states)
    arrays = choose_arrays(store, args.arrays)
    positions = states.complete if args.ids is None else positions_of(store, args.ids, states)
    chip_ids = [store.chip_ids[position] for position in positions]
    write = _export_footprints if args.format == "footprints" else _export
    written = write(store, chip_ids, arrays, args)
    line = f"{args.out}: {written} of {pluralize(len(chip_ids), 'chip')} ({states})"
    sys.stdout.write(f"{printable(line)}\n")
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """Make sure that options go together.

    Raises:
        AugmentStoreError: If one would have no effect.
    """
    given = "--mosaic" if args.mosaic else "--arrays" if args.arrays else ""
    if given and args.format == "footprints":
        raise AugmentStoreError(
            f"{given}: --format footprints writes a table of chips, no maps; leave it out"
        )


def _export_footprints(
    store: AugmentStore, chip_ids: Sequence[str], _arrays: Sequence[MapArray], args: argparse.Namespace
) -> str:
    """Write the table of chips; returns what was written, in words."""
    inspector = StoreInspector(store, None, None)
    # lazy: the maps of one chip at a time are in memory, while its row is made
    chips = map(inspector.statistics, chip_ids)
    tracked = track(chips, "exporting", len(chip_ids), quiet=args.quiet)
    unlocated = write_footprints(args.out / f"{store.path.stem}_footprints.parquet", inspector, tracked)
    without = f" ({pluralize(unlocated, 'chip')} without georeference)" if unlocated else ""
    return f"1 file{without}"


def _export(
    store: AugmentStore, chip_ids: Sequence[str], arrays: Sequence[MapArray], args: argparse.Namespace
) -> str:
    """Write everything; returns what was written, in words."""
    # a mosaic needs every chip's corner first; single chips are taken one by one
    canvases = mosaics(store, chip_ids) if args.mosaic else (single(store, chip_id) for chip_id in chip_ids)
    count = unlocated = 0
    with ProgressReporter("exporting", len(chip_ids), quiet=args.quiet) as progress:
        for canvas, files in _written(store, canvases, arrays, args):
            count += files
            unlocated += files * (not is_known(canvas.georeference))
            # the total is in chips, and a mosaic holds several
            progress.advance(len(canvas.corners))
    noun = "group" if args.format == "zarr" else "file"
    return f"{pluralize(count, noun)}{f' ({unlocated} without georeference)' if unlocated else ''}"


def _target(store: AugmentStore, args: argparse.Namespace) -> Path:
    """Return where to write: a folder of files, or a Zarr group named after the store."""
    out: Path = args.out
    return out / f"{store.path.stem}.zarr" if args.format == "zarr" else out


def _written(
    store: AugmentStore, canvases: Iterable[Canvas], arrays: Sequence[MapArray], args: argparse.Namespace
) -> Iterator[tuple[Canvas, int]]:
    """Write canvases one after the other; yields each with the number of its files or groups."""
    if args.format == "zarr":
        yield from ((canvas, 1) for canvas in write_zarr(_target(store, args), store, canvases, arrays))
    else:
        yield from ((canvas, _write_rasters(store, canvas, arrays, args)) for canvas in canvases)


def _write_rasters(
    store: AugmentStore, canvas: Canvas, arrays: Sequence[MapArray], args: argparse.Namespace
) -> int:
    """Write a GeoTIFF for each layer of a canvas, timesteps that are copies left out; returns their number."""
    write = write_cog if args.format == "cog" else write_geotiff
    # left out only where the timestep is a copy for every chip of the canvas
    own = distinct_timesteps(store, tuple(canvas.corners))
    wanted = [layer for layer in layers(store, arrays) if layer.timestep in own]
    for layer in wanted:
        stem = "_".join(filter(None, (canvas.name, layer.array.name, layer.suffix)))
        write(args.out / f"{stem}.tif", store, canvas, layer)
    return len(wanted)
