"""What `tim-predict` promises of a scene, measured: `python -m tests.benchmarks.scene_maps seams|tiled|kills|memory`.

`seams`: a scene of 4 × 4 chips of the demo's world against its chips one by one: agreement near and far from the former
seams, accuracy, and how much the probabilities change across the borders of windows. `tiled`: time and agreement
against TerraTorch's tiled inference. `kills`: SIGKILL at random times, resumed. `memory`: peak memory of a synthetic
scene, of which a strip of columns is mapped, so that large scenes can be measured too.
"""

from __future__ import annotations

import argparse
import cProfile
import inspect
import json
import os
import pstats
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from terratorch.tasks import SemanticSegmentationTask
from terratorch.tasks.tiled_inference import tiled_inference
from torch import Tensor

from augment_store.modalities.definitions import PATCH_SIZE
from augment_store.testing import EAST, NORTH, S2_MEDIANS, write_tif
from demo.world.scenes import CHIP_SIDE, Raster, draw_scene
from predict.blocks import StripFolder
from predict.cli import main as predict
from predict.cog import write_cog_of_strips
from predict.generated_maps import SceneGenerator
from predict.mapper import Mapper, load_mapper
from predict.network import WindowNetwork
from predict.options import PredictOptions
from predict.scene import RasterScene, SceneWindows
from predict.scene_map import map_scene
from predict.shares import Share
from predict.strips import Strip

SCENE = 90_000
"""Number of a scene that no demo run has seen."""

CHIPS = 4
NEAR = 16
"""Pixels from a former seam that count as near it."""

STRIP = 512
"""Columns of a synthetic scene that are mapped."""

STAGES = {
    "reading": (RasterScene.hold, RasterScene.read),
    "generating": (SceneGenerator.generate,),
    "predicting": (WindowNetwork._probabilities,),
    "blending": (Strip.add, Strip.take),
    "writing": (StripFolder.save, write_cog_of_strips),
}
"""Functions in which the time of a map goes; a generator's thread also reads, which counts as generating."""

Files = Mapping[str, Path]


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as source:
        values: NDArray[Any] = source.read()
    return values


def write_scene(folder: Path, raster: Raster) -> Files:
    """Write a scene of the demo's world, all dates in one file."""
    made = {"S2L2A": raster.s2l2a, "S1RTC": raster.s1rtc.astype(np.float32), "DEM": raster.dem[None, None]}
    files = {name: folder / f"{raster.name}_{name}.tif" for name in made}
    for name, values in made.items():
        write_tif(files[name], values.reshape(-1, *values.shape[-2:]))
    return files


def timed_map(run: Path, files: Files, out: Path, *words: str) -> float:
    """Map a scene and return the seconds that it took."""
    began = time.perf_counter()
    scene = [f"{name}={path}" for name, path in files.items()]
    status = predict([str(run), "--scene", *scene, "--out", str(out), "--quiet", *words])
    if status:
        raise SystemExit(status)
    return time.perf_counter() - began


def by_chip(run: Path, raster: Raster, folder: Path) -> NDArray[Any]:
    """Map a scene chip by chip; return the class probabilities ``[class, H, W]`` of all side by side."""
    rows = []
    for row in range(CHIPS):
        parts = []
        for column in range(CHIPS):
            name = f"{raster.name}_r{row}c{column}"
            chip = raster.window(name, row * CHIP_SIDE, column * CHIP_SIDE, CHIP_SIDE)
            out = folder / f"{name}.tif"
            # a chip of water alone is flat, at which the audit stops
            words = ("--layers", "probability", "--accept-audit")
            timed_map(run, write_scene(folder, chip), out, *words)
            parts.append(read(out.with_name(f"{name}_probability.tif")))
        rows.append(np.concatenate(parts, axis=2))
    return np.concatenate(rows, axis=1)


def step_ratio(shares: NDArray[Any], period: int) -> float:
    """Return the change of probabilities across multiples of `period`, over that across other borders of patches."""
    change = np.abs(np.diff(shares, axis=2)).mean(axis=(0, 1))
    # `change[i]` is from column i to column i + 1
    column = np.arange(1, shares.shape[2])
    border, patch = column % period == 0, column % PATCH_SIZE == 0
    return float(change[border].mean() / change[patch & ~border].mean())


