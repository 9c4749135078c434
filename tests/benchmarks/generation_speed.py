"""Rows of generation against upstream's own `forward`: `python -m tests.benchmarks identical distinct …`.

Random weights, TerraMind tiny at 224 px, S2L2A + S1RTC + DEM → LULC; on a GPU sixteen images at a time.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch

from augment_store.chips.units import Units
from augment_store.store.schema import ChipShape
from augment_store.store.writer import AugmentStore
from generate.data.datamodule import ChipDataModule, ChipReader
from generate.lightning_module import GenerationModule
from generate.model.map_decoder import ImageKey
from generate.model.terramind import LoadedGenerator, load_generator
from generate.options import GenerateOptions
from generate.plan import build_spec, entries_to_announce, find_scenes
from generate.store_writer import StoreWriter
from terramind_weights.catalog import PUBLISHED
from tests.benchmarks.table import DEVICE, Row, paired
from tests.worlds import make_sampling, rasters

INPUTS = ("S2L2A", "S1RTC", "DEM")
SIZE, CHIPS = 224, 4
BATCH = 16 if DEVICE == "cuda" else 1
SAMPLING = make_sampling()


def load(size: str = "tiny", batch: int = BATCH) -> LoadedGenerator:
    """Our generator on the device."""
    loaded = load_generator(PUBLISHED[f"terramind_v1_{size}"], INPUTS, "LULC", SAMPLING, "random")
    loaded.module.to(DEVICE).network_batch = batch
    return loaded


def upstream(size: str = "tiny") -> Any:
    """TerraTorch's generator on the device."""
    from terratorch.registry import TERRATORCH_FULL_MODEL_REGISTRY

    architecture = PUBLISHED[f"terramind_v1_{size}"].architecture
    model = TERRATORCH_FULL_MODEL_REGISTRY.build(
        architecture, modalities=list(INPUTS), output_modalities=["LULC"], pretrained=False
    )
    return model.eval().to(torch.device(DEVICE))


def images(count: int, size: int = SIZE) -> dict[str, torch.Tensor]:
    """Images in pretraining units on the device."""
    made = [rasters(seed, size) for seed in range(count)]
    return {
        name: torch.from_numpy(np.concatenate([one[name] for one in made]).astype(np.float32)).to(DEVICE)
        for name in INPUTS
    }


@torch.no_grad()
def forward(model: Any, given: dict[str, torch.Tensor]) -> None:
    """Upstream's bare forward, in batches as large as ours."""
    for first in range(0, len(given["DEM"]), BATCH):
        batch = {name: image[first : first + BATCH].clone() for name, image in given.items()}
        model(batch, standardize=True)["LULC"].argmax(1).cpu()


class Pipeline:
    """A run without its start: reading, generating and writing chips of four timesteps."""

    def __init__(self, folder: Path, *, identical: bool) -> None:
        root, ids = folder / "chips", [f"s_r{i:03d}c000" for i in range(CHIPS)]
        if identical:
            ids = [f"{chip_id}_same" for chip_id in ids]
        write_chips(root, ids, identical=identical)
        options = GenerateOptions(
            root, folder / "store", weights="random", generator="terramind_v1_tiny", network_batch=BATCH
        )
        request, loaded = options.request(), load()
        self.chips = request.inputs.chip_set
        self.spec = build_spec(request.maps, request.inputs, loaded, "32-true", DEVICE)
        self.module = GenerationModule(loaded.module, probabilities=False)
        self.folder, self.runs = folder, 0

    def __call__(self) -> None:
        """Generates all chips into a new store."""
        self.runs += 1
        extent, path = ChipShape(4, SIZE, SIZE), self.folder / f"store{self.runs}"
        store = AugmentStore.create(path, self.spec, extent, 32)
        store.announce(entries_to_announce(self.chips, find_scenes(self.chips, None, store), store))
        reader = ChipReader(self.chips, INPUTS, Units(), extent)
        trainer = lightning.Trainer(
            accelerator="gpu" if DEVICE == "cuda" else "cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[StoreWriter(path)],
        )
        data = ChipDataModule(reader, path, self.spec, threads=2)
        trainer.predict(self.module, datamodule=data, return_predictions=False)


