"""Published weights for a fine-tune's backbone: found, loaded, and proven to be the ones in use."""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from torch import nn

from terramind_weights.catalog import ENTRY_POINT_GROUP, PUBLISHED, GeneratorSource, find_generator
from terramind_weights.verified_loading import load_proven
from terramind_weights.weight_files import WeightsError, locate, read_state

SAMPLER: Final = "sampler.model."
RAW_TOKENIZED: Final = frozenset({"LULC", "NDVI"})
"""Raw inputs that TerraTorch turns into tokens with a tokenizer."""

TOKENIZER: Final = re.compile(r"tokenizer\.tok_(\w+)@224\.")
TOKENIZED: Final = {
    "lulc": "LULC",
    "ndvi": "NDVI",
    "dem": "DEM",
    "sen1rtc": "S1RTC",
    "sen1grd": "S1GRD",
    "sen2l2a": "S2L2A",
}
"""Modality of each of TerraMind's tokenizers."""


def load_backbone(
    model: nn.Module,
    architecture: str,
    weights: Path | None,
    inputs: Collection[str] = (),
    new_inputs: Collection[str] = (),
) -> None:
    """Load published weights into a backbone and prove that each of its tensors equals the checkpoint's.

    The tokenizers of in-line TiM and of raw LULC or NDVI come from their own files; one that only encodes inputs
    that are cached is left alone.

    Args:
        model: A TerraMind backbone, plain or with in-line TiM, before its patch embedding is changed.
        architecture: Its name, which says which file holds its weights.
        weights: The file, or a folder with the published files, or None for the Hugging Face cache.
        inputs: Its raw inputs.
        new_inputs: Modalities that no published file knows; they keep their initialisation.

    Raises:
        WeightsError: If a file is missing or unreadable; or naming the first tensor that it lacks, that has another
            shape, or that differs after loading.
    """
    path = network_file(architecture, weights)
    state = read_state(path)
    # only in-line TiM holds a whole generator, within its sampler
    inline = any(name.startswith(SAMPLER) for name in model.state_dict())
    # tokenizers have files of their own, and new inputs are in no file
    unpublished = ("tokenizer.", *(f"encoder_embeddings.{name}." for name in new_inputs))
    wanted = {
        name: name.removeprefix(SAMPLER) for name in model.state_dict() if not name.startswith(unpublished)
    }
    load_proven(model, state, path, wanted)
    if inline or RAW_TOKENIZED.intersection(inputs):
        _load_tokenizers(model, architecture, weights)


def _load_tokenizers(model: nn.Module, architecture: str, weights: Path | None) -> None:
    """Load the tokenizer of each modality that in-line TiM generates or encodes."""
    names = [name for name in model.state_dict() if TOKENIZER.match(name)]
    # each tokenizer once, in the model's order; the walrus keeps the match that let a name in
    for key in dict.fromkeys(match.group(1) for name in names if (match := TOKENIZER.match(name))):
        path = tokenizer_file(architecture, TOKENIZED[key], weights)
        prefix = f"tokenizer.tok_{key}@224."
        wanted = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        load_proven(model, read_state(path), path, wanted)


def find_source(architecture: str) -> GeneratorSource | None:
    """Catalogue entry that holds the weights of a backbone, for example ``terramind_v1_base_tim``.

    This loads the installed plug-ins, which register their backbones with TerraTorch.
    """
    # the catalog lists generators; backbones of a size share their network's file
    wanted = f"{architecture.removesuffix('_tim')}_generate"
    plugins = (point.name for point in entry_points(group=ENTRY_POINT_GROUP))
    # lazy: a plug-in is imported only if no published generator fits
    sources = (find_generator(name) for name in (*PUBLISHED, *plugins))
    return next((source for source in sources if source.architecture == wanted), None)


def network_file(architecture: str, weights: Path | None) -> Path:
    """Weight file of a backbone's network.

    Args:
        architecture: TerraTorch's name of the backbone.
        weights: The file itself, or the folder that holds it under its published name, or None for the
            place that the catalogue names.

    Raises:
        WeightsError: If it is not there; the message says how to get it.
    """
    if weights is not None and weights.is_file():
        return weights
    return locate(_source(architecture).network, _source(architecture), weights)


def tokenizer_file(architecture: str, modality: str, weights: Path | None) -> Path:
    """Weight file of a modality's tokenizer; beside the network's if that is given as a file.

    Raises:
        WeightsError: If the catalogue has none, or it is not there.
    """
    source = _source(architecture)
    if modality not in source.tokenizers:
        raise WeightsError(f"{source.name}: no published tokenizer of {modality}; use another TiM modality")
    folder = weights.parent if weights is not None and weights.is_file() else weights
    return locate(source.tokenizers[modality], source, folder)


def _source(architecture: str) -> GeneratorSource:
    source = find_source(architecture)
    if source is None:
        raise WeightsError(
            f"no weights of {architecture!r} are in the catalogue; name its weight file, or train from random weights"
        )
    return source
