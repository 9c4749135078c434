"""Canvas of one exported raster: a chip, or the chips of a scene side by side."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS

from augment_store.chips.georeference import Georeference, is_known
from augment_store.errors import StoreError
from augment_store.export.layers import Layer
from augment_store.io.files import printable
from augment_store.store.chip_index import read_entry
from augment_store.store.writer import AugmentStore
from augment_store.utils.identifiers import check_name

MAX_PIXELS: Final = 2**28
MAX_VALUES: Final = 2**30
"""Pixels a mosaic may have, and values that all bands of a layer may have, so that a layer stays below 2.2 GB."""

_GRID_TOLERANCE: Final = 0.01
"""How far, in pixels, chips may lie off their scene's grid."""


@dataclass(frozen=True)
class Canvas:
    """Chips laid out on one pixel grid.

    Attributes:
        name: Stem of file names: the chip's or the scene's id.
        scene_id: Scene of the chips.
        corners: Row and column of each chip's upper left pixel; where chips overlap, the first one shows.
        shape: Rows and columns.
        georeference: Georeference of the whole grid.
    """

    name: str
    scene_id: str
    corners: Mapping[str, tuple[int, int]]
    shape: tuple[int, int]
    georeference: Georeference

    def cells(self, pixels: int) -> tuple[int, int]:
        """Return the rows and columns of cells of `pixels` × `pixels`; the last ones may reach beyond the canvas."""
        # −(−a // b) divides and rounds up
        height, width = (-(-side // pixels) for side in self.shape)
        return height, width

    def read(self, store: AugmentStore, layer: Layer) -> NDArray[Any]:
        """Read the pixels of a layer ``[band, y, x]``, its no-data value (or 0) where no chip lies.

        Raises:
            StoreError: If the layer's cells are coarser than pixels and the chips' cells do not meet, or its bands
                have more than `MAX_VALUES` values.
        """
        per_token = layer.array.pixels
        height, width = self.cells(per_token)
        shape = (len(layer.bands), height, width)
        if math.prod(shape) > MAX_VALUES:
            raise StoreError(
                f"{self.name}: {shape[0]} bands of {height} × {width} pixels of {layer.array.name} are too many for "
                "memory; choose neighbouring chips with --ids, or export without --mosaic"
            )
        filled = np.full(shape, layer.array.nodata or 0, dtype=layer.array.dtype)
        # the first chip is written last, so it shows where chips overlap
        for chip_id, (row, column) in reversed(list(self.corners.items())):
            # tokens cover 16 × 16 pixels: chips that lie between cells cannot share a grid of them
            if row % per_token or column % per_token:
                raise StoreError(
                    f"{self.name}: chip {chip_id} lies {row} rows and {column} columns from the corner, not a multiple "
                    f"of {per_token}; its {layer.array.name} cannot be joined, export them without --mosaic"
                )
            values, top, left = layer.take(store, chip_id), row // per_token, column // per_token
            filled[:, top : top + values.shape[1], left : left + values.shape[2]] = values
        return filled


def single(store: AugmentStore, chip_id: str) -> Canvas:
    """Return the canvas of one chip, georeferenced or not."""
    entry = read_entry(store, chip_id)
    return Canvas(chip_id, entry.scene_id, {chip_id: (0, 0)}, store.extent.shape, entry.georeference)


def mosaics(store: AugmentStore, chip_ids: Sequence[str]) -> list[Canvas]:
    """Join the chips of each scene, in the order the scenes come in.

    Raises:
        StoreError: If a chip has no georeference, a scene's chips are not on one grid, or lie too far apart, or two
            scenes would be written to the same files.
        StoreError: If a scene's id does not make a file name.
    """
    scenes: dict[str, list[str]] = {}
    for chip_id in chip_ids:
        scenes.setdefault(read_entry(store, chip_id).scene_id, []).append(chip_id)
    _check_file_names(store, scenes)
    return [_join(store, scene_id, members) for scene_id, members in scenes.items()]


def _file_name(scene_id: str) -> str:
    """Return the name of a scene's files: anything but letters, digits, dots and hyphens becomes ``_``."""
    return re.sub(r"[^\w.-]+", "_", scene_id)


def _check_file_names(store: AugmentStore, scene_ids: Iterable[str]) -> None:
    """Make sure that each scene has a file name of its own."""
    taken: dict[str, str] = {}
    for scene_id in scene_ids:
        name = _file_name(scene_id)
        check_name(f"{store.path}: scene", name)
        # the scene that has the name already, or this one if the name was free
        other = taken.setdefault(name, scene_id)
        if other != scene_id:
            raise StoreError(
                f"scenes {printable(other)} and {printable(scene_id)} would both be written as {name}; export one at a "
                "time with --ids to another --out, or export without --mosaic"
            )


def _join(store: AugmentStore, scene_id: str, members: Sequence[str]) -> Canvas:
    georeferences = {chip_id: read_entry(store, chip_id).georeference for chip_id in members}
    # before any offset: in pixels it means something only where all pixels are alike
    _check_one_grid(scene_id, georeferences)
    first = next(iter(georeferences.values()))
    # rows and columns relative to the first chip, then to the upper left corner of all
    a, _, _, _, e, _ = first.transform
    offsets = {i: _pixel_offset(first, other, scene_id, i) for i, other in georeferences.items()}
    top, left = (min(offset[axis] for offset in offsets.values()) for axis in (0, 1))
    corners = {i: (row - top, column - left) for i, (row, column) in offsets.items()}
    height, width = (
        max(corner[axis] for corner in corners.values()) + side
        for axis, side in enumerate(store.extent.shape)
    )
    if height * width > MAX_PIXELS:
        raise StoreError(
            f"scene {scene_id}: its chips span {height} × {width} pixels, more than a mosaic may have; "
            "choose neighbouring chips with --ids, or export without --mosaic"
        )
    # `left` and `top` are 0 or negative: the first chip need not be in the upper left corner
    west, north = first.transform[2] + left * a, first.transform[5] + top * e
    whole = Georeference(first.crs_wkt, (a, 0.0, west, 0.0, e, north))
    return Canvas(_file_name(scene_id), scene_id, corners, (height, width), whole)


def _check_one_grid(scene_id: str, georeferences: Mapping[str, Georeference]) -> None:
    unknown = [chip_id for chip_id, found in georeferences.items() if not is_known(found)]
    if unknown:
        raise StoreError(
            f"scene {scene_id}: chip {unknown[0]} has no georeference; export it without --mosaic"
        )
    first = next(iter(georeferences.values()))
    for chip_id, found in georeferences.items():
        a, b, _, d, e, _ = found.transform
        # 1e-6 of a pixel's side adds up to the tolerance of 0.01 pixels over 10,000 pixels
        if b or d or not np.allclose((a, e), (first.transform[0], first.transform[4]), rtol=1e-6):
            raise StoreError(
                f"scene {scene_id}: chip {chip_id} is rotated or has other pixels than the first chip"
            )
        # equal text is usual and fast; equal systems may be written in two ways
        if found.crs_wkt != first.crs_wkt and not _same_crs(found.crs_wkt, first.crs_wkt):
            raise StoreError(f"scene {scene_id}: chip {chip_id} has another coordinate reference system")


def _same_crs(one: str, other: str) -> bool:
    return bool(CRS.from_wkt(one) == CRS.from_wkt(other))


def _pixel_offset(first: Georeference, other: Georeference, scene_id: str, chip_id: str) -> tuple[int, int]:
    """Return the rows and columns from the first chip's corner to another's."""
    columns = (other.transform[2] - first.transform[2]) / first.transform[0]
    rows = (other.transform[5] - first.transform[5]) / first.transform[4]
    if max(abs(columns - round(columns)), abs(rows - round(rows))) > _GRID_TOLERANCE:
        raise StoreError(
            f"scene {scene_id}: chip {chip_id} lies {rows % 1:.2f} rows and {columns % 1:.2f} columns off the "
            "first chip's grid; joining would move pixels, export without --mosaic"
        )
    return round(rows), round(columns)
