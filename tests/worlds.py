"""What tests run on beside `augment_store.testing`: labelled worlds, and options for a tiny training."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from augment_store.chips.chip_set import ChipSet
from augment_store.testing import (
    BANDS,
    EAST,
    EXTENT,
    NORTH,
    S2_MEDIANS,
    WKT,
    Array,
    Size,
    blocks,
    class_map,
    grid_reference,
    make_entries,
    make_record,
    make_sampling,
    make_spec,
    make_store,
    rasters,
    sides,
    store_of,
    write_folder_chips,
    write_impactmesh_chip,
    write_impactmesh_chips,
    write_tif,
    write_zarr_zip,
)
from finetune.options import find_config

__all__ = [
    "BANDS",
    "EAST",
    "EXTENT",
    "LABELS_AS_LULC",
    "NORTH",
    "S2_MEDIANS",
    "SPLITS",
    "WKT",
    "Array",
    "Size",
    "World",
    "blocks",
    "class_map",
    "grid_reference",
    "lulc_of_labels",
    "make_entries",
    "make_record",
    "make_sampling",
    "make_spec",
    "make_store",
    "make_world",
    "rasters",
    "sides",
    "store_of",
    "tiny_options",
    "two_class_config",
    "write_folder_chips",
    "write_impactmesh_chip",
    "write_impactmesh_chips",
    "write_sen1floods11",
    "write_tif",
    "write_zarr_zip",
]


# Chips -----------------------------------------------------------------------------------------------


SPLITS = {
    "train": ("alpha_0_0", "alpha_0_1", "bravo_0_0", "bravo_0_1"),
    "val": ("charlie_0_0", "charlie_0_1"),
    "test": ("delta_0_0", "delta_0_1", "echo_0_0"),
}


def write_sen1floods11(root: Path, ids: Sequence[str], size: int = 64) -> Path:
    """Files as the public description of Sen1Floods11's hand-labelled chips has them: 13 bands, VV and VH, labels."""
    data = root / "data" / "flood_events" / "HandLabeled"
    for seed, chip_id in enumerate(ids):
        made = rasters(seed, size)
        cirrus = np.random.default_rng(seed).integers(5, 30, (1, 1, size, size), dtype=np.int16)
        level1 = np.concatenate([made["S2L2A"][:, :10], cirrus, made["S2L2A"][:, 10:]], axis=1)
        labels = np.indices((size, size)).sum(axis=0) % 3 - 1
        files = {"S2Hand": level1[0].astype(np.uint16), "S1Hand": made["S1RTC"][0].astype(np.float32)}
        for name, raster in {**files, "LabelHand": labels.astype(np.int16)}.items():
            write_tif(data / name / f"{chip_id}_{name}.tif", raster, EAST + 10 * size * seed)
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
        made = {**rasters(own, size, timesteps, contrast), "MASK": labels}
        # side by side, as no ground may be in two splits
        write_impactmesh_chip(root, chip_id, made, EAST + 10 * sides(size)[1] * position)
    return World(root)


# Stores ----------------------------------------------------------------------------------------------


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


MINI = "terramind_demo"
"""The demo's network, with random weights: half of the time of a training with TerraMind tiny."""

MINI_NECKS = [
    {"name": "SelectIndices", "indices": [0, 2, 3, 5]},
    {"name": "ReshapeTokensToImage", "remove_cls_token": False},
    {"name": "LearnedInterpolateToPyramidal"},
]
"""Necks for its six blocks, where published YAMLs have the twelve of tiny and base."""


def tiny_options(world: World, config: str, architecture: str = MINI) -> list[str]:
    """Options that shrink a YAML, a file or a shipped name, to a small backbone and train it on a world's chips."""
    model = yaml.safe_load(find_config(config, Path()).read_text())["model"]["init_args"]["model_args"]
    key = "backbone_architecture" if "backbone_architecture" in model else "backbone"
    return [
        *("--config", config, "--chips", str(world.root), "--weights", "random"),
        *(f"--model.init_args.model_args.{key}", architecture),
        *("--model.init_args.model_args.decoder_channels", "[16,8,8,8]"),
        *(("--model.init_args.model_args.necks", json.dumps(MINI_NECKS)) if architecture == MINI else ()),
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
    arguments |= {key: MINI, "backbone_pretrained": False, "necks": copy.deepcopy(MINI_NECKS)}
    arguments |= {"num_classes": 2, "decoder_channels": [16, 8, 8, 8]}
    made["trainer"] |= {"accelerator": "cpu", "max_epochs": 1, "enable_model_summary": False}
    return made
