"""Small chip sets and stores, for tests of what builds on stores; numpy and rasterio suffice, no torch.

Everything drawn follows from the arguments: the same call makes the same chips, maps and digests.

>>> import tempfile
>>> data = make_example(Path(tempfile.mkdtemp()))
>>> data.store.read(data.chips.ids[0], "lulc").shape  # sample, time, y, x
(1, 2, 32, 32)
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import zarr
from numpy.typing import ArrayLike, NDArray
from rasterio.transform import from_origin
from zarr.storage import ZipStore

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference
from augment_store.chips.scenes import scenes_by_pattern
from augment_store.modalities.continuous import ContinuousMap
from augment_store.modalities.definitions import INPUT_MODALITIES
from augment_store.modalities.registry import MAPS
from augment_store.store.chip_index import ChipEntry
from augment_store.store.schema import ChipShape, map_arrays
from augment_store.store.spec import GenerationSpec, InputSpec, SamplingSpec
from augment_store.store.writer import AugmentStore, ChipRecord

Array = NDArray[Any]


EAST, NORTH = 580_000.0, 4_510_000.0
"""Upper left corner of the first chip, in UTM zone 18 N (New York City)."""
S2_MEDIANS = np.array([400, 480, 620, 610, 1100, 2170, 2480, 2640, 2720, 2770, 1890, 1150])
"""Reflectance × 10⁴ of each band of S2L2A, as the input audit expects of land."""


BANDS = {"S2L2A": 12, "S1RTC": 2, "DEM": 1}


Size = int | tuple[int, int]
"""Side of a square, or height and width, in pixels."""


def sides(size: Size) -> tuple[int, int]:
    """Return height and width."""
    return (size, size) if isinstance(size, int) else size


def rasters(seed: int, size: Size, timesteps: int = 1, contrast: float = 0.4) -> dict[str, Array]:
    """Draw values ``[T, C, H, W]`` that pass the input audit: brightness common to all bands, radar in dB, a slope.

    Args:
        seed: Seed of this chip.
        size: Side, or height and width, in pixels.
        timesteps: Number of timesteps of S2L2A and S1RTC; a DEM has one.
        contrast: Spread of the brightness, as a share of its mean.
    """
    rng, shape = np.random.default_rng(seed), sides(size)
    brightness = rng.normal(1, contrast, (timesteps, 1, *shape)).clip(0.05)
    noise = rng.normal(1, 0.03, (timesteps, 12, *shape))
    vv = rng.normal(-11, 4, (timesteps, 1, *shape))
    return {
        "S2L2A": (S2_MEDIANS[:, None, None] * brightness * noise).astype(np.int16),
        "S1RTC": np.concatenate([vv, vv - 6], axis=1).astype(np.float16),
        "DEM": (np.add.outer(*map(np.arange, shape)) + seed).astype(np.int16)[None, None],
    }


def blocks(rng: np.random.Generator, values: ArrayLike, shape: Sequence[int], side: int) -> Array:
    """Draw one of `values` for each block of side × side pixels, so that maps look like maps and compress like them."""
    *lead, height, width = shape
    drawn = rng.choice(np.asarray(values), size=(*lead, height // side, width // side))
    return drawn.repeat(side, axis=-2).repeat(side, axis=-1)


def class_map(rng: np.random.Generator, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Draw land cover: water, trees, crops, built area and rangeland."""
    return blocks(rng, np.array([1, 2, 4, 5, 9], np.uint8), shape, 8)


def write_tif(path: Path, raster: Array, east: float = EAST, north: float = NORTH) -> None:
    """Write ``[C, H, W]`` or ``[H, W]`` as a GeoTIFF of 10 m pixels in UTM zone 18 N."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    height, width = raster.shape[-2:]
    bands = raster.reshape(-1, height, width)
    profile: dict[str, Any] = {"driver": "GTiff", "count": len(bands), "dtype": raster.dtype}
    transform = from_origin(east, north, 10, 10)
    with rasterio.open(
        path, "w", **profile, height=height, width=width, crs="EPSG:32618", transform=transform
    ) as file:
        file.write(bands)


def write_zarr_zip(path: Path, raster: Array) -> None:
    """Write ``[T, C, H, W]`` as the array ``bands`` of a zipped Zarr v2 group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipStore(path, mode="w", compression=zipfile.ZIP_STORED) as store:
        group = zarr.create_group(store, zarr_format=2)
        array = group.create_array("bands", shape=raster.shape, dtype=raster.dtype, chunks=raster.shape)
        array[...] = raster


def write_folder_chips(root: Path, ids: Sequence[str], size: Size = 32) -> Path:
    """Write a chip set in the folder layout, of one timestep; return its root."""
    for seed, chip_id in enumerate(ids):
        for name, raster in rasters(seed, size).items():
            stored = raster[0].astype(np.float32) if name == "S1RTC" else raster[0]
            write_tif(root / name / f"{chip_id}.tif", stored, east=EAST + 10 * sides(size)[1] * seed)
    return root


