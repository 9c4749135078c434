"""Finding, reading and proving weights: every tensor in use equals the checkpoint's, or the run stops."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from augment_store.catalog import GeneratorSource, WeightFile
from augment_store.errors import AugmentStoreError

HUB: Final = "hub"
RANDOM: Final = "random"


class WeightsError(AugmentStoreError, RuntimeError):
    """Weights cannot be found, read, or proven to be the ones in use."""


def locate(file: WeightFile, source: GeneratorSource, weights: str) -> Path:
    """Path of a weight file.

    Args:
        file: Which file.
        source: The generator it belongs to; one that ships its files needs no download.
        weights: ``hub``, or a folder that holds the published files under their published names.

    Raises:
        WeightsError: If the file is not there; the message says how to get it.
    """
    if weights != HUB or source.folder is not None:
        folder = Path(weights) if weights != HUB else source.folder
        path = (folder or Path()) / file.filename
        if not path.is_file():
            raise WeightsError(f"{path}: no such weight file; {_how_to_get(file)}")
        return path
    return _download(file)


def _download(file: WeightFile) -> Path:
    """The file in the Hugging Face cache, fetched unless HF_HUB_OFFLINE is set."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo_id=str(file.repo_id), filename=file.filename))
    except (OSError, ValueError, RuntimeError) as error:  # huggingface_hub's errors derive from these
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(
            f"{file.filename} is not in the Hugging Face cache ({reason}); {_how_to_get(file)}"
        ) from error


def _how_to_get(file: WeightFile) -> str:
    if file.repo_id is None:
        return "it ships with its package; install that again"
    return (
        f"with a network, run: hf download {file.repo_id} {file.filename}; without one, copy the file into a folder "
        "and give --weights FOLDER; for a control or a test, --weights random"
    )


def read_state(path: Path) -> Mapping[str, Tensor]:
    """Tensors of a ``.pt`` or ``.safetensors`` file, by name; nothing in it is executed.

    Raises:
        WeightsError: If it cannot be read, or is not a flat mapping of names to tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); copy the file again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: expected a flat state dict of tensors, as published")
    return state


def load_proven(module: nn.Module, state: Mapping[str, Tensor], origin: Path) -> None:
    """Loads a checkpoint into a module and proves that every tensor of the module is the checkpoint's.

    Tensors of the checkpoint that the module does not have, such as other modalities', are left alone.

    Raises:
        WeightsError: Naming the first tensor that the file lacks, has in another shape, or that is not equal
            after loading.
    """
    expected = {name: _find(name, module, state, origin) for name in module.state_dict()}
    for name, tensor in module.state_dict().items():
        if expected[name].shape != tensor.shape:
            found, wanted = tuple(expected[name].shape), tuple(tensor.shape)
            raise WeightsError(f"{origin}: tensor {name} has shape {found}, expected {wanted}")
    module.load_state_dict(expected, strict=True)
    for name, tensor in module.state_dict().items():
        if not torch.equal(tensor.cpu(), expected[name].to(tensor.dtype)):
            raise WeightsError(f"{origin}: tensor {name} differs from the file after loading")


def _find(name: str, module: nn.Module, state: Mapping[str, Tensor], origin: Path) -> Tensor:
    """A tensor of the file, by its name or by the name of one tied to it (safetensors keeps only one of them)."""
    if name in state:
        return state[name]
    tensors = module.state_dict()
    for other, tensor in tensors.items():
        if other in state and tensor.data_ptr() == tensors[name].data_ptr():
            return state[other]
    raise WeightsError(f"{origin}: tensor {name} is missing; these are not the weights of this generator")


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file in hexadecimal, as Hugging Face shows it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_tensors(module: nn.Module) -> str:
    """SHA-256 over a module's tensors, names and shapes, for weights that come from no file."""
    state = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        state.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()