def measure_seams(run: Path, folder: Path) -> dict[str, Any]:
    raster = draw_scene(SCENE, rows=CHIPS, columns=CHIPS, timesteps=2)
    seconds = timed_map(
        run, write_scene(folder, raster), folder / "map.tif", "--layers", "class", "probability"
    )
    classes, shares = read(folder / "map.tif")[0], read(folder / "map_probability.tif")
    chips = by_chip(run, raster, folder)
    agrees = classes == chips.argmax(axis=0)
    # distance of a pixel to the next border of a chip inside the scene
    offset = np.arange(CHIPS * CHIP_SIDE)
    nearest = np.abs(offset[:, None] - np.arange(1, CHIPS) * CHIP_SIDE + 0.5).min(axis=1)
    near = np.minimum(nearest[:, None], nearest[None]) < NEAR
    labeled = raster.mask >= 0
    return {
        "seconds of the scene": round(seconds, 1),
        "agreement with chips": float(agrees.mean()),
        f"agreement within {NEAR} px of a seam": float(agrees[near].mean()),
        "agreement elsewhere": float(agrees[~near].mean()),
        "accuracy of the scene": float((classes == raster.mask)[labeled].mean()),
        "accuracy of the chips": float((chips.argmax(axis=0) == raster.mask)[labeled].mean()),
        "step at borders of windows": step_ratio(shares, CHIP_SIDE // 2),
        "step at the scene's former seams": step_ratio(shares, CHIP_SIDE),
        "step at the chips' seams": step_ratio(chips, CHIP_SIDE),
    }


def whole_scene(mapper: Mapper, windows: SceneWindows) -> dict[str, Tensor]:
    """Read a scene as one window, standardized as a run's windows are, without generated maps."""
    [trained] = mapper.ensemble.runs
    whole = SceneWindows(windows.scene, windows.scene.shape, mapper.ensemble.modalities, trained.layout)
    network = WindowNetwork(trained, whole, mapper.device)
    images = network._dataset(whole.ids, None).read_images(whole.ids[0])
    standardize = trained.loaded.datamodule._standardise
    return {name: standardize(name, torch.from_numpy(image)[None]) for name, image in images.items()}


def tiled(task: SemanticSegmentationTask, images: Mapping[str, Tensor], **options: Any) -> NDArray[Any]:
    """Return the classes ``[H, W]`` by TerraTorch's tiled inference with our windows' size and step."""
    logits = tiled_inference(
        lambda shown, **rest: task(shown, **rest).output,
        images,
        crop=CHIP_SIDE,
        stride=CHIP_SIDE // 2,
        delta=8,  # with 0, TerraTorch 1.2 returns nothing
        batch_size=1,
        **options,
    )
    classes: NDArray[Any] = logits[0].argmax(dim=0).numpy()
    return classes


@torch.inference_mode()
def measure_tiled(run: Path, folder: Path) -> dict[str, Any]:
    """Map a scene with a run that reads no generated maps, by us and by TerraTorch on the whole scene at once."""
    raster = draw_scene(SCENE, rows=CHIPS, columns=CHIPS, timesteps=2)
    files = write_scene(folder, raster)
    given = PredictOptions(run, folder / "map.tif", {name: str(file) for name, file in files.items()})
    mapper = load_mapper(given, Share(0, 1))
    [trained] = mapper.ensemble.runs
    with mapper.open_scene() as windows:
        # the same code without loading, which both need
        began = time.perf_counter()
        map_scene(mapper, windows)
        ours = time.perf_counter() - began
        began = time.perf_counter()
        classes = tiled(trained.loaded.task, whole_scene(mapper, windows))
    theirs = time.perf_counter() - began
    return {
        "seconds": ours,
        "seconds of TerraTorch's tiled inference": theirs,
        "agreement": float((classes == read(folder / "map.tif")[0]).mean()),
    }


def in_child(*arguments: Any, kill_after: float | None = None) -> None:
    """Run `timed_map` in a forked process, which is killed after some seconds if it still runs."""
    child = os.fork()
    if not child:
        timed_map(*arguments)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def measure_kills(run: Path, folder: Path, times: int = 20) -> dict[str, Any]:
    raster = draw_scene(SCENE, rows=2, columns=2, timesteps=2)
    files, words = write_scene(folder, raster), ("--layers", "class", "probability")
    began = time.perf_counter()
    # forked, as what follows is; this process itself never runs the network, whose threads a fork would lose
    in_child(run, files, folder / "whole.tif", *words)
    whole = time.perf_counter() - began
    draw, equal, strips = random.Random(0), 0, []
    for number in range(times):
        out = folder / f"{number}.tif"
        in_child(run, files, out, *words, kill_after=draw.uniform(0, whole))
        strips.append(len(list(folder.glob(f".{number}.tif.strips/*.npz"))))
        in_child(run, files, out, *words)
        equal += all(
            np.array_equal(read(folder / f"{number}{layer}.tif"), read(folder / f"whole{layer}.tif"))
            for layer in ("", "_probability")
        )
    return {"seconds uninterrupted": whole, "killed": times, "equal": equal, "strips at the kills": strips}


def synthetic(folder: Path, side: int, dates: int) -> Files:
    """Write a scene of repeating blocks, whatever its size, block by block."""
    rng, block = np.random.default_rng(0), 512
    coarse = rng.normal(1, 0.4, (1, block // 4, block // 4)).clip(0.05).repeat(4, 1).repeat(4, 2)
    reflectance = np.tile(S2_MEDIANS, dates)[:, None, None] * coarse
    radar = np.concatenate([-12 + 3 * coarse, -19 + 3 * coarse] * dates)
    blocks = {"S2L2A": reflectance.astype(np.int16), "S1RTC": radar.astype(np.float32)}
    blocks["DEM"] = (100 * coarse).astype(np.int16)
    profile = {"driver": "GTiff", "height": side, "width": side, "tiled": True, "compress": "zstd"}
    profile |= {"blockxsize": block, "blockysize": block, "bigtiff": "if_safer", "crs": "EPSG:32618"}
    profile["transform"] = rasterio.transform.from_origin(EAST, NORTH, 10, 10)
    for name, values in blocks.items():
        given = {**profile, "count": len(values), "dtype": values.dtype}
        with rasterio.open(folder / f"scene_{name}.tif", "w", **given) as target:
            for top in range(0, side, block):
                for left in range(0, side, block):
                    height, width = min(block, side - top), min(block, side - left)
                    place = Window(left, top, width, height)
                    target.write(values[:, :height, :width], window=place)
    return {name: folder / f"scene_{name}.tif" for name in blocks}


def seconds_by_stage(profile: cProfile.Profile) -> dict[str, float]:
    """Return the seconds that a map spent in each stage."""
    found = pstats.Stats(profile).stats
    codes = {
        stage: [inspect.unwrap(each).__code__ for each in functions] for stage, functions in STAGES.items()
    }
    # a profile has file, line and name of a function, and its seconds as the fourth of what it knows
    return {
        stage: sum(found[code.co_filename, code.co_firstlineno, code.co_name][3] for code in each)
        for stage, each in codes.items()
    }


def measure_memory(run: Path, folder: Path, side: int, dates: int) -> dict[str, Any]:
    files = synthetic(folder, side, dates)
    west, mask = EAST, folder / "mask.geojson"
    east, south = EAST + 10 * min(STRIP, side), NORTH - 10 * side
    ring = [[west, NORTH], [east, NORTH], [east, south], [west, south], [west, NORTH]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    system = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32618"}}
    feature = {"type": "Feature", "properties": {}, "geometry": shape}
    mask.write_text(json.dumps({"type": "FeatureCollection", "crs": system, "features": [feature]}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    profile, began = cProfile.Profile(time.process_time), time.process_time()
    profile.runcall(timed_map, run, files, folder / "map.tif", "--mask", str(mask))
    seconds = time.process_time() - began
    mapped = side * min(STRIP, side) / 1e6
    return {
        "side": side,
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "peak MiB before the map": before // 1024,
        "megapixels mapped": mapped,
        "processor seconds per megapixel mapped": seconds / mapped,
        "of these": {stage: each / mapped for stage, each in seconds_by_stage(profile).items()},
    }


def main() -> None:
    """Measure one of them and print it as JSON."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.scene_maps", description=__doc__)
    parser.add_argument("what", choices=("seams", "tiled", "kills", "memory"))
    parser.add_argument("--run", type=Path, required=True, help="a run of the demo; tiled takes its baseline")
    parser.add_argument("--side", type=int, default=1024, help="side of the synthetic scene in pixels")
    parser.add_argument("--dates", type=int, default=2, help="timesteps that the run takes")
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if parsed.what == "memory":
            found = measure_memory(parsed.run, Path(folder), parsed.side, parsed.dates)
        else:
            measure = {"seams": measure_seams, "tiled": measure_tiled, "kills": measure_kills}[parsed.what]
            found = measure(parsed.run, Path(folder))
    sys.stdout.write(f"{json.dumps(found, indent=1)}\n")


if __name__ == "__main__":
    main()
