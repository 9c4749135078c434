"""Cutting rasters of any size into a chip set of the layout `folders`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.layouts import SPLITS, check_id, read_split, shipped_layout
from augment_store.errors import ChipDataError, ChipSetError
from augment_store.io.files import atomic_raster, atomic_write
from augment_store.modalities.definitions import (
    IGNORED_LABEL,
    INPUT_MODALITIES,
    PATCH_SIZE,
    REFERENCE_MODALITIES,
    S2_MODALITIES,
)
from augment_store.modalities.values import missing

if TYPE_CHECKING:
    from rasterio.io import DatasetReader
    from rasterio.windows import Window

MASK: Final = "MASK"
"""Name of the reference mask among the rasters; its folder in the layout `folders`."""

KNOWN: Final = (*INPUT_MODALITIES, *REFERENCE_MODALITIES, MASK)

NO_DATA: Final = -9999
"""What a raster's own no-data value becomes, since readers of chips look at values and not at file headers."""


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


@dataclass(frozen=True)
class CutResult:
    """What was cut: chips by scene, how many were left out, chips by split, and which edges no chip covers."""

    chips: Mapping[str, tuple[str, ...]]
    left_out: int
    splits: Mapping[str, tuple[str, ...]]
    edges: tuple[UncoveredStrip, ...] = ()


def starts(length: int, size: int, overlap: int) -> list[int]:
    """First pixels of windows along 0 to `length`.

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
    """Strips of a raster of `height` × `width` pixels, or of its regions, that no window covers."""
    lengths = {}
    for name, whole in (("lower", height), ("right", width)):
        side = request.block or whole
        lengths[name] = sorted({min(side, whole - first) for first in range(0, whole, side)}, reverse=True)
    every = {length for found in lengths.values() for length in found if length >= request.size}
    larger = range(request.size + 1, min(every, default=0) + 1)
    covering = (size for size in larger if not any(_bare(length, size, request.overlap) for length in every))
    size = next(covering, None)  # for all edges at once: a size that covers one may bare another
    found: dict[UncoveredStrip, None] = {}
    for name, length in ((axis, length) for axis in lengths for length in lengths[axis]):
        pixels, too_small = _bare(length, request.size, request.overlap), length < request.size
        if pixels:
            found[UncoveredStrip(name, pixels, too_small, None if too_small else size)] = None
    return tuple(found)


def _bare(length: int, size: int, overlap: int) -> int:
    """Pixels beyond the last window."""
    windows = starts(length, size, overlap)
    return length - windows[-1] - size if windows else length


def tiles(request: CutRequest, height: int, width: int) -> list[Tile]:
    """Chips of a raster of `height` × `width` pixels, region by region; chips of two regions share no pixel."""
    side = request.block
    if side is None:
        return _tiles_of(request, request.scene, (0, 0), (height, width))
    found = []
    for row, top in enumerate(range(0, height, side)):
        for column, left in enumerate(range(0, width, side)):
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
    """Chips of each split: whole scenes, in random order, each to the split furthest below its share.

    Args:
        chips: Chips by scene.
        shares: Shares of train, val and test; they need not add up to 1.
        seed: Seed of the order.
    """
    wanted = np.array(shares, float) / sum(shares) * sum(map(len, chips.values()))
    splits: dict[str, list[str]] = {name: [] for name, share in zip(SPLITS, shares, strict=True) if share}
    for scene in np.random.default_rng(seed).permutation(sorted(chips)).tolist():
        lacking = {n: w - len(splits[n]) for n, w in zip(SPLITS, wanted, strict=True) if n in splits}
        splits[max(lacking, key=lambda name: lacking[name])] += chips[scene]
    return splits


def cut(request: CutRequest) -> CutResult:
    """Cuts rasters into chips; if it fails, it leaves nothing in the chip set.

    Raises:
        ChipSetError: If the request is invalid, or chips of the scene are there already.
        ChipDataError: If a raster cannot be read, has other bands, or lies on another grid.
    """
    _check(request)
    draft = request.out / f".cut-{request.scene}"
    with contextlib.ExitStack() as stack:
        sources = {name: stack.enter_context(_open(path)) for name, path in request.rasters.items()}
        first = next(iter(sources.values()))
        for name, source in sources.items():
            _check_source(name, source, first)
        wanted = tiles(request, first.height, first.width)
        if not wanted:
            raise ChipSetError(
                f"{first.name}: {first.height} × {first.width} pixels hold no chip of {request.size} px; give a "
                "smaller --size, or a larger --block"
            )
        _check_free(request, wanted)
        stack.callback(shutil.rmtree, draft, ignore_errors=True)
        chips: dict[str, tuple[str, ...]] = {}
        for tile in wanted:
            if _write_chip(tile, sources, request, draft):
                chips[tile.scene] = (*chips.get(tile.scene, ()), tile.chip_id)
        splits = assign_splits(chips, request.shares, request.seed) if request.shares and chips else {}
        _publish(draft, request.out, splits)
    left_out = len(wanted) - sum(map(len, chips.values()))
    edges = uncovered_strips(request, first.height, first.width)
    return CutResult(chips, left_out, {name: tuple(ids) for name, ids in splits.items()}, edges)


def _check(request: CutRequest) -> None:
    check_id(request.scene, request.out)
    if request.size < PATCH_SIZE:
        raise ChipSetError(f"--size {request.size}: expected {PATCH_SIZE} or more")
    if not 0 <= request.overlap < request.size:
        raise ChipSetError(f"--overlap {request.overlap}: expected 0 to {request.size - 1}, less than --size")
    if request.block is not None and request.block < request.size:
        raise ChipSetError(f"--block {request.block}: expected at least --size {request.size}")
    if not 0 <= request.most_missing <= 1:
        raise ChipSetError(f"--missing {request.most_missing:g}: expected a share, 0 to 1")
    if request.shares and (min(request.shares) < 0 or sum(request.shares) <= 0):
        raise ChipSetError("--split: expected shares of train, val and test, none of them negative")
    if not set(request.rasters) & set(INPUT_MODALITIES):
        raise ChipSetError(f"no input raster given; expected one or more of {', '.join(INPUT_MODALITIES)}")


def _open(path: Path) -> DatasetReader:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        return rasterio.open(path)
    except RasterioError as error:
        raise ChipDataError(f"{path}: cannot be read as a raster ({error})") from error


def _check_source(name: str, source: DatasetReader, first: DatasetReader) -> None:
    """Makes sure that a raster has its modality's bands and lies on the first raster's grid."""
    modality = {**INPUT_MODALITIES, **REFERENCE_MODALITIES}.get(name)
    bands = len(modality.bands) if modality else 1
    if source.count != bands:
        names = f" ({' '.join(modality.bands)})" if modality else ""
        raise ChipDataError(f"{source.name}: {source.count} bands; expected {bands}{names}")
    if not _on_one_grid(source, first):
        west, south, east, north = first.bounds
        warp = (
            f"gdalwarp -t_srs '{first.crs}' -te {west!r} {south!r} {east!r} {north!r} "
            f"-ts {first.width} {first.height} {source.name} warped.tif"
        )
        raise ChipDataError(f"{source.name}: not on the grid of {first.name}; bring it there, as with {warp}")


def _on_one_grid(source: DatasetReader, first: DatasetReader) -> bool:
    """Whether the corners of two rasters lie within a hundredth of a pixel of each other."""
    if source.crs != first.crs or source.shape != first.shape:
        return False
    apart = np.reshape(tuple(source.transform)[:6], (2, 3)) - np.reshape(tuple(first.transform)[:6], (2, 3))
    corners = apart @ [
        [0, first.width, 0],
        [0, 0, first.height],
        [1, 1, 1],
    ]  # x = a·col + b·row + c; y likewise
    return bool(np.abs(corners).max() <= 0.01 * np.hypot(first.transform.a, first.transform.d))


def _check_free(request: CutRequest, wanted: Sequence[Tile]) -> None:
    """Chips are never overwritten: a store may have been generated from them."""
    for name in request.rasters:
        for tile in wanted:
            path = _place(request.out, name, tile.chip_id)
            if path.exists():
                raise ChipSetError(
                    f"{path}: exists; choose another --scene or --out, or delete its chips first"
                )


def _place(root: Path, name: str, chip_id: str) -> Path:
    layout = shipped_layout("folders")
    pattern = layout.mask[0] if name == MASK else layout.images[name].files[0]
    return root / pattern.format(id=chip_id)


def _write_chip(tile: Tile, sources: Mapping[str, DatasetReader], request: CutRequest, draft: Path) -> bool:
    """Writes one chip's files, unless too much of it is missing."""
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    window = Window(tile.column, tile.row, request.size, request.size)
    rasters = {}
    for name, source in sources.items():
        try:
            rasters[name] = normalize_nodata(name, source.read(window=window), source.nodata)
        except RasterioError as error:
            raise ChipDataError(f"{source.name}: cannot be read ({error})") from error
    if any(missing_share(name, raster) > request.most_missing for name, raster in rasters.items()):
        return False
    for name, raster in rasters.items():
        _write(_place(draft, name, tile.chip_id), raster, sources[name], window)
    return True


