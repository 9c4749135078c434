"""Small synthetic chip sets in the ImpactMesh layout, and stores for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import yaml
import zarr
from rasterio.transform import from_origin
from zarr.storage import ZipStore

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.scenes import scenes_by_pattern
from augment_store.entries import ChipEntry
from augment_store.maps.registry import CONTINUOUS
from augment_store.schema import Extent
from augment_store.spec import GenerationSpec, InputSpec, SamplingSpec
from augment_store.store import AugmentStore, ChipRecord
from finetune.options import find_config

SPLITS = {
    "train": ("alpha_0_0", "alpha_0_1", "bravo_0_0", "bravo_0_1"),
    "val": ("charlie_0_0", "charlie_0_1"),
    "test": ("delta_0_0", "delta_0_1", "echo_0_0"),
}


@dataclass(frozen=True)
class World:
    """A chip set and the labels of its chips."""

    root: Path
    size: int
    timesteps: int

    @property
    def chips(self) -> ChipSet:
        return ChipSet.open(self.root, "impactmesh")

    @property
    def ids(self):
        return self.chips.ids

    def labels(self, chip_id: str) -> np.ndarray:
        return self.chips.mask(chip_id)


def make_world(root: Path, size=32, timesteps=4, splits=SPLITS, seed=0, brightness=(200, 4000)) -> World:
    """Chips of noise whose labels are in nothing but the mask."""
    rng = np.random.default_rng(seed)
    (root / "split").mkdir(parents=True)
    for folder in ("S2L2A", "S1RTC", "DEM", "MASK"):
        (root / "data" / folder).mkdir(parents=True)
    for split, ids in splits.items():
        (root / "split" / f"impactmesh_flood_{split}.txt").write_text("\n".join(ids) + "\n")
        for chip_id in ids:
            write_chip(root, chip_id, size, timesteps, rng, brightness)
    return World(root, size, timesteps)


def write_chip(root: Path, chip_id: str, size: int, timesteps: int, rng, brightness=(200, 4000)) -> None:
    shape = (size, size)
    optical = rng.integers(*brightness, (timesteps, 12, *shape)).astype(np.int16)
    radar = rng.normal(-12, 4, (timesteps, 2, *shape)).astype(np.float16)
    write_zarr(root / f"data/S2L2A/{chip_id}_S2L2A.zarr.zip", optical)
    write_zarr(root / f"data/S1RTC/{chip_id}_S1RTC.zarr.zip", radar)
    write_tif(root / f"data/DEM/{chip_id}_DEM.tif", rng.integers(0, 300, shape).astype(np.int16))
    labels = np.kron(rng.integers(0, 5, (size // 16, size // 16)), np.ones((16, 16))).astype(np.int8)
    labels[0, :3] = -1
    write_tif(root / f"data/MASK/{chip_id}_annotation_flood.tif", labels)


def write_zarr(path: Path, values: np.ndarray) -> None:
    path.unlink(missing_ok=True)
    with ZipStore(path, mode="w") as store:
        group = zarr.open_group(store, mode="w", zarr_format=2)
        array = group.create_array("bands", shape=values.shape, dtype=values.dtype, chunks=values.shape)
        array[...] = values


def write_tif(path: Path, values: np.ndarray) -> None:
    place = {"crs": "EPSG:32618", "transform": from_origin(580000, 4510000, 10, 10)}
    profile = {"driver": "GTiff", "height": values.shape[0], "width": values.shape[1], "count": 1}
    with rasterio.open(path, "w", dtype=values.dtype, **profile, **place) as target:
        target.write(values, 1)


def tiny_options(world: World, config: str, architecture="terramind_v1_tiny") -> list[str]:
    """Options that shrink a YAML, a file or a shipped name, to the tiny backbone and train it on a world's chips."""
    model = yaml.safe_load(find_config(config, Path()).read_text())["model"]["init_args"]["model_args"]
    key = "backbone_architecture" if "backbone_architecture" in model else "backbone"
    return [
        *("--config", config, "--chips", str(world.root), "--weights", "random"),
        *(f"--model.init_args.model_args.{key}", architecture),
        *("--model.init_args.model_args.decoder_channels", "[16,8,8,8]"),
        *("--data.init_args.batch_size", "2", "--data.init_args.num_workers", "0"),
        *("--trainer.accelerator", "cpu", "--trainer.enable_model_summary", "false"),
    ]


def make_spec(modality="LULC", samples=1, probabilities=False, inputs=("S2L2A", "S1RTC", "DEM")):
    sampling = SamplingSpec(1.0, 0, 0.8, 1, samples, 7, 10 if modality == "NDVI" else None)
    return GenerationSpec(
        generator="terramind_v1_tiny",
        weights="random",
        network_sha256="0" * 64,
        tokenizer_sha256="1" * 64,
        modality=modality,
        inputs=tuple(InputSpec(name, "native", 0.0, (0.0,), (1.0,)) for name in inputs),
        sampling=sampling,
        probabilities=probabilities,
        precision="32-true",
        device="cpu",
        versions={"torch": "test"},
    )


def make_store(world: World, path: Path, spec=None, ids=None, arrays=None) -> AugmentStore:
    """A store for a world; `arrays(chip_id, rng)` may override what a chip gets."""
    spec = spec or make_spec()
    store = AugmentStore.create(path, spec, Extent(world.timesteps, world.size), shard_chips=4)
    scenes = scenes_by_pattern(world.ids)
    store.announce([ChipEntry(chip_id, scenes[chip_id]) for chip_id in world.ids])
    done = world.ids if ids is None else ids
    for number, shard in enumerate(store.shards()):
        members = [store.chip_ids[place] for place in shard if store.chip_ids[place] in done]
        records = [_record(world, spec, chip_id, arrays) for chip_id in members]
        store.write_shard(number, records)
    return store


def _record(world: World, spec: GenerationSpec, chip_id: str, arrays) -> ChipRecord:
    rng = np.random.default_rng(sum(chip_id.encode()))
    samples, time, size = spec.sampling.samples, world.timesteps, world.size
    pixels, side = (samples, time, size, size), size // 16
    chip = world.chips.read(chip_id, [entry.name for entry in spec.inputs])
    made = {
        "tokens": rng.integers(0, 4375, (samples, time, side, side)).astype(np.uint16),
        "token_probability": rng.uniform(0.01, 0.9, (samples, time, side, side)).astype(np.float32),
        "lulc": rng.integers(0, 10, pixels).astype(np.uint8),
        "confidence": rng.integers(0, 256, pixels).astype(np.uint8),
        "ndvi": rng.integers(-10000, 10001, pixels).astype(np.int16),
        "probabilities": rng.integers(0, 256, (time, 10, size, size)).astype(np.uint8),
        "input_digest": chip.digests(),
        "timestep_source": np.arange(time, dtype=np.int16),
    }
    made |= {
        kind.array: rng.integers(
            0, 900, (samples, time, *[len(kind.modality.bands)] * kind.banded, size, size)
        ).astype(np.int16)
        for kind in CONTINUOUS.values()
        if kind.array not in made
    }
    return ChipRecord(chip_id, made | (arrays(chip_id, rng) if arrays else {}))


def labels_as_lulc(world: World):
    """Maps that predict the mask: class number is label + 1, and 0 where it is ignored."""

    def arrays(chip_id, rng):
        lulc = (world.labels(chip_id) + 1).astype(np.uint8)
        return {"lulc": np.broadcast_to(lulc, (1, world.timesteps, *lulc.shape)).copy()}

    return arrays
