"""Synthetic stores for tests: blobs of classes with plausible confidences, on a grid of neighbouring chips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference
from augment_store.maps.continuous import ContinuousMap
from augment_store.maps.registry import MAPS
from augment_store.modalities import PATCH_SIZE
from augment_store.records import ChipEntry, ChipRecord
from augment_store.schema import Extent
from augment_store.spec import GenerationSpec, InputSpec, SamplingSpec
from augment_store.store import AugmentStore

WKT = (
    'PROJCS["WGS 84 / UTM zone 18N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,'
    'AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",-75],PARAMETER["scale_factor",0.9996],'
    'PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1],AUTHORITY["EPSG","32618"]]'
)


def make_spec(modality: str = "LULC", samples: int = 1, *, probabilities: bool = False) -> GenerationSpec:
    """A spec of a generator nobody ran."""
    return GenerationSpec(
        generator="terramind_v1_tiny",
        weights="random",
        network_sha256="0" * 64,
        tokenizer_sha256="1" * 64,
        modality=modality,
        inputs=(InputSpec("DEM", "native", 0.0, (670.665,), (951.272,)),),
        sampling=SamplingSpec(1.0, 0, 0.0, 1, samples, 42, None),
        probabilities=probabilities,
        precision="32-true",
        device="cpu",
        versions={"torch": "2.14.1"},
    )


def grid_reference(row: int, column: int, size: int) -> Georeference:
    """Georeference of the chip at a place of a 10 m grid in UTM zone 18N."""
    west, north = 580_000.0 + column * size * 10, 4_510_000.0 - row * size * 10
    return Georeference(WKT, (10.0, 0.0, west, 0.0, -10.0, north))


def make_entries(chips: int, size: int, columns: int = 4, scenes: int = 2) -> list[ChipEntry]:
    """Chips row by row on a grid; whole rows belong to a scene."""
    rows = -(-chips // columns)
    entries = []
    for position in range(chips):
        row, column = divmod(position, columns)
        scene = f"scene{row * scenes // rows}"
        entries.append(ChipEntry(f"{scene}_r{row}c{column}", scene, grid_reference(row, column, size)))
    return entries


def class_map(rng: np.random.Generator, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Land cover in blocks of 8 × 8 pixels, so that maps look like maps and compress like them."""
    *lead, height, width = shape
    blocks = rng.choice(np.array([1, 2, 4, 5, 9], np.uint8), size=(*lead, height // 8, width // 8))
    return blocks.repeat(8, axis=-2).repeat(8, axis=-1)


def make_arrays(
    rng: np.random.Generator, spec: GenerationSpec, extent: Extent, **given: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Every array of one chip; what is given replaces what would be drawn."""
    samples, time, size = spec.sampling.samples, extent.timesteps, extent.size
    pixels, side = (samples, time, size, size), size // PATCH_SIZE
    arrays: dict[str, NDArray[Any]] = {
        "tokens": rng.integers(0, 4375, (samples, time, side, side)).astype(np.uint16),
        "token_probability": rng.uniform(0.01, 0.9, (samples, time, side, side)).astype(np.float32),
        "input_digest": rng.integers(0, 256, (time, 16)).astype(np.uint8),
        "timestep_source": np.arange(time, dtype=np.int16),
    }
    kind = MAPS[spec.modality]
    if isinstance(kind, ContinuousMap):
        bands = (len(kind.modality.bands),) if kind.banded else ()
        mean, std = kind.modality.mean[0], kind.modality.std[0]
        values = rng.uniform(mean - std, mean + std, (samples, time, *bands, size, size))
        arrays[kind.array] = kind.store(values)
    else:
        arrays["lulc"] = class_map(rng, pixels)
        arrays["confidence"] = rng.integers(120, 256, pixels).astype(np.uint8)
    if spec.probabilities:
        arrays["probabilities"] = rng.integers(0, 256, (time, 10, size, size)).astype(np.uint8)
    arrays |= given
    for array in spec.arrays:  # every timestep is filled, by a copy where another one stands for it
        arrays[array.name] = arrays[array.name].take(arrays["timestep_source"], axis=array.time_axis)
    return arrays


def make_store(
    path: Path,
    chips: int = 8,
    size: int = 32,
    timesteps: int = 1,
    *,
    spec: GenerationSpec | None = None,
    entries: Sequence[ChipEntry] | None = None,
    pending: int = 0,
    given: Mapping[str, Mapping[str, NDArray[Any]]] | None = None,
    failed: Mapping[str, str] | None = None,
    shard_chips: int = 4,
    seed: int = 7,
) -> AugmentStore:
    """A store on a grid, its last `pending` chips not generated yet.

    Args:
        path: Folder to write to.
        chips: Number of chips.
        size: Side of a chip in pixels.
        timesteps: Number of timesteps.
        spec: Generation spec; one sample of LULC where None.
        entries: The chips; on a grid where None.
        pending: How many chips stay pending.
        given: Arrays by chip id that replace those drawn.
        failed: Errors by chip id.
        shard_chips: Chips per shard.
        seed: Of everything drawn.
    """
    spec, extent, rng = spec or make_spec(), Extent(timesteps, size), np.random.default_rng(seed)
    store = AugmentStore.create(path, spec, extent, shard_chips)
    store.announce(entries or make_entries(chips, size))
    for shard, positions in enumerate(store.shards()):
        records = []
        for position in positions[: max(0, chips - pending - positions.start)]:
            chip_id = store.chip_ids[position]
            if chip_id in (failed or {}):
                records.append(ChipRecord(chip_id, {}, (failed or {})[chip_id]))
            else:
                arrays = make_arrays(rng, spec, extent, **(given or {}).get(chip_id, {}))
                records.append(ChipRecord(chip_id, arrays))
        if records:
            store.write_shard(shard, records)
    return store


def store_of_chips(path: Path, chips: ChipSet, inputs: Sequence[str], samples: int = 2) -> AugmentStore:
    """A store whose generated maps are the chips' own LULC rasters, one sample disturbed in blocks."""
    spec = make_spec(samples=samples)
    spec = GenerationSpec.from_dict(
        {**spec.to_dict(), "inputs": [{**spec.to_dict()["inputs"][0], "name": name} for name in inputs]}
    )
    from augment_store.chips.rasters import read_raster

    first = chips.read(chips.ids[0], inputs)
    extent, rng = Extent(first.timesteps, first.size), np.random.default_rng(5)
    store = AugmentStore.create(path, spec, extent)
    store.announce([ChipEntry(i, i.rsplit("_", 2)[0], chips.georeference(i)) for i in chips.ids])
    records = []
    for chip_id in chips.ids:
        truth = read_raster(chips.root.parent / "terramesh_examples/LULC" / f"{chip_id}.tif")[0, 0]
        maps = np.broadcast_to(truth, (samples, extent.timesteps, *truth.shape)).astype(np.uint8)
        wrong = (rng.random((samples, extent.timesteps, 14, 14)) < 0.12).repeat(16, -1).repeat(16, -2)
        wrong[0] = False
        maps = np.where(wrong, class_map(rng, maps.shape), maps)
        edges = np.abs(np.gradient(truth.astype(float))).sum(axis=0) > 0
        sure = np.where(edges, 0.55, 0.92) + rng.normal(0, 0.04, maps.shape)
        sure[wrong] -= 0.4
        arrays = make_arrays(
            rng, spec, extent, lulc=maps, confidence=np.clip(sure * 255, 30, 255).astype(np.uint8)
        )
        arrays["input_digest"] = chips.read(chip_id, inputs).digests()
        records.append(ChipRecord(chip_id, arrays))
    store.write_shard(0, records)
    return store
