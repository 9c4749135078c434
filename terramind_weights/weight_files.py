"""Finding and reading weight files; nothing in a file is ever executed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment_store.errors import AugmentStoreError
from terramind_weights.catalog import PUBLISHED_FILES, GeneratorSource, WeightFile

if TYPE_CHECKING:
    from torch import Tensor


class WeightsError(AugmentStoreError, RuntimeError):
    """Weights cannot be found, read, or proven to be the ones in use."""

    kind = "weights"


def locate(file: WeightFile, source: GeneratorSource, folder: Path | None) -> Path:
    """Path of a weight file.

    Args:
        file: Which file.
        source: The generator it belongs to.
        folder: Folder that holds the files under their published names; None for the package that ships them,
            or else the Hugging Face cache.

    Raises:
        WeightsError: If the file is not there; the message says how to get it.
    """
    place = folder or source.folder
    if place is None:
        return _download(file)
    if not (place / file.filename).is_file():
        if folder is not None and file.repo_id is None:
            raise WeightsError(
                f"{place / file.filename}: no such weight file; leave out --weights to use the shipped ones"
            )
        raise WeightsError(f"{place / file.filename}: no such weight file; {_how_to_get(file)}")
    return place / file.filename


def _download(file: WeightFile) -> Path:
    """Return the file in the Hugging Face cache, fetched if it is not there, unless HF_HUB_OFFLINE is set."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repo_id, filename = str(file.repo_id), file.filename
    try:
        # the cache first: a file that is there needs no network
        with contextlib.suppress(LocalEntryNotFoundError):
            return Path(hf_hub_download(repo_id, filename, local_files_only=True))
        # Asked once: without a network, hf_hub_download itself would retry for half a minute. Where the Hub answers,
        # if only that it is busy, retrying is right.
        with contextlib.suppress(HfHubHTTPError):
            get_hf_file_metadata(hf_hub_url(repo_id, filename))
        return Path(hf_hub_download(repo_id, filename))
    except Exception as error:  # each version's HTTP library has errors of its own; all mean the same
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"{file.filename} is not in the Hugging Face cache ({reason}); {_how_to_get(file)}"
        ) from error


def _how_to_get(file: WeightFile) -> str:
    if file.repo_id is None:
        return "it ships with its package; reinstall that"
    return (
        f"with a network, run: hf download {file.repo_id} {file.filename}; without one, copy the file into a folder "
        "and give --weights FOLDER; for a control or a test, --weights random"
    )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file of `torch.save`, or of safetensors.

    Raises:
        WeightsError: If it is missing, cannot be read, or is not a mapping.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    import torch  # heavy, and whoever only locates or hashes a file does without it

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        # weights_only: the unpickler makes tensors and plain values, and runs nothing of the file
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpicklers raise anything on a damaged file; all mean the same
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"{path}: cannot be read ({reason}){_cut_short(path)}; copy the file again"
        ) from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: expected a mapping of names to tensors, found {type(state).__name__}")
    return state


def _cut_short(path: Path) -> str:
    """Say how much of a published file is there, if it was cut short."""
    # a name that is not published has size 0, and is never called cut short
    size, _ = PUBLISHED_FILES.get(path.name, (0, ""))
    found = path.stat().st_size
    return f": it holds {found:,} of the published {size:,} bytes" if found < size else ""


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a published ``.pt`` or ``.safetensors`` file, by name.

    Raises:
        WeightsError: If it cannot be read, or is not a flat mapping of names to tensors.
    """
    from torch import Tensor

    state = read_checkpoint(path)
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: expected a flat state dict of tensors, as published")
    return state


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file in hexadecimal, as Hugging Face shows it.

    Raises:
        OSError: If it cannot be read, or is a pipe or a device, which could be read without end.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
