"""What a run will do: its spec, its chips and their scenes, and the space they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Final

import numpy as np
import torch

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference
from augment_store.chips.units import Units
from augment_store.errors import ChipDataError
from augment_store.store.chip_index import ChipEntry, entry_chunks, rows
from augment_store.store.schema import ChipShape, State, chip_arrays, map_arrays
from augment_store.store.spec import GenerationSpec, InputSpec
from augment_store.store.writer import AugmentStore
from augment_store.utils.text import format_size
from generate.model.terramind import LoadedGenerator
from generate.options import GenerateOptions, OptionsError
from terramind_weights.catalog import RANDOM

PACKAGES: Final = ("terramind-tim-store", "terratorch", "torch", "diffusers")
"""Packages whose code decides what is generated; their versions are part of the spec."""


Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per band."""


def build_spec(
    options: GenerateOptions, units: Units, loaded: LoadedGenerator, precision: str, device: str
) -> GenerationSpec:
    """The generation spec of a run.

    Args:
        options: The run's options.
        units: Units of the chips' values.
        loaded: The generator with its weights.
        precision: Arithmetic that Lightning settled on, which is not always the one asked for.
        device: Kind of device it runs on.
    """
    return replace(
        planned_spec(options, units, precision, device),
        weights=loaded.weights,
        network_sha256=loaded.network_sha256,
        tokenizer_sha256=loaded.tokenizer_sha256,
        inputs=_inputs(options, units, loaded.module.statistics),
        network_batch=loaded.module.network_batch,
    )


def like_store(planned: GenerationSpec, store: AugmentStore) -> GenerationSpec:
    """A planned spec with the fields that only the weights can tell taken from a store, so that the rest compares."""
    known = {entry.name: entry for entry in store.spec.inputs}
    return replace(
        planned,
        network_sha256=store.spec.network_sha256,
        tokenizer_sha256=store.spec.tokenizer_sha256,
        inputs=tuple(
            replace(entry, mean=known[entry.name].mean, std=known[entry.name].std)
            if entry.name in known
            else entry
            for entry in planned.inputs
        ),
    )


def planned_spec(options: GenerateOptions, units: Units, precision: str, device: str) -> GenerationSpec:
    """The generation spec of a run, as far as it is known without the weights; see `build_spec`."""
    return GenerationSpec(
        generator=options.generator,
        weights="random" if options.weights == RANDOM else "checkpoint",
        network_sha256="",
        tokenizer_sha256="",
        modality=options.modality,
        inputs=_inputs(options, units, lambda name: ((), ())),
        sampling=options.sampling,
        probabilities=options.probabilities,
        precision=precision,
        device=device,
        versions={package: version(package) for package in PACKAGES},
        network_batch=choose_network_batch(options, torch.device(device)),
    )


def check_window(window: int | None, extent: ChipShape) -> None:
    """Makes sure that windows do something: where there is one, the tokens would be lost for nothing.

    Raises:
        OptionsError: If the chips are no larger than a window in either direction.
    """
    if window is not None and max(extent.shape) <= window:
        raise OptionsError(
            f"--window {window}: the chips have {format_size(extent.shape)}, and windows are for larger ones; "
            "leave it out"
        )


def choose_network_batch(options: GenerateOptions, device: torch.device) -> int:
    """Number of images that the network will see at a time.

    The user's number, or else that of the store the run resumes, so that a device with other memory does not change
    the spec. For a new store, 1 on a CPU, where more gain nothing, and on a GPU as many as its memory allows.
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

    An estimate, from the activations of TerraMind large and the diffusion decoders at 256 px: no GPU was available.
    """
    return 1 << (max(1, min(32, size // 2**31)).bit_length() - 1)


def _inputs(
    options: GenerateOptions, units: Units, statistics: Callable[[str], Statistics]
) -> tuple[InputSpec, ...]:
    return tuple(
        InputSpec(name, units.name(name), units.offset(name), *statistics(name))
        for name in options.source.inputs
    )


def find_scenes(chip_set: ChipSet, rule: str | None, store: AugmentStore | None) -> dict[str, str]:
    """Scene of each chip: by the rule given, or else the store's, or else by the layout's rule.

    Raises:
        ChipSetError: If the rule leaves a chip without a scene.
    """
    if rule is not None or store is None:
        return chip_set.scenes(rule)
    known = {entry.chip_id: entry.scene_id for _, entry in _intact(store)}
    return known | chip_set.scenes(ids=set(chip_set.ids) - set(known))


def entries_to_announce(chip_set: ChipSet, scenes: Mapping[str, str], store: AugmentStore) -> list[ChipEntry]:
    """Chips whose entry in a store is missing or not final: new, unfinished, in another scene, or half rewritten."""
    complete = store.values("state", slice(0, len(store.chip_ids))) == State.COMPLETE
    final = {entry.chip_id: entry.scene_id for place, entry in _intact(store) if complete[place]}
    return [
        ChipEntry(chip_id, scenes[chip_id], _georeference(chip_set, chip_id))
        for chip_id in chip_set.ids
        if final.get(chip_id) != scenes[chip_id]
    ]


def _intact(store: AugmentStore) -> Iterator[tuple[int, ChipEntry]]:
    """Position and entry of each chip whose entry matches its digest."""
    for positions in entry_chunks(store):
        for position, entry, intact in rows(store, positions):
            if intact:
                yield position, entry


def bytes_per_chip(spec: GenerationSpec, extent: ChipShape) -> int:
    """Uncompressed bytes a chip takes in the store."""
    schemas = (*map_arrays(spec, extent), *(s for s in chip_arrays(spec, extent) if s.dtype != "str"))
    return sum(int(np.prod(schema.shape)) * np.dtype(schema.dtype).itemsize for schema in schemas)


def _georeference(chip_set: ChipSet, chip_id: str) -> Georeference:
    try:
        return chip_set.georeference(chip_id)
    except ChipDataError:  # if the file is an input, reading the chip fails and says so
        return Georeference()
