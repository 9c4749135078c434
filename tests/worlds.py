"""What tests run on, made on the spot: chip sets, generation specs, stores, and options for a tiny training.

Everything drawn follows from the arguments: the same call makes the same chips, maps and digests.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
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
from finetune.options import find_config

Array = NDArray[Any]

# Chips -----------------------------------------------------------------------------------------------

S2_MEDIANS = np.array([400, 480, 620, 610, 1100, 2170, 2480, 2640, 2720, 2770, 1890, 1150])
BANDS = {"S2L2A": 12, "S1RTC": 2, "DEM": 1}
EAST, NORTH = 580_000.0, 4_510_000.0
"""Upper left corner of the first chip, in UTM zone 18 N (New York City)."""

SPLITS = {
    "train": ("alpha_0_0", "alpha_0_1", "bravo_0_0", "bravo_0_1"),
    "val": ("charlie_0_0", "charlie_0_1"),
    "test": ("delta_0_0", "delta_0_1", "echo_0_0"),
}


Size = int | tuple[int, int]
"""Side of a square, or height and width, in pixels."""


def sides(size: Size) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size


def rasters(seed: int, size: Size, timesteps: int = 1, contrast: float = 0.4) -> dict[str, Array]:
    """Values ``[T, C, H, W]`` that pass the input audit: brightness common to all bands, radar in dB, a slope.

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
    """One of `values` for each block of side × side pixels, so that maps look like maps and compress like them."""
    *lead, height, width = shape
    drawn = rng.choice(np.asarray(values), size=(*lead, height // side, width // side))
    return drawn.repeat(side, axis=-2).repeat(side, axis=-1)


def class_map(rng: np.random.Generator, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Land cover: water, trees, crops, built area and rangeland."""
    return blocks(rng, np.array([1, 2, 4, 5, 9], np.uint8), shape, 8)


def write_tif(path: Path, raster: Array, east: float = EAST, north: float = NORTH) -> None:
    """Writes ``[C, H, W]`` or ``[H, W]`` as a GeoTIFF of 10 m pixels in UTM zone 18 N."""
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
    """Writes ``[T, C, H, W]`` as the array ``bands`` of a zipped Zarr v2 group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipStore(path, mode="w", compression=zipfile.ZIP_STORED) as store:
        group = zarr.create_group(store, zarr_format=2)
        array = group.create_array("bands", shape=raster.shape, dtype=raster.dtype, chunks=raster.shape)
        array[...] = raster


def write_folder_chips(root: Path, ids: Sequence[str], size: Size = 32) -> Path:
    """A chip set in the folder layout, one timestep."""
    for seed, chip_id in enumerate(ids):
        for name, raster in rasters(seed, size).items():
            stored = raster[0].astype(np.float32) if name == "S1RTC" else raster[0]
            write_tif(root / name / f"{chip_id}.tif", stored, east=EAST + 10 * sides(size)[1] * seed)
    return root


def write_impactmesh_chip(root: Path, chip_id: str, made: Mapping[str, Array]) -> None:
    """The files of one chip in the ImpactMesh layout, its `MASK` among them where there is one."""
    for name in ("S2L2A", "S1RTC"):
        write_zarr_zip(root / "data" / name / f"{chip_id}_{name}.zarr.zip", made[name])
    write_tif(root / "data" / "DEM" / f"{chip_id}_DEM.tif", made["DEM"])
    if "MASK" in made:
        write_tif(root / "data" / "MASK" / f"{chip_id}_annotation_flood.tif", made["MASK"])


def write_impactmesh_chips(root: Path, ids: Sequence[str], size: int = 32, timesteps: int = 2) -> Path:
    """A chip set in the ImpactMesh layout; every second chip has identical timesteps."""
    for seed, chip_id in enumerate(ids):
        made = rasters(seed, size, timesteps)
        if seed % 2:
            made = {name: np.repeat(r[:1], len(r), axis=0) for name, r in made.items()}
        write_impactmesh_chip(root, chip_id, made)
    return root


def write_sen1floods11(root: Path, ids: Sequence[str], size: int = 64) -> Path:
    """Files as the public description of Sen1Floods11's hand-labelled chips has them: 13 bands, VV and VH, labels."""
    data = root / "data" / "flood_events" / "HandLabeled"
    for seed, chip_id in enumerate(ids):
        made = rasters(seed, size)
        cirrus = np.random.default_rng(seed).integers(5, 30, (1, 1, size, size), dtype=np.int16)
        level1 = np.concatenate([made["S2L2A"][:, :10], cirrus, made["S2L2A"][:, 10:]], axis=1)
        labels = np.indices((size, size)).sum(axis=0) % 3 - 1
        write_tif(data / "S2Hand" / f"{chip_id}_S2Hand.tif", level1[0].astype(np.uint16))
        write_tif(data / "S1Hand" / f"{chip_id}_S1Hand.tif", made["S1RTC"][0].astype(np.float32))
        write_tif(data / "LabelHand" / f"{chip_id}_LabelHand.tif", labels.astype(np.int16))
    splits = root / "splits" / "flood_handlabeled"
    splits.mkdir(parents=True)
    for split, chosen in {"train": ids[:-2], "valid": ids[-2:-1], "test": ids[-1:]}.items():
        lines = [f"{chip_id}_S1Hand.tif,{chip_id}_LabelHand.tif\n" for chip_id in chosen]
        (splits / f"flood_{split}_data.csv").write_text("".join(lines))
    return root


@dataclass(frozen=True)
class World:
    """A chip set in the ImpactMesh layout with labels and splits."""

    root: Path

    @property
    def chips(self) -> ChipSet:
        return ChipSet.open(self.root, "impactmesh")

    @property
    def ids(self) -> Sequence[str]:
        return self.chips.ids

    def labels(self, chip_id: str) -> Array:
        """``[H, W]``; 0 to 4, and −1 where they are ignored."""
        return self.chips.mask(chip_id)


def make_world(
    root: Path,
    size: Size = 32,
    timesteps: int = 4,
    splits: Mapping[str, Sequence[str]] = SPLITS,
    seed: int = 0,
    contrast: float = 0.4,
) -> World:
    """Chips whose labels, of five classes in blocks of 16 × 16 pixels, are in nothing but the mask."""
    (root / "split").mkdir(parents=True)
    for split, ids in splits.items():
        (root / "split" / f"impactmesh_flood_{split}.txt").write_text("\n".join(ids) + "\n")
    for position, chip_id in enumerate(chip_id for ids in splits.values() for chip_id in ids):
        own = 100 * seed + position
        labels = blocks(np.random.default_rng(own), np.arange(5, dtype=np.int8), sides(size), 16)
        labels[0, :3] = -1
        write_impactmesh_chip(root, chip_id, {**rasters(own, size, timesteps, contrast), "MASK": labels})
    return World(root)


# Stores ----------------------------------------------------------------------------------------------

EXTENT = ChipShape(timesteps=2, height=32, width=32)

WKT = (
    'PROJCS["WGS 84 / UTM zone 18N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,'
    'AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",-75],PARAMETER["scale_factor",0.9996],'
    'PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1],AUTHORITY["EPSG","32618"]]'
)


def make_sampling(**changes: Any) -> SamplingSpec:
    """One sample in one decoding step, as the command draws it."""
    fields = {"temperature": 1.0, "top_k": 0, "top_p": 0.8, "decoding_steps": 1, "samples": 1, "seed": 0}
    return SamplingSpec(**{**fields, "diffusion_steps": None, **changes})


def make_spec(
    modality: str = "LULC", samples: int = 1, *, inputs: Sequence[str] = tuple(BANDS), **changes: Any
) -> GenerationSpec:
    """A spec of a generator nobody ran; `changes` replace fields."""
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
    """Georeference of the chip at a place of a 10 m grid in UTM zone 18N."""
    height, width = sides(size)
    west, north = EAST + column * width * 10, NORTH - row * height * 10
    return Georeference(WKT, (10.0, 0.0, west, 0.0, -10.0, north))


def make_entries(chips: int, size: Size, columns: int = 4, scenes: int = 2) -> list[ChipEntry]:
    """Chips row by row on a grid; whole rows belong to a scene."""
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
    """Every array of one chip, which follows from its id and the seed alone; `given` replaces what is drawn."""
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
    """A store on a grid, of chips that exist nowhere else.

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
    """A store that was generated from a chip set: its ids, scenes, places and digests; `options` of `make_store`."""
    spec, scenes = spec or make_spec(), scenes_by_pattern(chips.ids)
    names = [taken.name for taken in spec.inputs]
    read = {chip_id: chips.read(chip_id, names) for chip_id in chips.ids}
    arrays = {
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


LABELS_AS_LULC = (1, 2, 3, 4, 5, 0)
"""Class number is label + 1, and 0 where it is ignored."""


def lulc_of_labels(world: World, classes: Sequence[int] = LABELS_AS_LULC) -> dict[str, dict[str, Array]]:
    """Maps that predict the masks, to give to a store: the class of each label, the last of ignored pixels."""
    stands_for = np.array(classes, np.uint8)  # label −1 takes the last
    chips = world.chips
    timesteps = chips.read(chips.ids[0], tuple(BANDS)).timesteps
    maps = {chip_id: stands_for[chips.mask(chip_id)] for chip_id in chips.ids}
    return {
        chip_id: {"lulc": np.broadcast_to(lulc, (1, timesteps, *lulc.shape)).copy()}
        for chip_id, lulc in maps.items()
    }


# Runs ------------------------------------------------------------------------------------------------


def tiny_options(world: World, config: str, architecture: str = "terramind_v1_tiny") -> list[str]:
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


def two_class_config(config: str, **data: Any) -> dict[str, Any]:
    """A shipped YAML for two classes of one timestep, without New York's settings; `data` goes to its datamodule."""
    made: dict[str, Any] = yaml.safe_load(find_config(config, Path()).read_text())
    init, model = made["data"]["init_args"], made["model"]["init_args"]
    for key in ("class_names", "timesteps", "train_transform", "augment", "encoding"):
        init.pop(key, None)
    init |= {"batch_size": 2, "num_workers": 0, **data}
    for key in ("class_names", "class_weights", "tiled_inference_parameters"):
        del model[key]
    arguments = model["model_args"]
    for key in ("encoding", "use_temporal", "temporal_pooling", "temporal_n_timestamps"):
        arguments.pop(f"backbone_{key}", None)
    key = "backbone_architecture" if "backbone_architecture" in arguments else "backbone"
    arguments |= {key: "terramind_v1_tiny", "backbone_pretrained": False}
    arguments |= {"num_classes": 2, "decoder_channels": [16, 8, 8, 8]}
    made["trainer"] |= {"accelerator": "cpu", "max_epochs": 1, "enable_model_summary": False}
    return made
