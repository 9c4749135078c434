"""Chips of two splits that show the same ground or hold the same files: a test would see what was trained on."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
import shapely

from augment_store.chips.chip import Chip
from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference, outlines
from augment_store.io.remote import RemotePath
from augment_store.io.tar import ArchivedPath

SHARED_PART: Final = 0.01
"""Part of the smaller chip below which an overlap is a matter of rounding, as between neighbors."""

SAMPLE_BYTES: Final = 2**16
"""Bytes from the middle of a file that tell almost all files of one size apart."""

Pair = tuple[str, str]
"""A chip, and one of a later split that is no other place."""


def find_shared(
    chips: ChipSet,
    splits: Mapping[str, Iterable[str]],
    shape: tuple[int, int],
    read_places: Callable[[Iterable[str]], Mapping[str, Georeference]] | None = None,
) -> list[Pair]:
    """Find chips of later splits on the ground of a chip of an earlier one, or with the same files.

    Only headers are read, and of files of one size their bytes. Chips without a georeference have no ground.

    Args:
        chips: The chip set, not at a URL, where each header would be a download.
        splits: Chip ids by split, in the order in which they are used.
        shape: Height and width of a chip in pixels.
        read_places: Gives where chips lie, for one who keeps that; None reads their headers.

    Returns:
        Each chip of a later split at most once.

    Raises:
        ChipDataError: If a header cannot be read.
    """
    members = {split: tuple(ids) for split, ids in splits.items()}
    ids = list(dict.fromkeys(chip_id for own in members.values() for chip_id in own))
    places = _read_headers(chips, ids) if read_places is None else read_places(ids)
    on_ground = [] if _is_placeholder(chips, places) else find_overlaps(places, members, shape)
    named = {later for _, later in on_ground}
    return sorted([*on_ground, *(pair for pair in find_same_files(chips, members) if pair[1] not in named)])


def _read_headers(chips: ChipSet, ids: Sequence[str]) -> dict[str, Georeference]:
    # reading headers is waiting, on network file systems most of all
    with ThreadPoolExecutor() as pool:
        return dict(zip(ids, pool.map(chips.georeference, ids), strict=True))


def _is_placeholder(chips: ChipSet, places: Mapping[str, Georeference]) -> bool:
    """Say whether georeferences tell nothing: some files of a chip lack one, and the others agree for all chips.

    So it is where only a DEM or mask is a GeoTIFF, written with some corner that nobody meant.
    """
    if len(set(places.values())) != 1:
        return False
    chip_id = next(iter(places))
    told = {path for path, _ in chips.georeferences(chip_id)}
    return any(chips.path(chip_id, name) not in told for name in chips.modalities if chips.has(chip_id, name))


def is_comparable(chips: ChipSet) -> bool:
    """Return whether the files of a chip set can be looked at without downloading them."""
    return not isinstance(chips.root, RemotePath)


def find_overlaps(
    places: Mapping[str, Georeference], splits: Mapping[str, Iterable[str]], shape: tuple[int, int]
) -> list[Pair]:
    """Find chips whose outlines on Earth overlap by more than rounding; see `find_shared`.

    Args:
        places: Where each chip lies; chips without a place on Earth are left out.
        splits: Chip ids by split.
        shape: Height and width of a chip in pixels.
    """
    rings = outlines(places, shape)
    # the dates of a tile have one outline, and are compared as one
    groups: dict[tuple[int, bytes], list[str]] = defaultdict(list)
    for order, ids in enumerate(splits.values()):
        for chip_id in ids:
            if chip_id in rings:
                groups[order, rings[chip_id].tobytes()].append(chip_id)
    if not groups:
        return []
    orders = np.array([order for order, _ in groups])
    members = list(groups.values())
    polygons = shapely.polygons(np.stack([rings[ids[0]] for ids in members]))
    one, other = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    # each pair once, the earlier split first
    one, other = (side[orders[one] < orders[other]] for side in (one, other))
    shared = shapely.area(shapely.intersection(polygons[one], polygons[other]))
    areas = shapely.area(polygons)
    found = shared > SHARED_PART * np.minimum(areas[one], areas[other])
    pairs = zip(one[found].tolist(), other[found].tolist(), strict=True)
    # a later chip on the ground of several is named with one of them
    return sorted({later: (members[i][0], later) for i, j in pairs for later in members[j]}.values())


def find_same_files(chips: ChipSet, splits: Mapping[str, Iterable[str]]) -> list[Pair]:
    """Find chips whose image files are, byte by byte, those of a chip of an earlier split; see `find_shared`.

    Images of one value, such as empty ones, are all alike and no copies of one another.
    """
    order = {chip_id: number for number, ids in enumerate(splits.values()) for chip_id in ids}
    files = {
        chip_id: [chips.path(chip_id, name) for name in chips.modalities if chip_id in chips.ids_of(name)]
        for chip_id in order
    }
    groups: Iterable[list[str]] = [sorted(order, key=lambda chip_id: order[chip_id])]
    # the cheapest first: most files differ in size, and the rest in their middles
    keys: tuple[Callable[[Path], Hashable], ...] = (_byte_count, _middle_digest, _whole_digest)
    for key in keys:
        parts = (part for group in groups for part in _alike(group, files, key))
        # chips are in the order of their splits
        groups = [part for part in parts if order[part[0]] < order[part[-1]]]
    return sorted(
        (group[0], later)
        for group in groups
        if shows_something(_read_images(chips, group[0]))
        for later in group[1:]
        if order[later] > order[group[0]]
    )


def _alike(
    ids: Iterable[str], files: Mapping[str, list[Path]], key: Callable[[Path], Hashable]
) -> Iterator[list[str]]:
    """Yield the chips of which all files have the same key, in their order."""
    found: dict[Hashable, list[str]] = defaultdict(list)
    for chip_id in ids:
        # the names of folders are left out: a chip has its modalities in the layout's order
        found[tuple(key(path) for path in files[chip_id])].append(chip_id)
    yield from found.values()


def _byte_count(path: Path) -> int:
    return path.stat().st_size


def _middle_digest(path: Path) -> bytes:
    if isinstance(path, ArchivedPath):  # which is read whole
        return _whole_digest(path)
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - SAMPLE_BYTES) // 2)
        return hashlib.blake2b(file.read(SAMPLE_BYTES)).digest()


def _whole_digest(path: Path) -> bytes:
    return hashlib.blake2b(path.read_bytes()).digest()


def shows_something(chip: Chip) -> bool:
    """Say whether a chip has more than one value: empty chips are all alike, and no copies of one another."""
    return any(raster.min() < raster.max() for raster in chip.rasters.values())


def _read_images(chips: ChipSet, chip_id: str) -> Chip:
    return chips.read(chip_id, [name for name in chips.modalities if chips.has(chip_id, name)])


def find_copies(inputs: Mapping[str, Mapping[bytes, str]]) -> list[Pair]:
    """Find pairs of chips of different splits with the same raw input.

    Args:
        inputs: By split, the chip of each input digest.
    """
    # every two splits once
    pairs = combinations(inputs.values(), 2)
    return sorted(
        (one[digest], other[digest]) for one, other in pairs for digest in one.keys() & other.keys()
    )