def write_chips(root: Path, ids: Sequence[str], *, identical: bool) -> None:
    """Chips of four timesteps, all different or all the same."""
    from tests.worlds import write_tif, write_zarr_zip

    for seed, chip_id in enumerate(ids):
        made = rasters(seed, SIZE, 1 if identical else 4)
        for name in ("S2L2A", "S1RTC"):
            series = np.repeat(made[name], 4, axis=0) if identical else made[name]
            write_zarr_zip(root / "data" / name / f"{chip_id}_{name}.zarr.zip", series)
        write_tif(root / "data" / "DEM" / f"{chip_id}_DEM.tif", made["DEM"][0])


def against_forward(*, identical: bool) -> list[float]:
    """Upstream's seconds for four timesteps a chip over those of a whole run."""
    with tempfile.TemporaryDirectory() as folder:
        ours, model, given = Pipeline(Path(folder), identical=identical), upstream(), images(4 * CHIPS)
        return paired(lambda: forward(model, given), ours)


def batches() -> list[float]:
    """Seconds one image at a time over seconds in batches of four."""
    one, four, given = load(batch=1).module, load(batch=4).module, images(4)
    owners = [ImageKey(str(slot), 0) for slot in range(4)]

    def singly() -> None:
        for slot, owner in enumerate(owners):
            one.generate({name: image[slot : slot + 1] for name, image in given.items()}, [owner])

    return paired(singly, lambda: four.generate(given, owners), repeats=5)


def tokens_alone() -> list[float]:
    """Seconds with maps over seconds for tokens alone, of images in the same batches."""
    whole, alone, given = load().module, load().module, images(BATCH)
    alone.decodes = False
    owners = [ImageKey(str(slot), 0) for slot in range(BATCH)]
    return paired(lambda: whole.generate(given, owners), lambda: alone.generate(given, owners), repeats=5)


def bf16() -> list[float]:
    """Share of pixels that bf16-mixed changes, image by image; the share of tokens is printed."""
    module, shares, tokens = load("tiny", 1).module, [], []
    for slot in range(4):
        image = {name: values[slot : slot + 1] for name, values in images(4).items()}
        exact = module.generate(image, [ImageKey(str(slot), 0)])
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            mixed = module.generate(image, [ImageKey(str(slot), 0)])
        tokens.append((exact.tokens != mixed.tokens).float().mean().item())
        classes = exact.decoded.argmax(2), mixed.decoded.argmax(2)
        shares.append((classes[0] != classes[1]).float().mean().item())
    sys.stdout.write(f"bf16-mixed changes {100 * np.mean(tokens):.1f} % of tokens\n")
    return shares


OURS = """
import sys
from pathlib import Path
from generate.model.map_decoder import ImageKey
from generate.model.terramind import load_generator
from terramind_weights.catalog import PUBLISHED
from tests.benchmarks.generation_speed import INPUTS, SAMPLING, DEVICE, images
module = load_generator(PUBLISHED[sys.argv[1]], INPUTS, "LULC", SAMPLING, sys.argv[2]).module.to(DEVICE)
module.generate(images(1), [ImageKey("chip", 0)])
"""
THEIRS = """
import sys, torch
from terratorch.registry import TERRATORCH_FULL_MODEL_REGISTRY
from tests.benchmarks.generation_speed import DEVICE, INPUTS, forward, images
from terramind_weights.catalog import PUBLISHED
import terratorch.models.backbones.terramind.tokenizer.tokenizer_register as tokenizers
import terratorch.models.backbones.terramind.model.terramind_register as models
def local(repo_id, filename, **_):
    return f"{sys.argv[2]}/{filename}"
tokenizers.hf_hub_download = models.hf_hub_download = local
model = TERRATORCH_FULL_MODEL_REGISTRY.build(
    PUBLISHED[sys.argv[1]].architecture, modalities=list(INPUTS), output_modalities=["LULC"], pretrained=True
).eval().to(torch.device(DEVICE))
forward(model, images(1))
"""


