"""Rows of what a store costs by its size, and to read: `python -m tests.benchmarks announce open info resume chip …`.

- ``announce``, ``info``, ``resume``: processor time per chip with a million chips against a thousand.
- ``open``: to open a store of a million and find one chip, which every process that reads it pays, against 1.5 s.
- ``chip-…``: one random chip of `lulc` (T = 4, 256 px) that this process never read before, from the store against a
  deflate GeoTIFF. The store's digest over the values is compared, which GeoTIFF does not have.
- ``epoch-…``: every chip in shuffled order, after a first epoch.
- ``bytes-…``: of the same maps on disk; ``same-bytes-…`` of maps whose timesteps are equal.

What a chip costs by size and to read is printed too. Stores are synthetic; the maps that are read are class maps in
blocks, an eighth of whose patches differs between timesteps. Files are read from a warm page cache.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from augment_store.chips.georeference import Georeference
from augment_store.store.chip_index import ChipEntry
from augment_store.store.schema import ChipShape, State
from augment_store.store.summary import summarize
from augment_store.store.writer import AugmentStore
from generate.plan import entries_to_announce
from tests.benchmarks.table import Row
from tests.worlds import WKT, class_map, make_spec, make_store

SIZE, TIMESTEPS, MAPS = 256, 4, 128
FEW, MANY, REPEATS = 1_000, 1_000_000, 5
PLACE = rasterio.Affine(10, 0, 580_000, 0, -10, 4_510_000)


def processor_time(action: Callable[[], Any]) -> float:
    """Seconds of processor time, which other load disturbs least."""
    started = time.process_time()
    action()
    return time.process_time() - started


def entries_of(chips: int) -> list[ChipEntry]:
    """Chips a hundred to a scene, each in a place of its own."""
    return [
        ChipEntry(
            f"{i // 100:05d}U_r{i % 100:03d}", f"{i // 100:05d}U", Georeference(WKT, (10, 0, i, 0, -10, 0))
        )
        for i in range(chips)
    ]


def finish(store: AugmentStore) -> None:
    """Says of all chips that they are complete, without maps: what is measured here never looks at those."""
    for positions in store.shards():
        states = np.full(len(positions), State.COMPLETE, np.uint8)
        store.array("state")[positions.start : positions.stop] = states


def cost_by_size(folder: Path, chips: int) -> dict[str, float]:
    """Processor time of each step on a store of so many chips: per chip, but for opening."""
    entries = entries_of(chips)
    path = folder / f"store_{chips}"
    store = AugmentStore.create(path, make_spec(), ChipShape(1, 16, 16))
    found = {"announce": processor_time(lambda: store.announce(entries)) / chips}
    finish(store)
    scenes = {entry.chip_id: entry.scene_id for entry in entries}
    chip_set: Any = SimpleNamespace(ids=tuple(scenes), georeference=lambda _: Georeference())
    wanted = entries[chips // 2].chip_id
    found["open"] = median(
        processor_time(lambda: AugmentStore.open(path).index(wanted)) for _ in range(REPEATS)
    )
    found["info"] = processor_time(lambda: summarize(AugmentStore.open(path))) / chips
    resumed = processor_time(lambda: entries_to_announce(chip_set, scenes, AugmentStore.open(path)))
    return {**found, "resume": resumed / chips}


@functools.cache
def costs() -> tuple[dict[str, float], list[dict[str, float]]]:
    """Costs with many chips, and those of several stores of few."""
    with tempfile.TemporaryDirectory() as folder:
        few = [cost_by_size(Path(folder) / str(repeat), FEW) for repeat in range(REPEATS)]
        many = cost_by_size(Path(folder), MANY)
    for step, cost in many.items():
        usual = median(one[step] for one in few)
        sys.stdout.write(
            f"{step}: {1e6 * cost:,.1f} µs with {MANY:,} chips, {1e6 * usual:,.1f} with {FEW:,}\n"
        )
    return many, few


def by_size(step: str) -> list[float]:
    """A step's cost with many chips over that with few."""
    many, few = costs()
    return [many[step] / one[step] for one in few]


