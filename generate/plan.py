"""What a run will do: its spec, its chips and their scenes, and the space they take."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

import numpy as np
import torch

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference
from augment_store.chips.scenes import scenes_by_pattern, scenes_by_table
from augment_store.entries import changed_entries
from augment_store.errors import ChipDataError
from augment_store.records import ChipEntry
from augment_store.schema import Extent, State, chip_arrays, map_arrays
from augment_store.spec import GenerationSpec, InputSpec
from augment_store.store import AugmentStore
from generate.options import GenerateOptions
from generate.terramind import LoadedGenerator

PACKAGES: Final = ("terramind-tim-store", "terratorch", "torch", "diffusers")
"""Packages whose code decides what is generated; their versions are part of the spec."""


def build_spec(
    options: GenerateOptions, loaded: LoadedGenerator, precision: str, device: str
) -> GenerationSpec:
    """The generation spec of a run.

    Args:
        options: The run's options.
        loaded: The generator with its weights.
        precision: Arithmetic that Lightning settled on, which is not always the one asked for.
        device: Kind of device it runs on.
    """
    units = options.source.units
    inputs = tuple(
        InputSpec(name, units.name(name), units.offset(name), *loaded.module.statistics(name))
        for name in options.source.inputs
    )
    return GenerationSpec(
        generator=options.generator,
        weights=loaded.weights,
        network_sha256=loaded.network_sha256,
        tokenizer_sha256=loaded.tokenizer_sha256,
        modality=options.modality,
        inputs=inputs,
        sampling=options.sampling,
        probabilities=options.probabilities,
        precision=precision,
        device=device,
        versions={package: version(package) for package in PACKAGES},
        network_batch=loaded.module.network_batch,
    )


def choose_network_batch(options: GenerateOptions, device: torch.device) -> int:
    """Images that the network is to see at a time.

    The user's number, or else that of the store which the run resumes, so that another device's memory does not make
    another spec. For a new store 1 on a CPU, where more gain nothing, and on a GPU as many as its memory allows.
    """
    if options.network_batch is not None:
        return options.network_batch
    if (options.store / "zarr.json").is_file():
        return AugmentStore.open(options.store).spec.network_batch
    if device.type != "cuda":
        return 1
    return batch_for_memory(torch.cuda.get_device_properties(device).total_memory)


def batch_for_memory(size: int) -> int:
    """The largest power of two, up to 32, that leaves two GiB of a device's memory to each image.

    An estimate, from the activations of TerraMind large and the diffusion decoders at 256 px: no GPU was at hand.
    """
    return 1 << (max(1, min(32, size // 2**31)).bit_length() - 1)


def find_scenes(chip_set: ChipSet, options: GenerateOptions) -> dict[str, str]:
    """Scene of each chip, by table or by pattern.

    Raises:
        ChipSetError: If the table or the pattern does not give every chip one.
    """
    if options.scene_csv is not None:
        return scenes_by_table(chip_set.ids, options.scene_csv)
    return scenes_by_pattern(chip_set.ids, options.scene_pattern)


def entries_to_announce(chip_set: ChipSet, scenes: Mapping[str, str], store: AugmentStore) -> list[ChipEntry]:
    """Chips whose entry in a store is missing or not final: new, unfinished, of another scene, or half rewritten."""
    complete = set(store.chips_in(State.COMPLETE))
    known = dict(zip(store.chip_ids, store.values("scene_id"), strict=False))
    complete -= {store.chip_ids[place] for shard in store.shards() for place in changed_entries(store, shard)}
    return [
        ChipEntry(chip_id, scenes[chip_id], _georeference(chip_set, chip_id))
        for chip_id in chip_set.ids
        if chip_id not in complete or known[chip_id] != scenes[chip_id]
    ]


def bytes_per_chip(spec: GenerationSpec, extent: Extent) -> int:
    """Uncompressed bytes a chip takes in the store."""
    schemas = (*map_arrays(spec, extent), *(s for s in chip_arrays(spec, extent) if s.dtype != "str"))
    return sum(int(np.prod(schema.shape)) * np.dtype(schema.dtype).itemsize for schema in schemas)


def _georeference(chip_set: ChipSet, chip_id: str) -> Georeference:
    try:
        return chip_set.georeference(chip_id)
    except ChipDataError:  # where the file is an input, reading the chip fails and says so
        return Georeference()