def cost(script: str, generator: str, weights: Path) -> tuple[float, float]:
    """Processor seconds and peak memory in GB of a process that loads weights and makes one image."""
    tail = "\nimport json, time\nfrom tests.benchmarks.table import peak_memory\n"
    tail += "print(json.dumps([time.process_time(), peak_memory()]))"
    words = [sys.executable, "-W", "ignore", "-c", script + tail, generator, str(weights)]
    found = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    used, peak = json.loads(found.splitlines()[-1])
    return used, peak


def write_weights(folder: Path, size: str) -> None:
    """Random weights in the published layout, with the parts of the tokenizer that generation does not need."""
    source, model = PUBLISHED[f"terramind_v1_{size}"], upstream(size).cpu()
    torch.save(dict(model.sampler.model.state_dict()), folder / source.network.filename)
    torch.save(
        dict(model.tokenizer["tok_lulc@224"].state_dict()), folder / source.tokenizers["LULC"].filename
    )


@functools.cache
def costs_of_loading(size: str) -> list[list[tuple[float, float]]]:
    """Of our process and theirs, by turns: processor seconds and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        write_weights(Path(folder), size)
        return [
            [cost(script, f"terramind_v1_{size}", Path(folder)) for script in (OURS, THEIRS)]
            for _ in range(3)
        ]


def loading(part: int, size: str = "base") -> list[float]:
    """Ours over theirs in processor seconds (part 0) or in peak memory (part 1)."""
    return [ours[part] / theirs[part] for ours, theirs in costs_of_loading(size)]


def processes(few: int = 8, many: int = 40) -> list[float]:
    """Seconds of one process over those of two for the same chips, one thread each; starts are subtracted."""
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), []
        for count in (few, many):
            ids = [f"s_r{i:03d}c000" for i in range(count)]
            write_chips(folder / str(count), ids, identical=False)
        for repeat in range(3):
            one, two = (
                [
                    generate_seconds(folder / str(count), folder / f"{repeat}_{devices}_{count}", devices)
                    for count in (few, many)
                ]
                for devices in (1, 2)
            )
            found.append((one[1] - one[0]) / (two[1] - two[0]))
    return found


def generate_seconds(chips: Path, store: Path, devices: int) -> float:
    """Seconds by the clock that `python -m generate` takes on so many processes."""
    words = [
        sys.executable,
        "-m",
        "generate",
        "--chips",
        str(chips),
        "--store",
        str(store),
        "--weights",
        "random",
    ]
    words += ["--generator", "terramind_v1_tiny", "--accelerator", "cpu", "--devices", str(devices)]
    started = time.perf_counter()
    subprocess.run(
        [*words, "--shard-chips", "2"],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return time.perf_counter() - started


FORWARD = "upstream's bare forward over the four"
TABLE = (
    Row(
        "identical",
        "whole run, four identical timesteps",
        FORWARD,
        lambda: against_forward(identical=True),
        at_least=3.6,
    ),
    Row(
        "distinct",
        "whole run, four distinct timesteps",
        FORWARD,
        lambda: against_forward(identical=False),
        at_least=0.98,
    ),
    Row("tokens", "tokens alone, tiny", "tokens and maps", tokens_alone, at_least=3.0),
    Row("batches", "images in batches of four", "one image at a time", batches),
    Row("bf16", "pixels changed by --precision bf16-mixed", "all pixels", bf16),
    Row("start", "import to first chip, base", "upstream's", lambda: loading(0), at_most=1.0),
    Row("memory", "peak memory, base", "upstream's", lambda: loading(1), at_most=0.85),
    Row(
        "processes",
        "generating on one core, a process",
        "two processes on two cores",
        processes,
        at_least=1.7,
    ),
)