def write_impactmesh_chip(root: Path, chip_id: str, made: Mapping[str, Array], east: float = EAST) -> None:
    """Write the files of one chip in the ImpactMesh layout, its `MASK` among them where there is one."""
    for name in ("S2L2A", "S1RTC"):
        write_zarr_zip(root / "data" / name / f"{chip_id}_{name}.zarr.zip", made[name])
    write_tif(root / "data" / "DEM" / f"{chip_id}_DEM.tif", made["DEM"], east)
    if "MASK" in made:
        write_tif(root / "data" / "MASK" / f"{chip_id}_annotation_flood.tif", made["MASK"], east)


def write_impactmesh_chips(root: Path, ids: Sequence[str], size: Size = 32, timesteps: int = 2) -> Path:
    """Write a chip set in the ImpactMesh layout, and return its root; every second chip has identical timesteps."""
    for seed, chip_id in enumerate(ids):
        made = rasters(seed, size, timesteps)
        if seed % 2:
            made = {name: np.repeat(r[:1], len(r), axis=0) for name, r in made.items()}
        write_impactmesh_chip(root, chip_id, made, EAST + 10 * sides(size)[1] * seed)
    return root


EXTENT = ChipShape(timesteps=2, height=32, width=32)


WKT = (
    'PROJCS["WGS 84 / UTM zone 18N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,'
    'AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",-75],PARAMETER["scale_factor",0.9996],'
    'PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1],AUTHORITY["EPSG","32618"]]'
)


def make_sampling(**changes: Any) -> SamplingSpec:
    """Describe one sample in one decoding step, as the command draws it; `changes` replace fields."""
    fields = {"temperature": 1.0, "top_k": 0, "top_p": 0.8, "decoding_steps": 1, "samples": 1, "seed": 0}
    return SamplingSpec(**{**fields, "diffusion_steps": None, **changes})


def make_spec(
    modality: str = "LULC", samples: int = 1, *, inputs: Sequence[str] = tuple(BANDS), **changes: Any
) -> GenerationSpec:
    """Describe a generation that nobody ran; `changes` replace fields."""
    statistics = {name: (INPUT_MODALITIES[name].mean, INPUT_MODALITIES[name].std) for name in inputs}
    fields = {
        "generator": "terramind_v1_tiny",
        "weights": "random",
        "network_sha256": "0" * 64,
        "tokenizer_sha256": "1" * 64,
        "modality": modality,
        "inputs": tuple(InputSpec(name, "native", 0.0, *given) for name, given in statistics.items()),
        "sampling": make_sampling(samples=samples),
        "probabilities": False,
        "precision": "32-true",
        "device": "cpu",
        "versions": {"torch": "2.9.1"},
    }
    return GenerationSpec(**{**fields, **changes})


def grid_reference(row: int, column: int, size: Size) -> Georeference:
    """Return the georeference of the chip at a row and column of a 10 m grid in UTM zone 18N."""
    height, width = sides(size)
    west, north = EAST + column * width * 10, NORTH - row * height * 10
    return Georeference(WKT, (10.0, 0.0, west, 0.0, -10.0, north))


