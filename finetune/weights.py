"""Finding and loading published weights, with proof that they are the ones in use."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from augment_store.catalog import ENTRY_POINT_GROUP, PUBLISHED, GeneratorSource, WeightFile, find_generator
from finetune.encodings import PLANES_MODALITY
from finetune.errors import WeightsError

SAMPLER: Final = "sampler.model."
TOKENIZER: Final = re.compile(r"tokenizer\.tok_(\w+)@224\.")
TOKENIZED: Final = {
    **{"lulc": "LULC", "ndvi": "NDVI", "dem": "DEM"},
    **{"sen1rtc": "S1RTC", "sen1grd": "S1GRD", "sen2l2a": "S2L2A"},
}
"""Modality of each of TerraMind's tokenizers."""


def load_backbone(model: nn.Module, architecture: str, weights: Path | None) -> None:
    """Loads published weights into a backbone and proves that each of its tensors equals the checkpoint's.

    New modalities have no published weights and keep their initialisation. The tokenizer of in-line TiM comes
    from its own file; a tokenizer that only encodes inputs which are cached is left alone.

    Args:
        model: A TerraMind backbone, plain or with in-line TiM, before its patch embedding is changed.
        architecture: Its name, which says which file holds its weights.
        weights: The file, or a folder with the published files, or None for the Hugging Face cache.

    Raises:
        WeightsError: If a file is missing or unreadable, or naming the first tensor it lacks, has in another
            shape, or that is not equal after loading.
    """
    path = network_file(architecture, weights)
    state = read_state(path)
    inline = any(name.startswith(SAMPLER) for name in model.state_dict())
    wanted = {
        name: name.removeprefix(SAMPLER)
        for name in model.state_dict()
        if not name.startswith(("tokenizer.", f"encoder_embeddings.{PLANES_MODALITY}."))
    }
    _load_proven(model, wanted, state, path)
    if inline:
        _load_tokenizers(model, architecture, weights)


def _load_tokenizers(model: nn.Module, architecture: str, weights: Path | None) -> None:
    """Loads the tokenizer of each modality that in-line TiM generates or encodes."""
    names = [name for name in model.state_dict() if TOKENIZER.match(name)]
    for key in dict.fromkeys(match.group(1) for name in names if (match := TOKENIZER.match(name))):
        path = tokenizer_file(architecture, TOKENIZED[key], weights)
        prefix = f"tokenizer.tok_{key}@224."
        wanted = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        _load_proven(model, wanted, read_state(path), path)


def _load_proven(
    model: nn.Module, wanted: Mapping[str, str], state: Mapping[str, Tensor], path: Path
) -> None:
    """Loads the tensors `wanted` names (ours → the file's) and compares each with the file's."""
    own = model.state_dict()
    for ours, theirs in wanted.items():
        if theirs not in state:
            raise WeightsError(
                f"{path}: tensor {theirs} is missing; these are not the weights of this backbone"
            )
        if state[theirs].shape != own[ours].shape:
            found, expected = tuple(state[theirs].shape), tuple(own[ours].shape)
            raise WeightsError(f"{path}: tensor {theirs} has shape {found}, expected {expected}")
    model.load_state_dict({ours: state[theirs] for ours, theirs in wanted.items()}, strict=False)
    loaded = model.state_dict()
    for ours, theirs in wanted.items():
        if not torch.equal(loaded[ours].cpu(), state[theirs].to(loaded[ours].dtype)):
            raise WeightsError(f"{path}: tensor {theirs} differs from the file after loading")


def find_source(architecture: str) -> GeneratorSource | None:
    """Catalogue entry that holds the weights of a backbone, for example ``terramind_v1_base_tim``.

    Looking for it loads the plug-ins there are, which registers their backbones with TerraTorch.
    """
    wanted = f"{architecture.removesuffix('_tim')}_generate"
    plugins = (point.name for point in entry_points(group=ENTRY_POINT_GROUP))
    sources = (find_generator(name) for name in (*PUBLISHED, *plugins))
    return next((source for source in sources if source.architecture == wanted), None)


def network_file(architecture: str, weights: Path | None) -> Path:
    """Weight file of a backbone's network.

    Args:
        architecture: TerraTorch's name of the backbone.
        weights: The file itself, or the folder that holds it under its published name, or None for where
            the catalogue says.

    Raises:
        WeightsError: If it is not there; the message says how to get it.
    """
    if weights is not None and weights.is_file():
        return weights
    return _locate(_source(architecture), _source(architecture).network, weights)


def tokenizer_file(architecture: str, modality: str, weights: Path | None) -> Path:
    """Weight file of a modality's tokenizer; it lies beside the network's where that is named as a file.

    Raises:
        WeightsError: If the catalogue has none, or it is not there.
    """
    source = _source(architecture)
    if modality not in source.tokenizers:
        raise WeightsError(f"{source.name}: no published tokenizer of {modality}; use another TiM modality")
    folder = weights.parent if weights is not None and weights.is_file() else weights
    return _locate(source, source.tokenizers[modality], folder)


def _source(architecture: str) -> GeneratorSource:
    source = find_source(architecture)
    if source is None:
        raise WeightsError(
            f"no weights of {architecture!r} are in the catalogue; name its weight file, or train from random weights"
        )
    return source


def _locate(source: GeneratorSource, file: WeightFile, folder: Path | None) -> Path:
    """Path of a weight file: in the folder named, in the package that ships it, or in the Hugging Face cache."""
    remedy = "it ships with its package; install that again"
    if file.repo_id is not None:
        remedy = f"with a network, run: hf download {file.repo_id} {file.filename}; without one, copy it into a folder"
    place = folder or source.folder
    if place is not None:
        if not (place / file.filename).is_file():
            raise WeightsError(f"{place / file.filename}: no such weight file; {remedy}")
        return place / file.filename
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo_id=str(file.repo_id), filename=file.filename))
    except (OSError, ValueError, RuntimeError) as error:  # huggingface_hub's errors derive from these
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(
            f"{file.filename} is not in the Hugging Face cache ({reason}); {remedy}"
        ) from error


UNREADABLE: Final = (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError)
"""What torch raises on a damaged file."""


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a published ``.pt`` or ``.safetensors`` file, by name; nothing in it is executed.

    Raises:
        WeightsError: If it cannot be read, or is no flat mapping of names to tensors.
    """
    state = read_checkpoint(path)
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: expected a flat state dict of tensors, as published")
    return state


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A file of `torch.save`, or of safetensors, read without executing anything in it.

    Raises:
        WeightsError: If it is missing, cannot be read, or is no mapping.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (*UNREADABLE, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path}: cannot be read ({reason}); copy the file again") from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: expected a mapping of names to tensors, found {type(state).__name__}")
    return state
