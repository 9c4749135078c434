"""`python -m augment_store export`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from augment_store.io.remote import as_path
from augment_store.modalities.registry import MAPS
from augment_store.utils.text import pluralize

if TYPE_CHECKING:
    from rich.console import Console

    from augment_store.export.mosaic import Canvas
    from augment_store.modalities.map_arrays import MapArray
    from augment_store.store.writer import AugmentStore

SUMMARY: Final = "write the generated maps as GeoTIFF, COG or GeoZarr"

FORMATS: Final = ("geotiff", "cog", "zarr")
ARRAYS: Final = tuple(
    dict.fromkeys(
        array.name for kind in MAPS.values() for array in kind.all_arrays(probabilities=True, codebooks=1)
    )
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `export`."""
    parser.add_argument(
        "store", type=as_path, metavar="STORE", help="folder of the store, even while it is being written"
    )
    parser.add_argument("--format", choices=FORMATS, required=True, help="file format")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--ids", nargs="+", metavar="ID", help="these chips only (default: all complete ones)"
    )
    parser.add_argument(
        "--arrays", nargs="+", choices=ARRAYS, help="these arrays only (default: all but tokens)"
    )
    parser.add_argument("--mosaic", action="store_true", help="join the chips of each scene")


def run(args: argparse.Namespace) -> int:
    """Exports chips of a store.

    Raises:
        AugmentStoreError: If the store, the choice or the output folder cannot be used.
    """
    from rich.console import Console

    from augment_store.export.layers import choose_arrays
    from augment_store.io.files import check_outside
    from augment_store.store.chip_selection import Progress, check_not_empty, positions_of
    from augment_store.store.writer import AugmentStore

    store = AugmentStore.open(args.store)
    check_outside(_target(store, args), store.path)
    progress = Progress.read(store)
    check_not_empty(store, progress)
    arrays = choose_arrays(store, args.arrays)
    positions = progress.complete if args.ids is None else positions_of(store, args.ids, progress)
    chip_ids = [store.chip_ids[position] for position in positions]
    console = Console()
    done = _export(console, store, chip_ids, arrays, args)
    console.print(f"{args.out}: {done} of {pluralize(len(chip_ids), 'chip')} ({progress})", soft_wrap=True)
    return 0


def _export(
    console: Console,
    store: AugmentStore,
    chip_ids: Sequence[str],
    arrays: Sequence[MapArray],
    args: argparse.Namespace,
) -> str:
    """Writes everything; returns what was written, in words."""
    from rich.progress import track

    from augment_store.chips.georeference import is_known
    from augment_store.export.mosaic import mosaics, single

    canvases = mosaics(store, chip_ids) if args.mosaic else (single(store, chip_id) for chip_id in chip_ids)
    count = nowhere = 0
    written = _written(store, canvases, arrays, args)
    for canvas in track(
        written, "exporting", console=console, transient=True, disable=not console.is_terminal
    ):
        count += 1
        nowhere += not is_known(canvas.georeference)
    noun = "group" if args.format == "zarr" else "file"
    return f"{pluralize(count, noun)}{f' ({nowhere} without georeference)' if nowhere else ''}"


def _target(store: AugmentStore, args: argparse.Namespace) -> Path:
    """Where to write: a folder of files, or a Zarr group named after the store."""
    out: Path = args.out
    return out / f"{store.path.stem}.zarr" if args.format == "zarr" else out


def _written(
    store: AugmentStore, canvases: Iterable[Canvas], arrays: Sequence[MapArray], args: argparse.Namespace
) -> Iterator[Canvas]:
    from augment_store.export.geozarr import write_zarr

    if args.format == "zarr":
        yield from write_zarr(_target(store, args), store, canvases, arrays)
    else:
        yield from _rasters(store, canvases, arrays, args)


def _rasters(
    store: AugmentStore, canvases: Iterable[Canvas], arrays: Sequence[MapArray], args: argparse.Namespace
) -> Iterator[Canvas]:
    """Writes a GeoTIFF per canvas and layer and yields its canvas; timesteps that are copies are skipped."""
    from augment_store.export.geotiff import write_cog, write_geotiff
    from augment_store.export.layers import distinct_timesteps, layers

    write = write_cog if args.format == "cog" else write_geotiff
    for canvas in canvases:
        own = distinct_timesteps(store, tuple(canvas.corners))
        for layer in layers(store, arrays):
            if layer.timestep in own:
                stem = "_".join(filter(None, (canvas.name, layer.array.name, layer.suffix)))
                write(args.out / f"{stem}.tif", store, canvas, layer)
                yield canvas
