"""`tim-store cut`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from augment_store.chips.chip_folder import KNOWN
from augment_store.chips.layouts import SPLITS
from augment_store.chips.tile_grid import CutRequest, UncoveredStrip
from augment_store.chips.tiling import CutResult, cut
from augment_store.errors import ChipSetError
from augment_store.io.files import check_local, printable
from augment_store.utils.text import pluralize

_SUBDATASET: Final = re.compile(r"(netcdf|hdf[45]?|gtiff_dir|zarr|grib):", re.IGNORECASE)
"""Names by which GDAL opens one of the rasters in a file."""

EXAMPLES: Final = """
tim-store cut S2L2A=s2.tif S1RTC=s1.tif DEM=dem.tif --out chips
tim-store cut S2L2A=s2.tif MASK=labels.tif --out chips --scene nyc_20210704 --split train
tim-store cut S2L2A=s2.tif S1RTC=s1.tif --out chips --size 256 --block 1024 --split 70 15 15
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cut`."""
    parser.add_argument(
        "rasters",
        nargs="+",
        metavar="NAME=FILE",
        help="a raster per modality (S2L2A, S1RTC …), all on one grid; MASK for the reference mask",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="chip set to make or add to")
    parser.add_argument("--scene", metavar="ID", help="scene id (default: the first file's name)")
    parser.add_argument("--size", type=int, default=224, metavar="N", help="side of a chip (default: 224 px)")
    parser.add_argument(
        "--overlap",
        type=int,
        default=0,
        metavar="N",
        help="pixels that neighbors share (default: 0)",
    )
    parser.add_argument(
        "--missing",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="skip chips where more than this share of an input has no data (default: 0.1)",
    )
    parser.add_argument(
        "--block",
        type=int,
        metavar="N",
        help="make each region of N px a scene of its own; regions share no pixel (default: one scene)",
    )
    parser.add_argument(
        "--split",
        nargs="+",
        default=[],
        metavar="SPLIT|SHARE",
        help="put all chips into train, val or test, or divide the regions of --block by three shares",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed for random draws (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Cut rasters and print the result.

    Raises:
        AugmentStoreError: If the request is invalid or a raster cannot be used.
    """
    request = _request(args)
    made = cut(request)
    sys.stdout.write("".join(f"{line}\n" for line in _report(request, made)))
    # without a single chip the next command would fail, so a script stops here
    return 0 if made.chips else 1


def _report(request: CutRequest, made: CutResult) -> list[str]:
    count = sum(map(len, made.chips.values()))
    left = (
        f", {made.left_out} left out (more than {request.most_missing:.0%} missing)" if made.left_out else ""
    )
    scenes = pluralize(len(made.chips), "scene")
    lines = [f"{request.out}: {pluralize(count, 'chip')} of {request.size} px in {scenes}{left}"]
    lines += [printable(note) for note in made.notes]
    lines += _bare(made.edges, request)
    lines += [f"{name}: {pluralize(len(ids), 'chip')}" for name, ids in made.splits.items()]
    if count:
        # `audit` checks inputs; MASK, LULC and NDVI are references beside them
        inputs = " ".join(name for name in request.rasters if name not in {"MASK", "LULC", "NDVI"})
        lines.append(f"next: tim-generate audit --chips {request.out} --inputs {inputs}")
    return lines


def _bare(edges: Iterable[UncoveredStrip], request: CutRequest) -> Iterator[str]:
    """Yield a line for edges alike."""
    # equal strips at the lower and the right edge are told in one line
    names: dict[tuple[int, bool, int | None], list[str]] = {}
    for edge in edges:
        names.setdefault((edge.pixels, edge.whole, edge.size), []).append(edge.name)
    whose = "the raster" if request.block is None else "regions"
    for (pixels, whole, size), sides in names.items():
        why = "too few for a chip" if whole else "a chip there would mostly repeat its neighbour"
        why += "" if size is None else f"; --size {size} would keep them"
        yield f"{pixels} px at the {' and '.join(sides)} edge of {whose} are left out: {why}"


def _request(args: argparse.Namespace) -> CutRequest:
    rasters = _rasters(args.rasters)
    first = next(iter(rasters.values()))
    return CutRequest(
        rasters,
        args.out,
        args.scene or first.name.removesuffix(first.suffix),
        args.size,
        args.overlap,
        args.block,
        args.missing,
        _shares(args.split, args.block),
        args.seed,
    )


def _rasters(words: Sequence[str]) -> dict[str, Path]:
    rasters: dict[str, Path] = {}
    for word in words:
        name, _, file = word.partition("=")
        if name not in KNOWN or not file:
            raise ChipSetError(f"{word}: expected NAME=FILE, where NAME is one of {', '.join(KNOWN)}")
        if name in rasters:
            raise ChipSetError(f"{word}: {name} appears twice; cut each scene by a command of its own")
        # a subdataset such as "netcdf:file:band" is GDAL's name for a raster, no path and no URL
        if not _SUBDATASET.match(file):
            check_local(name, Path(file), "only local files are cut; copy it to this machine")
        rasters[name] = Path(file)
    return rasters


def _shares(words: Sequence[str], block: int | None) -> tuple[float, ...]:
    if not words:
        return ()
    if len(words) == 1 and words[0] in SPLITS:
        # a split by its name is the share 1, and 0 of the two others
        return tuple(float(name == words[0]) for name in SPLITS)
    try:
        shares = tuple(map(float, words))
    except ValueError:
        # not numbers: the length check below tells the user what is expected
        shares = ()
    if len(shares) != len(SPLITS):
        raise ChipSetError(
            f"--split {' '.join(words)}: expected train, val or test, or a share for each of the three"
        )
    if block is None:
        raise ChipSetError(
            "--split by shares deals out regions; give their size with --block, or name one split"
        )
    return shares