def normalize_nodata(name: str, raster: NDArray[Any], declared: float | None) -> NDArray[Any]:
    """A raster ``[C, H, W]`` with its file's no-data value replaced by one that readers of chips recognise.

    Args:
        name: Its modality, or `MASK`.
        raster: Values as in the file.
        declared: The file's no-data value; None or NaN if it needs no change.
    """
    modality = INPUT_MODALITIES.get(name)
    known = declared is None or np.isnan(declared) or (modality and declared in modality.nodata)
    if known or (name in S2_MODALITIES and declared == 0) or name in REFERENCE_MODALITIES:
        return raster
    own = raster == declared
    if not own.any():
        return raster
    signed = raster.astype(np.promote_types(raster.dtype, np.int16)) if raster.dtype.kind == "u" else raster
    return np.where(own, signed.dtype.type(IGNORED_LABEL if name == MASK else NO_DATA), signed)


def missing_share(name: str, raster: NDArray[Any]) -> float:
    """Share of the pixels ``[H, W]`` of an input that have no observation in some band; 0 if it is not an input."""
    if name not in INPUT_MODALITIES:
        return 0.0
    return float(missing(raster, INPUT_MODALITIES[name]).any(axis=-3).mean())


def _write(path: Path, raster: NDArray[Any], source: DatasetReader, window: Window) -> None:
    bands, height, width = raster.shape
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": raster.dtype}
    with atomic_raster(
        path, **profile, crs=source.crs, transform=source.window_transform(window), compress="deflate"
    ) as file:
        file.write(raster)


def _publish(draft: Path, out: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Moves finished chips to where readers look, and adds them to the split files."""
    for path in _files(draft):
        target = out / path.relative_to(draft)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    for name, ids in splits.items():
        file = out / shipped_layout("folders").splits[name][0]  # type: ignore[index]
        before = read_split(file) if file.is_file() else ()
        if ids:
            atomic_write(file, ["".join(f"{chip_id}\n" for chip_id in (*before, *ids)).encode()])


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