def make_entries(chips: int, size: Size, columns: int = 4, scenes: int = 2) -> list[ChipEntry]:
    """List chips row by row on a grid; whole rows belong to a scene."""
    rows = -(-chips // columns)
    entries = []
    for position in range(chips):
        row, column = divmod(position, columns)
        scene = f"scene{row * scenes // rows}"
        entries.append(ChipEntry(f"{scene}_r{row}c{column}", scene, grid_reference(row, column, size)))
    return entries


def make_record(
    spec: GenerationSpec, chip_id: str, seed: int = 0, extent: ChipShape = EXTENT, **given: Array
) -> ChipRecord:
    """Draw every array of one chip, which follows from its id and the seed alone; `given` replaces what is drawn."""
    rng = np.random.default_rng([seed, *chip_id.encode()])
    shapes = {array.name: array.shape for array in map_arrays(spec, extent)}
    kind = MAPS[spec.modality]
    arrays: dict[str, Array] = {
        "tokens": rng.integers(0, 4375, shapes.get("tokens", ())).astype(np.uint16),
        "token_probability": rng.uniform(0.01, 0.9, shapes["token_probability"]).astype(np.float32),
        "input_digest": rng.integers(0, 256, (extent.timesteps, 16)).astype(np.uint8),
        "timestep_source": np.arange(extent.timesteps, dtype=np.int16),
        "series_index": np.tile(np.arange(extent.timesteps, dtype=np.int32), (len(spec.inputs), 1)),
    }
    if isinstance(kind, ContinuousMap):
        mean, std = kind.modality.mean[0], kind.modality.std[0]
        arrays[kind.array] = kind.store(rng.uniform(mean - std, mean + std, shapes[kind.array]))
    else:
        arrays["lulc"] = class_map(rng, shapes["lulc"])
        arrays["confidence"] = rng.integers(120, 256, shapes["confidence"]).astype(np.uint8)
    if spec.probabilities:
        arrays["probabilities"] = rng.integers(0, 256, shapes["probabilities"]).astype(np.uint8)
    arrays = {name: values for name, values in arrays.items() if name != "tokens" or name in shapes} | given
    for array in spec.arrays:  # every timestep is filled, by a copy where another one stands for it
        arrays[array.name] = arrays[array.name].take(arrays["timestep_source"], axis=array.time_axis)
    return ChipRecord(chip_id, arrays)


def make_store(
    path: Path,
    chips: int = 8,
    size: Size = 32,
    timesteps: int = 1,
    *,
    spec: GenerationSpec | None = None,
    entries: Sequence[ChipEntry] | None = None,
    pending: int | Collection[str] = 0,
    given: Mapping[str, Mapping[str, Array]] | None = None,
    failed: Mapping[str, str] | None = None,
    shard_chips: int = 4,
    seed: int = 0,
) -> AugmentStore:
    """Write a store of chips on a grid that exist nowhere else.

    Args:
        path: Folder to write to.
        chips: Number of chips.
        size: Side of a chip, or its height and width, in pixels.
        timesteps: Number of timesteps.
        spec: Generation spec; one sample of LULC where None.
        entries: The chips; on a grid where None.
        pending: How many chips, the last ones, are not generated yet; or which.
        given: Arrays by chip id that replace those drawn.
        failed: Errors by chip id.
        shard_chips: Chips per shard.
        seed: Seed for everything drawn.
    """
    spec, extent, failed = spec or make_spec(), ChipShape(timesteps, *sides(size)), failed or {}
    store = AugmentStore.create(path, spec, extent, shard_chips)
    store.announce(entries or make_entries(chips, size))
    left = set(store.chip_ids[chips - pending :] if isinstance(pending, int) else pending)
    for shard, positions in enumerate(store.shards()):
        ids = [store.chip_ids[position] for position in positions]
        records = [
            ChipRecord(chip_id, {}, failed[chip_id])
            if chip_id in failed
            else make_record(spec, chip_id, seed, extent, **(given or {}).get(chip_id, {}))
            for chip_id in ids
            if chip_id not in left
        ]
        if records:
            store.write_shard(shard, records)
    return store


def store_of(
    chips: ChipSet,
    path: Path,
    spec: GenerationSpec | None = None,
    *,
    given: Mapping[str, Mapping[str, Array]] | None = None,
    **options: Any,
) -> AugmentStore:
    """Write a store as if generated from a chip set: its ids, scenes, locations and digests.

    `options` are those of `make_store`.
    """
    spec, scenes = spec or make_spec(), scenes_by_pattern(chips.ids)
    names = [taken.name for taken in spec.inputs]
    read = {chip_id: chips.read(chip_id, names) for chip_id in chips.ids}
    arrays: dict[str, dict[str, Array]] = {
        chip_id: {
            "input_digest": chip.digests(),
            "series_index": chip.series_index(names),
            **(given or {}).get(chip_id, {}),
        }
        for chip_id, chip in read.items()
    }
    entries = [ChipEntry(chip_id, scenes[chip_id], chips.georeference(chip_id)) for chip_id in chips.ids]
    first = read[chips.ids[0]]
    return make_store(
        path,
        len(entries),
        first.shape,
        first.timesteps,
        spec=spec,
        entries=entries,
        given=arrays,
        **options,
    )


@dataclass(frozen=True)
class ExampleData:
    """A chip set and the store that goes with it.

    Attributes:
        chips: The chips on disk.
        store: A complete store of their maps, open for reading.
    """

    chips: ChipSet
    store: AugmentStore


def make_example(
    folder: Path, chips: int = 4, size: Size = 32, timesteps: int = 2, **options: Any
) -> ExampleData:
    """Write a chip set and a store as if generated from it.

    Args:
        folder: An empty folder; the chips go to ``chips`` in it, the store to ``store``.
        chips: Number of chips, two of each scene.
        size: Side of a chip, or its height and width, in pixels.
        timesteps: Timesteps of Sentinel-1 and Sentinel-2.
        **options: Of `store_of` and `make_store`, for example ``spec=make_spec("NDVI")``.
    """
    ids = [f"scene{number // 2}_r0c{number % 2}" for number in range(chips)]
    root = write_impactmesh_chips(folder / "chips", ids, size, timesteps)
    chip_set = ChipSet.open(root)
    return ExampleData(chip_set, AugmentStore.open(store_of(chip_set, folder / "store", **options).path))