def make_maps(identical: bool) -> dict[str, NDArray[np.uint8]]:
    """Class maps by chip; of distinct timesteps an eighth of the patches is drawn anew each time."""
    rng, maps = np.random.default_rng(0), {}
    for number in range(MAPS):
        one = class_map(rng, (1, 1, SIZE, SIZE))
        made = np.repeat(one, TIMESTEPS, axis=1)
        if not identical:
            other = class_map(rng, made.shape)
            new = (rng.random((1, TIMESTEPS, SIZE // 16, SIZE // 16)) < 1 / 8).repeat(16, -1).repeat(16, -2)
            made = np.where(new, other, made)
        maps[f"chip{number:03d}"] = made
    return maps


def write_files(folder: Path, maps: dict[str, NDArray[np.uint8]]) -> None:
    """The maps as GeoTIFFs and as npz, a file a chip."""
    for name, values in maps.items():
        profile = {"driver": "GTiff", "width": SIZE, "height": SIZE, "count": TIMESTEPS, "dtype": "uint8"}
        with rasterio.open(
            folder / f"{name}.tif", "w", **profile, compress="deflate", transform=PLACE
        ) as file:
            file.write(values[0])
        np.savez_compressed(folder / f"{name}.npz", lulc=values)


def read_tif(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        read: NDArray[Any] = file.read()
    return read


def read_npz(path: Path) -> NDArray[Any]:
    with np.load(path) as file:
        read: NDArray[Any] = file["lulc"]
    return read


@dataclass(frozen=True)
class Reading:
    """What the same maps cost from the store and from files.

    Attributes:
        seconds: Of each repeat, by row and by way: the median over the chips.
        sizes: Bytes on disk, by way.
    """

    seconds: dict[tuple[str, str], list[float]]
    sizes: dict[str, int]


@functools.cache
def reading(*, identical: bool) -> Reading:
    """Writes maps each way, reads them in turns, and makes sure that all ways give the same."""
    maps = make_maps(identical)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = {name: {"lulc": values} for name, values in maps.items()}
        entries = [ChipEntry(name, "s") for name in maps]
        made = make_store(
            folder / "s",
            MAPS,
            SIZE,
            TIMESTEPS,
            entries=entries,
            given=given,
            spec=make_spec(),
            shard_chips=32,
        )
        (folder / "files").mkdir()
        write_files(folder / "files", maps)
        sizes = {
            "store": sum(file.stat().st_size for file in (made.path / "lulc").rglob("*") if file.is_file()),
            "GeoTIFF": sum(file.stat().st_size for file in folder.glob("files/*.tif")),
            "npz": sum(file.stat().st_size for file in folder.glob("files/*.npz")),
        }
        seconds = read_in_turns(made.path, folder / "files", maps)
    for (row, way), each in seconds.items():
        sys.stdout.write(f"{row}: {1e3 * median(each):.2f} ms from {way}\n")
    return Reading(seconds, sizes)


def read_in_turns(
    path: Path, files: Path, maps: dict[str, NDArray[np.uint8]]
) -> dict[tuple[str, str], list[float]]:
    """Seconds by the clock that one chip takes; first of a store just opened, then of an epoch."""
    rng = np.random.default_rng(1)
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(REPEATS):
        ways = ways_to_read(AugmentStore.open(path), files)
        for row in ("chip", "epoch"):
            order = rng.permutation(list(maps)).tolist()
            for way, read in ways.items():
                each = [clock(functools.partial(read, name)) for name in order]
                seconds.setdefault((row, way), []).append(median(each))
    for name, values in maps.items():
        assert all(np.array_equal(read(name).reshape(values.shape), values) for read in ways.values())
    return seconds


def ways_to_read(store: AugmentStore, files: Path) -> dict[str, Callable[[str], NDArray[Any]]]:
    """How one chip is read, by name of the format."""
    return {
        "store": lambda name: store.read(name, "lulc"),
        "GeoTIFF": lambda name: read_tif(files / f"{name}.tif"),
        "npz": lambda name: read_npz(files / f"{name}.npz"),
    }


def clock(action: Callable[[], Any]) -> float:
    """Seconds by the clock."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def against(row: str, way: str) -> Sequence[float]:
    """The store's seconds or bytes over those of another format."""
    found = reading(identical=row.startswith("same"))
    if row.endswith("bytes"):
        return [found.sizes["store"] / found.sizes[way]]
    pairs = zip(found.seconds[row, "store"], found.seconds[row, way], strict=True)
    return [ours / theirs for ours, theirs in pairs]


WHAT = {
    "chip": "one random chip of lulc, T = 4, 256 px, read first",
    "epoch": "a chip in a shuffled epoch",
    "bytes": "bytes of the maps",
    "same-bytes": "bytes of maps with equal timesteps",
}
STEPS = {
    "announce": "announcing, per chip, of 1,000,000",
    "info": "info, per chip, of 1,000,000",
    "resume": "resuming, per chip, of 1,000,000",
}
OPEN_SECONDS = 1.5
"""Processor time that opening a store of a million chips and finding one may take."""

TABLE = (
    Row(
        "open",
        "opening, and finding a chip of 1,000,000",
        f"{OPEN_SECONDS} s",
        lambda: [costs()[0]["open"] / OPEN_SECONDS],
        at_most=1.0,
    ),
    *(
        Row(step, what, "of 1,000", functools.partial(by_size, step), at_most=1.5)
        for step, what in STEPS.items()
    ),
    *(
        Row(f"{row}-{way.lower()}", what, f"{way} a chip", functools.partial(against, row, way), at_most=1.0)
        for row, what in WHAT.items()
        for way in ("GeoTIFF", "npz")
        if way == "GeoTIFF" or row.endswith("bytes")  # npz compares no digest, and is read faster
    ),
)
