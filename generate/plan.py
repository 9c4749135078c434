"""Plan of a run: its spec, its chips and their scenes, and the space they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import torch

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference
from augment_store.errors import ChipDataError
from augment_store.modalities.definitions import PATCH_SIZE, patches
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.store.chip_index import ChipEntry, entry_objects, rows
from augment_store.store.schema import ChipShape, State, chip_arrays, map_arrays
from augment_store.store.spec import GenerationSpec, InputSpec
from augment_store.store.writer import AugmentStore
from augment_store.utils.text import format_size
from generate.errors import OptionsError
from generate.model.map_decoder import DIFFUSION_STEP
from generate.model.terramind import LoadedGenerator
from generate.requests import InputRequest, MapRequest
from terramind_weights.catalog import RANDOM

PACKAGES: Final = ("terramind-tim-store", "terratorch", "torch", "diffusers")
"""Packages whose code decides what is generated; their versions are part of the spec."""


Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per band."""


def build_spec(
    maps: MapRequest, inputs: InputRequest, loaded: LoadedGenerator, precision: str, device: str
) -> GenerationSpec:
    """Return the generation spec of a run.

    Args:
        maps: Maps to generate.
        inputs: Chips to read.
        loaded: The generator with its weights.
        precision: Arithmetic that the device works in, which is not always the one asked for.
        device: Kind of device it runs on.
    """
    return replace(
        planned_spec(maps, inputs, precision, device, loaded.module.network_batch),
        weights=loaded.weights,
        network_sha256=loaded.network_sha256,
        tokenizer_sha256=loaded.tokenizer_sha256,
        inputs=_inputs(inputs, loaded.module.statistics),
    )


def like_store(planned: GenerationSpec, store: AugmentStore) -> GenerationSpec:
    """Return a planned spec with the fields that only the weights can tell taken from a store, to compare the rest."""
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


def planned_spec(
    maps: MapRequest, inputs: InputRequest, precision: str, device: str, network_batch: int
) -> GenerationSpec:
    """Return the generation spec of a run as far as it is known without the weights; see `build_spec`."""
    return GenerationSpec(
        generator=maps.generator,
        weights="random" if maps.weights == RANDOM else "checkpoint",
        network_sha256="",
        tokenizer_sha256="",
        modality=maps.modality,
        # statistics come with the weights, which a plan does not load
        inputs=_inputs(inputs, lambda name: ((), ())),
        sampling=maps.sampling,
        probabilities=maps.probabilities,
        precision=precision,
        device=device,
        versions=installed_versions(),
        network_batch=network_batch,
        tokens_only=maps.tokens_only,
    )


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages whose code decides what is generated."""
    return {package: version(package) for package in PACKAGES}


def check_window(window: int | None, extent: ChipShape) -> None:
    """Make sure that windows do something: with one alone, the tokens would be lost for nothing.

    Raises:
        OptionsError: If the chips are no larger than a window in either direction.
    """
    if window is not None and max(extent.shape) <= window:
        raise OptionsError(
            f"--window {window}: the chips have {format_size(extent.shape)}, and windows are for larger ones; "
            "leave it out"
        )


def check_decodable(kind: GeneratedMap, extent: ChipShape) -> None:
    """Make sure that the tokens kept of a chip are all that its map is decoded from.

    The network sees squares, padded to what the decoder takes, and tokens of nothing but padding are not kept.

    Raises:
        OptionsError: If there would be such tokens.
    """
    step = DIFFUSION_STEP if kind.diffusion_steps is not None else PATCH_SIZE
    if patches(extent.height) != patches(extent.width) or patches(extent.width) * PATCH_SIZE % step:
        raise OptionsError(
            f"--arrays tokens: chips of {format_size(extent.shape)} are padded for {kind.name}, and the tokens of the "
            "padding, which its decoder sees, are not kept; leave out --arrays, or cut square chips of a multiple of "
            f"{step} px"
        )


def choose_network_batch(asked: int | None, store: Path, device: torch.device) -> int:
    """Return the number of images that the network will see at a time.

    The user's number, or else that of the store the run resumes, so that a device with other memory does not change
    the spec. For a new store, 1 on a CPU, where more gain nothing, and on a GPU as many as its memory allows.

    Args:
        asked: The user's number, or None.
        store: Folder of the store.
        device: Device in use.
    """
    if asked is not None:
        return asked
    if (store / "zarr.json").is_file():
        return AugmentStore.open(store).spec.network_batch
    if device.type != "cuda" or not torch.cuda.is_available():  # a plan may be made where there is no GPU
        return 1
    return batch_for_memory(torch.cuda.get_device_properties(device).total_memory)


def batch_for_memory(size: int) -> int:
    """Return the largest power of two, up to 32, that leaves two GiB of a device's memory to each image.

    An estimate, from the activations of TerraMind large and the diffusion decoders at 256 px: no GPU was available.
    """
    # rounded down to a power of two; 2**31 bytes are two GiB
    return 1 << (max(1, min(32, size // 2**31)).bit_length() - 1)


def _inputs(inputs: InputRequest, statistics: Callable[[str], Statistics]) -> tuple[InputSpec, ...]:
    """Return how each input modality enters the generator."""
    units = inputs.units
    return tuple(
        InputSpec(name, units.name(name), units.offset(name), *statistics(name)) for name in inputs.modalities
    )


def find_scenes(chip_set: ChipSet, rule: str | None, store: AugmentStore | None) -> dict[str, str]:
    """Return the scene of each chip: by the rule given, or else the store's, or else by the layout's rule.

    Raises:
        ChipSetError: If the rule leaves a chip without a scene.
    """
    if rule is not None or store is None:
        return chip_set.scenes(rule)
    known = {entry.chip_id: entry.scene_id for _, entry in _intact(store)}
    # the layout's rule is for chips that the store does not know
    return known | chip_set.scenes(ids=set(chip_set.ids) - set(known))


def entries_to_announce(chip_set: ChipSet, scenes: Mapping[str, str], store: AugmentStore) -> list[ChipEntry]:
    """List chips whose entry in a store is missing or not final: new, unfinished, in another scene, half rewritten."""
    complete = store.values("state", slice(0, len(store.chip_ids))) == State.COMPLETE
    final = {entry.chip_id: entry.scene_id for position, entry in _intact(store) if complete[position]}
    return [
        ChipEntry(chip_id, scenes[chip_id], _georeference(chip_set, chip_id))
        for chip_id in chip_set.ids
        # None for a chip that is new or not complete
        if final.get(chip_id) != scenes[chip_id]
    ]


def _intact(store: AugmentStore) -> Iterator[tuple[int, ChipEntry]]:
    """Yield position and entry of each chip whose entry matches its digest."""
    for positions in entry_objects(store):
        for position, entry, intact in rows(store, positions):
            if intact:
                yield position, entry


def bytes_per_chip(spec: GenerationSpec, extent: ChipShape) -> int:
    """Return the uncompressed bytes a chip takes in the store."""
    # texts have no fixed size
    schemas = (*map_arrays(spec, extent), *(s for s in chip_arrays(spec, extent) if s.dtype != "str"))
    return sum(int(np.prod(schema.shape)) * np.dtype(schema.dtype).itemsize for schema in schemas)


def _georeference(chip_set: ChipSet, chip_id: str) -> Georeference:
    try:
        return chip_set.georeference(chip_id)
    except ChipDataError:  # if the file is an input, reading the chip fails and says so
        return Georeference()
