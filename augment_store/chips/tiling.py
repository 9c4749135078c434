"""Cutting rasters of any size into a chip set of the layout `folders`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from augment_store.chips.chip_folder import MASK, chip_path, publish_chips, roll_back
from augment_store.chips.labels import LabelRaster, to_labels
from augment_store.chips.layouts import check_id, shipped_layout
from augment_store.chips.raster_grid import check_grid, open_raster, read_window
from augment_store.chips.rasters import pick_bands
from augment_store.chips.scenes import scenes_by_pattern
from augment_store.chips.tile_grid import (
    CutRequest,
    Tile,
    UncoveredStrip,
    assign_splits,
    tiles,
    uncovered_strips,
)
from augment_store.errors import ChipSetError
from augment_store.io.lock import file_lock
from augment_store.io.raster_file import atomic_raster
from augment_store.modalities.definitions import (
    IGNORED_LABEL,
    INPUT_MODALITIES,
    LULC,
    PATCH_SIZE,
    REFERENCE_MODALITIES,
)
from augment_store.modalities.values import missing
from augment_store.utils.text import format_size


@dataclass(frozen=True)
class CutResult:
    """What was cut.

    Attributes:
        chips: Chips by scene.
        left_out: Chips of which too much was missing.
        splits: Chips by split.
        edges: Strips that no chip covers.
        notes: What the rasters declare about their values and was applied, a line each.
    """

    chips: Mapping[str, tuple[str, ...]]
    left_out: int
    splits: Mapping[str, tuple[str, ...]]
    edges: tuple[UncoveredStrip, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class _Notes:
    """What rasters declare, gathered over the chips that are written.

    Attributes:
        lines: Notes in the order in which they were made, each once.
        ignored: Pixels of the mask whose declared no data is ignored.
        pixels: Pixels of the mask.
        declared: What the mask declares.
    """

    lines: dict[str, None] = field(default_factory=dict)
    ignored: float = 0.0
    pixels: int = 0
    declared: str = ""

    def add(self, name: str, notes: Sequence[str]) -> None:
        self.lines.update(dict.fromkeys(f"{name}: {note}" for note in notes))

    def add_mask(self, found: LabelRaster) -> None:
        self.pixels += found.labels.size
        self.ignored += found.ignored * found.labels.size
        self.declared = self.declared or found.declared

    def told(self) -> tuple[str, ...]:
        # `max`, since there may be no mask and so no pixels
        mask = f"{MASK}: {self.ignored / max(self.pixels, 1):.1%} of the pixels are ignored (−1): {self.declared}"
        return (*self.lines, *((mask,) if self.ignored else ()))


def cut(request: CutRequest) -> CutResult:
    """Cut rasters into chips; if it fails, it leaves nothing in the chip set.

    Raises:
        ChipSetError: If the request is invalid, or chips of the scene are there already.
        ChipDataError: If a raster cannot be read, has other bands, or lies on another grid.
        StoreBusyError: If the same scene is being cut into the chip set.
    """
    _check(request)
    draft = request.out / f".cut-{request.scene}"
    with contextlib.ExitStack() as stack:
        sources = {name: stack.enter_context(open_raster(path)) for name, path in request.rasters.items()}
        first = next(iter(sources.values()))
        for source in sources.values():
            check_grid(source, first)
        wanted = tiles(request, first.height, first.width)
        if not wanted:
            raise ChipSetError(
                f"{first.name}: {first.height} × {first.width} pixels hold no chip of {request.size} px; give a "
                "smaller --size, or a larger --block"
            )
        # One process cuts a scene at a time, so what it finds of the scene is left of one that was killed.
        stack.enter_context(file_lock(request.out.with_name(f"{request.out.name}.cut-{request.scene}")))
        shutil.rmtree(draft, ignore_errors=True)
        roll_back(request.out, request.scene)
        # after the roll-back, which removes what a killed cut had published
        _check_free(request, wanted)
        _check_alike(request, wanted, sources)
        # however the cut ends: published files have left the draft by then
        stack.callback(shutil.rmtree, draft, ignore_errors=True)
        chips: dict[str, tuple[str, ...]] = {}
        notes = _Notes()
        for tile in wanted:
            if _write_chip(tile, sources, request, draft, notes):
                chips[tile.scene] = (*chips.get(tile.scene, ()), tile.chip_id)
        splits = assign_splits(chips, request.shares, request.seed) if request.shares and chips else {}
        if chips:
            publish_chips(draft, request.out, request.scene, splits)
    left_out = len(wanted) - sum(map(len, chips.values()))
    edges = uncovered_strips(request, first.height, first.width)
    return CutResult(chips, left_out, {name: tuple(ids) for name, ids in splits.items()}, edges, notes.told())


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


def _check_free(request: CutRequest, wanted: Sequence[Tile]) -> None:
    """Make sure that no chip is overwritten: a store may have been generated from it."""
    for name in request.rasters:
        for tile in wanted:
            path = chip_path(request.out, name, tile.chip_id)
            if path.exists():
                raise ChipSetError(
                    f"{path}: exists; choose another --scene or --out, or delete its chips first"
                )


def _check_alike(request: CutRequest, wanted: Sequence[Tile], sources: Mapping[str, DatasetReader]) -> None:
    """Make sure that chips are like those that are there: of one size, with the same inputs, and of another raster."""
    there = {
        name: sorted(chip_path(request.out, name, "x").parent.glob("*.tif")) for name in INPUT_MODALITIES
    }
    inputs = [name for name in request.rasters if name in INPUT_MODALITIES]
    held = [name for name, paths in there.items() if paths]
    if held and set(held) != set(inputs):
        raise ChipSetError(
            f"{request.out}: its chips have {', '.join(held)}, and these rasters are {', '.join(inputs)}; all chips "
            "of a set have the same inputs: give the same, or choose another --out"
        )
    by_place = {sources[inputs[0]].xy(tile.row, tile.column, offset="ul"): tile for tile in wanted}
    scenes = scenes_by_pattern(path.stem for path in there[inputs[0]])
    # a chip of each scene: the same raster, cut alike, has it too
    firsts = {scene: path for path in reversed(there[inputs[0]]) if (scene := scenes[path.stem])}
    for scene, path in firsts.items():
        with open_raster(path) as file:
            if file.shape != (request.size, request.size):
                raise ChipSetError(
                    f"{request.out}: its chips are {format_size(file.shape)}; all chips of a set have one size: give "
                    f"--size {file.height}, or choose another --out"
                )
            tile = by_place.get(file.xy(0, 0, offset="ul"))
            window = None if tile is None else Window(tile.column, tile.row, request.size, request.size)
            if window is not None and np.array_equal(
                file.read(), _read_window(inputs[0], sources[inputs[0]], window, _Notes())
            ):
                raise ChipSetError(
                    f"{request.rasters[inputs[0]]}: is in {request.out} already, as scene {scene}; a raster under two "
                    "scenes could be trained and tested on"
                )


def _write_chip(
    tile: Tile, sources: Mapping[str, DatasetReader], request: CutRequest, draft: Path, notes: _Notes
) -> bool:
    """Write one chip's files, unless too much of it is missing."""
    window = Window(tile.column, tile.row, request.size, request.size)
    # notes of its own: those of a chip that is left out must not count
    gathered = _Notes()
    rasters = {name: _read_window(name, source, window, gathered) for name, source in sources.items()}
    if any(missing_share(name, raster) > request.most_missing for name, raster in rasters.items()):
        return False
    notes.lines.update(gathered.lines)
    notes.ignored, notes.pixels = notes.ignored + gathered.ignored, notes.pixels + gathered.pixels
    notes.declared = notes.declared or gathered.declared
    for name, raster in rasters.items():
        _write(chip_path(draft, name, tile.chip_id), raster, sources[name], window)
    return True


