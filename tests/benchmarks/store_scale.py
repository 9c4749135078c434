"""What a store costs by its size, and to read: `python -m tests.benchmarks.store_scale [ROW …]`.

The rows compare in one run, by the median of paired repeats:

- ``announce``, ``info``, ``resume``: processor time per chip with many chips against a thousand (``--chips``).
- ``open``: seconds to open that store and find one chip, which every process that reads it pays.
- ``chip``: one random chip of `lulc` (T = 4, 256 px) that this process never read before, from the store, from a
  deflate GeoTIFF and from an npz. The store's digest over the values is compared then, which the others do not have.
- ``epoch``: every chip in shuffled order, after a first epoch.
- ``bytes``: of the same maps on disk.

Stores are synthetic; the maps that are read are class maps in blocks, an eighth of whose patches differs between
timesteps (``--identical``: none does). Files are read from a warm page cache.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from augment_store.chips.georeference import Georeference
from augment_store.entries import ChipEntry
from augment_store.inspect.info import summarize
from augment_store.schema import Extent, State
from augment_store.store import AugmentStore
from generate.plan import entries_to_announce
from tests.augment_store.stores import WKT, class_map, make_spec, make_store

SIZE, TIMESTEPS, MAPS = 256, 4, 128
PLACE = rasterio.Affine(10, 0, 580_000, 0, -10, 4_510_000)
ROWS = ("announce", "open", "info", "resume", "chip", "epoch", "bytes")


def timed(action: Callable[[], Any]) -> tuple[float, float]:
    """Seconds by the clock, and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


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


def cost_by_size(folder: Path, chips: int) -> dict[str, tuple[float, float]]:
    """Seconds and processor time of each step on a store of so many chips."""
    entries = entries_of(chips)
    path = folder / f"store_{chips}"
    store = AugmentStore.create(path, make_spec(), Extent(1, 16))
    found = {"announce": timed(lambda: store.announce(entries))}
    finish(store)
    scenes = {entry.chip_id: entry.scene_id for entry in entries}
    chip_set: Any = SimpleNamespace(ids=tuple(scenes), georeference=lambda _: Georeference())
    found["open"] = timed(lambda: AugmentStore.open(path).index(entries[chips // 2].chip_id))
    found["info"] = timed(lambda: summarize(AugmentStore.open(path)))
    found["resume"] = timed(lambda: entries_to_announce(chip_set, scenes, AugmentStore.open(path)))
    return found


def scale(folder: Path, rows: set[str], chips: int, repeats: int) -> None:
    """Prints the steps' costs at a thousand chips and at many."""
    few = [cost_by_size(folder / str(repeat), 1000) for repeat in range(repeats)]
    many = cost_by_size(folder, chips)
    for row in (name for name in many if name in rows):
        wall = statistics.median(found[row][0] for found in few)
        cpu = statistics.median(found[row][1] for found in few)
        line = f"{row}: 1,000 chips {wall * 1e3:.1f} ms, {chips:,} chips {many[row][0] * 1e3:.1f} ms"
        if row != "open":
            each = cpu / 1000 * 1e6, many[row][1] / chips * 1e6
            line += (
                f"; processor time per chip {each[0]:.1f} and {each[1]:.1f} µs, ratio {each[1] / each[0]:.2f}"
            )
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


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


def reading(folder: Path, rows: set[str], *, identical: bool, repeats: int) -> None:
    """Prints what chips of maps cost from the store and from files."""
    maps = make_maps(identical)
    given = {name: {"lulc": values} for name, values in maps.items()}
    entries = [ChipEntry(name, "s") for name in maps]
    store = make_store(
        folder / "s", MAPS, SIZE, TIMESTEPS, entries=entries, given=given, spec=make_spec(), shard_chips=32
    )
    files = folder / "files"
    files.mkdir()
    write_files(files, maps)
    store = AugmentStore.open(store.path)
    ways: dict[str, Callable[[str], NDArray[Any]]] = {
        "store": lambda name: store.read("lulc", name),
        "GeoTIFF": lambda name: read_tif(files / f"{name}.tif"),
        "npz": lambda name: read_npz(files / f"{name}.npz"),
    }
    for name, values in maps.items():
        assert all(np.array_equal(read(name).reshape(values.shape), values) for read in ways.values())
    rng, seconds = np.random.default_rng(1), {(row, way): [] for row in ("chip", "epoch") for way in ways}
    for _ in range(repeats):
        store = AugmentStore.open(store.path)  # which has proven nothing yet
        for row in ("chip", "epoch"):
            order = rng.permutation(list(maps)).tolist()
            for way, read in ways.items():
                each = [timed(functools.partial(read, name))[0] for name in order]
                seconds[row, way].append(statistics.median(each))
    for row in [row for row in ("chip", "epoch") if row in rows]:
        middle = {way: statistics.median(seconds[row, way]) for way in ways}
        compare(row, {way: f"{value * 1e3:.3f} ms" for way, value in middle.items()}, middle)
    if "bytes" in rows:
        sizes = {
            "store": sum(file.stat().st_size for file in (store.path / "lulc").rglob("*") if file.is_file()),
            "GeoTIFF": sum(file.stat().st_size for file in files.glob("*.tif")),
            "npz": sum(file.stat().st_size for file in files.glob("*.npz")),
        }
        compare("bytes", {way: f"{size / MAPS:,.0f}" for way, size in sizes.items()}, sizes)


def compare(row: str, shown: dict[str, str], values: dict[str, float]) -> None:
    ratios = {way: values["store"] / value for way, value in values.items() if way != "store"}
    listed = ", ".join(f"{way} {what}" for way, what in shown.items())
    sys.stdout.write(
        f"{row}: per chip {listed}; ratio {', '.join(f'{r:.2f} to {w}' for w, r in ratios.items())}\n"
    )
    sys.stdout.flush()


def main() -> None:
    """Measures the rows asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="rows to measure (default: all)")
    parser.add_argument("--chips", type=int, default=100_000, help="chips of the large store")
    parser.add_argument("--repeats", type=int, default=5, help="repeats that medians are taken of")
    parser.add_argument("--identical", action="store_true", help="maps whose timesteps are equal")
    parsed = parser.parse_args()
    rows = set(parsed.rows or ROWS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if rows & {"announce", "open", "info", "resume"}:
            scale(folder, rows, parsed.chips, parsed.repeats)
        if rows & {"chip", "epoch", "bytes"}:
            reading(folder, rows, identical=parsed.identical, repeats=parsed.repeats)


if __name__ == "__main__":
    main()
