"""What the headers of all chips' GeoTIFFs tell without reading their values: files that do not open, and sizes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import rasterio

from augment_store.chips.chip_set import ChipSet
from augment_store.io.remote import RemotePath
from augment_store.io.tar import ArchivedPath
from augment_store.utils.sampling import spread_evenly
from augment_store.utils.text import format_size, join_first, pluralize

MOST_CHIPS: Final = 2_000
"""Chips whose headers are read, evenly spread over the sorted ids: some seconds on a network file system."""

Size = tuple[int, int]


def header_problems(chips: ChipSet) -> Iterator[str]:
    """Yield a line for files that cannot be opened, chips of several sizes, and files of one chip that differ."""
    ids = spread_evenly(chips.ids, MOST_CHIPS)
    files = [(chip_id, path) for chip_id in ids for path in _first_files(chips, chip_id)]
    # each header of a bucket would be a download
    if not files or isinstance(chips.root, RemotePath):
        return
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(_read_size, (path for _, path in files)))
    broken = [
        f"{path} ({size})" for (_, path), size in zip(files, found, strict=True) if isinstance(size, str)
    ]
    if broken:
        yield (
            f"{pluralize(len(broken), 'file')} cannot be opened, such as {broken[0]}; restore these "
            "chips or leave them out"
        )
    sizes: dict[str, dict[Path, Size]] = defaultdict(dict)
    for (chip_id, path), size in zip(files, found, strict=True):
        if not isinstance(size, str):
            sizes[chip_id][path] = size
    yield from _differences(sizes)


def _first_files(chips: ChipSet, chip_id: str) -> Iterator[Path]:
    """Yield a chip's GeoTIFFs: of bands in several files the first, which has the grid of the others."""
    return (path for path in chips.geotiffs(chip_id) if not isinstance(path, ArchivedPath))


def _read_size(path: Path) -> Size | str:
    """Return height and width of a GeoTIFF, or why it cannot be opened."""
    try:
        with rasterio.open(path, driver="GTiff") as file:
            height, width = file.shape
            return height, width
    except rasterio.errors.RasterioError as error:
        return str(error)


def _differences(sizes: Mapping[str, Mapping[Path, Size]]) -> Iterator[str]:
    for chip_id, own in sizes.items():
        if len(set(own.values())) > 1:
            told = ", ".join(f"{path} is {format_size(size)}" for path, size in own.items())
            yield f"chip {chip_id}: files differ in size ({told}); a chip's files are joined pixel by pixel"
            break
    counts = Counter(size for own in sizes.values() for size in dict.fromkeys(own.values()))
    if len(counts) > 1 and all(len(set(own.values())) == 1 for own in sizes.values()):
        (usual, _), *others = counts.most_common()
        odd = [chip_id for chip_id, own in sizes.items() if usual not in own.values()]
        told = ", ".join(f"{format_size(size)} {count}" for size, count in [(usual, counts[usual]), *others])
        yield (
            f"chips of {pluralize(len(counts), 'size')} ({told}; not of the usual size: {join_first(odd)}); a store "
            "and a training have one: cut them alike, or give each size as a chip set of its own"
        )