def _read_window(name: str, source: DatasetReader, window: Window, notes: _Notes) -> NDArray[Any]:
    """Return a chip's part of a raster ``[C, H, W]``, with what the raster declares applied."""
    content = read_window(source, window)
    if name not in (MASK, LULC.name):
        modality = (INPUT_MODALITIES | REFERENCE_MODALITIES)[name]
        found = pick_bands(content, source.name, modality, shipped_layout("folders"))
        notes.add(name, found.notes)
        # [1, C, H, W] → [C, H, W]
        values: NDArray[Any] = found.values[0]
        return values
    labels = to_labels(content, source.name)
    if name == MASK:
        notes.add_mask(labels)
    else:  # a reference of classes has a class for no data
        labels.labels[labels.labels == IGNORED_LABEL] = int(LULC.nodata[0])
    # [H, W] → [1, H, W], as a raster of one band
    return _narrow(labels.labels, content.values.dtype)[None]


def _narrow(labels: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return labels in the raster's own type, or the smallest signed one that holds −1 as well."""
    if dtype.kind in "iu":
        # uint8 becomes int16, uint16 int32
        held = np.promote_types(dtype, np.int16) if dtype.kind == "u" and labels.min() < 0 else dtype
    else:
        held = np.dtype(np.int16 if np.abs(labels).max() < 2**15 else np.int32)
    narrowed: NDArray[Any] = labels.astype(held)
    return narrowed


def missing_share(name: str, raster: NDArray[Any]) -> float:
    """Return the share of an input's pixels ``[H, W]`` without observation in some band; 0 if it is no input."""
    if name not in INPUT_MODALITIES:
        return 0.0
    # [C, H, W] → [H, W]: one band without observation suffices
    return float(missing(raster, INPUT_MODALITIES[name]).any(axis=-3).mean())


def _write(path: Path, raster: NDArray[Any], source: DatasetReader, window: Window) -> None:
    bands, height, width = raster.shape
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": raster.dtype}
    with atomic_raster(
        path, **profile, crs=source.crs, transform=source.window_transform(window), compress="deflate"
    ) as file:
        file.write(raster)
