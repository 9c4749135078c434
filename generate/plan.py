"""What a run will do: its spec, its chips and their scenes, and the space they take."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

import numpy as np

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference
from augment_store.chips.scenes import scenes_by_pattern, scenes_by_table
from augment_store.entries import ChipEntry, entry_chunks, rows
from augment_store.errors import ChipDataError
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
    )


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
    complete = store.values("state", slice(0, len(store.chip_ids))) == State.COMPLETE
    final = {
        entry.chip_id: entry.scene_id
        for positions in entry_chunks(store)
        for position, entry, intact in rows(store, positions)
        if intact and complete[position]
    }
    return [
        ChipEntry(chip_id, scenes[chip_id], _georeference(chip_set, chip_id))
        for chip_id in chip_set.ids
        if final.get(chip_id) != scenes[chip_id]
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
