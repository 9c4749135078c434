"""Where the chips of a raster lie: windows, regions that become scenes, edges that no chip covers, and splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augment_store.chips.layouts import SPLITS, check_id


@dataclass(frozen=True)
class CutRequest:
    """What to cut, and how.

    Attributes:
        rasters: A GeoTIFF or COG per modality, all on one grid; `MASK` is the reference mask.
        out: Folder of the chip set; chips of other scenes may be there already.
        scene: Scene id, the beginning of every chip id.
        size: Side of a chip in pixels.
        overlap: Pixels that neighbouring chips share.
        block: Side in pixels of the regions that become scenes of their own, or None for one scene.
        most_missing: Largest share of pixels without observation, in any input, that a chip may have.
        shares: Share of the regions that each of `SPLITS` gets; empty for no split files.
        seed: Seed for dealing regions out to splits.
    """

    rasters: Mapping[str, Path]
    out: Path
    scene: str
    size: int = 224
    overlap: int = 0
    block: int | None = None
    most_missing: float = 0.1
    shares: tuple[float, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Tile:
    """One chip to cut: its scene, its id and its upper left pixel."""

    scene: str
    chip_id: str
    row: int
    column: int


@dataclass(frozen=True)
class UncoveredStrip:
    """A strip of a raster, or of a region, that no chip covers.

    Attributes:
        name: ``lower`` or ``right``.
        pixels: How wide it is.
        whole: Whether it is a whole region, smaller than a chip.
        size: Next larger side of chips that would cover every other edge; None if there is none.
    """

    name: str
    pixels: int
    whole: bool
    size: int | None


def starts(length: int, size: int, overlap: int) -> list[int]:
    """Return the first pixels of windows along 0 to `length`.

    The last one is moved back to end at the edge, unless it would show less than half of the new pixels that the others
    do: such a chip would repeat its neighbour and count its pixels twice.
    """
    if length < size:
        return []
    step = size - overlap
    found = list(range(0, length - size + 1, step))
    beyond = length - size - found[-1]
    return found if 2 * beyond < step else [*found, length - size]


def uncovered_strips(request: CutRequest, height: int, width: int) -> tuple[UncoveredStrip, ...]:
    """Return the strips of a raster of `height` × `width` pixels, or of its regions, that no window covers."""
    lengths = {}
    for name, whole in (("lower", height), ("right", width)):
        side = request.block or whole
        # the lengths of regions along this axis: the full one, and what is left at the edge
        lengths[name] = sorted({min(side, whole - first) for first in range(0, whole, side)}, reverse=True)
    # without regions smaller than a chip, which no larger size covers
    every = {length for found in lengths.values() for length in found if length >= request.size}
    # up to the smallest region, which still has to hold a chip
    larger = range(request.size + 1, min(every, default=0) + 1)
    covering = (size for size in larger if not any(_bare(length, size, request.overlap) for length in every))
    size = next(covering, None)  # for all edges at once: a size that covers one may bare another
    # a dict as an ordered set, since many regions have the same
    found: dict[UncoveredStrip, None] = {}
    for name, length in ((axis, length) for axis in lengths for length in lengths[axis]):
        pixels, too_small = _bare(length, request.size, request.overlap), length < request.size
        if pixels:
            found[UncoveredStrip(name, pixels, too_small, None if too_small else size)] = None
    return tuple(found)


def _bare(length: int, size: int, overlap: int) -> int:
    """Return the pixels beyond the last window."""
    windows = starts(length, size, overlap)
    return length - windows[-1] - size if windows else length


def tiles(request: CutRequest, height: int, width: int) -> list[Tile]:
    """Return the chips of a raster of `height` × `width` pixels, by region; chips of two regions share no pixel."""
    side = request.block
    if side is None:
        return _tiles_of(request, request.scene, (0, 0), (height, width))
    found = []
    for row, top in enumerate(range(0, height, side)):
        for column, left in enumerate(range(0, width, side)):
            # regions at the edge may be smaller
            extent = (min(side, height - top), min(side, width - left))
            found += _tiles_of(request, f"{request.scene}-b{row:02d}x{column:02d}", (top, left), extent)
    return found


def _tiles_of(
    request: CutRequest, scene: str, corner: tuple[int, int], extent: tuple[int, int]
) -> list[Tile]:
    rows, columns = (starts(length, request.size, request.overlap) for length in extent)
    return [
        Tile(
            scene,
            check_id(f"{scene}_r{row:03d}c{column:03d}", request.out),
            corner[0] + top,
            corner[1] + left,
        )
        for row, top in enumerate(rows)
        for column, left in enumerate(columns)
    ]


def assign_splits(
    chips: Mapping[str, Sequence[str]], shares: Sequence[float], seed: int
) -> dict[str, list[str]]:
    """Return the chips of each split: whole scenes, in random order, each to the split furthest below its share.

    Args:
        chips: Chips by scene.
        shares: Shares of train, val and test; they need not add up to 1.
        seed: Seed of the order.
    """
    # chips that each split should get
    wanted = np.array(shares, float) / sum(shares) * sum(map(len, chips.values()))
    # a split without a share gets no file
    splits: dict[str, list[str]] = {name: [] for name, share in zip(SPLITS, shares, strict=True) if share}
    # sorted first, so that the seed alone decides and not the order of cutting
    for scene in np.random.default_rng(seed).permutation(sorted(chips)).tolist():
        lacking = {n: w - len(splits[n]) for n, w in zip(SPLITS, wanted, strict=True) if n in splits}
        splits[max(lacking, key=lambda name: lacking[name])] += chips[scene]
    return splits
