"""A run as a folder that others can load: weights as safetensors and a configuration for TerraTorch.

If TerraTorch has a counterpart of what an arm added, the bundle is converted to TerraTorch's terms and needs nothing
but TerraTorch: planes become further bands of the patch embedding. Arms without a counterpart (cached tokens, and
planes under LoRA) keep the backbone of this project, which then must be installed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from augment_store.modalities.definitions import INPUT_MODALITIES, PATCH_SIZE, UNIT_NAMES
from augment_store.store.spec import units_on_disk
from finetune.augment.encodings import PLANES_MODALITY, Placement, carrier_of
from finetune.data.datamodule import TimStoreDataModule
from finetune.model import BACKBONE
from finetune.run.load import LoadedRun

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.yaml"

ADDED: Final = ".proj.added.weight"
"""End of the name of a widened patch embedding's new columns."""


@dataclass(frozen=True)
class Bundle:
    """A network in the form in which it is published.

    Attributes:
        tensors: Weights by name, as ``task.model.load_state_dict`` takes them.
        config: Configuration with the section ``model``, and ``data`` as a record.
        native: Whether TerraTorch alone can load it.
    """

    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]
    native: bool

    def write(self, folder: Path) -> None:
        """Write weights and configuration."""
        save_file(dict(self.tensors), folder / WEIGHTS)
        text = yaml.safe_dump(dict(self.config), sort_keys=False)
        (folder / CONFIG).write_text(text, encoding="utf-8")
        (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)  # safetensors lets only the owner read


def make_bundle(loaded: LoadedRun) -> Bundle:
    """Convert a run's network to the form in which it is published.

    Args:
        loaded: The run with the weights to publish.
    """
    # edited below, while the run's own configuration must stay as it was
    model = copy.deepcopy(loaded.config["model"])
    arguments = model["init_args"]["model_args"]
    placement = loaded.datamodule.augmentation.plan.placement
    widened = placement is Placement.BANDS
    native = placement not in (Placement.TOKENS, Placement.LATE) and not (
        widened and arguments.get("peft_config")
    )
    # safetensors refuses tensors that are not contiguous, or share memory
    tensors = {name: tensor.contiguous().clone() for name, tensor in loaded.task.model.state_dict().items()}
    # the weights are in the bundle: none are to be downloaded, or read from a path of this machine
    arguments |= {"backbone_pretrained": False}
    arguments.pop("backbone_weights", None)
    if native:
        _in_native_terms(arguments, loaded.datamodule)
        tensors = merge_columns(tensors)
    return Bundle(tensors, {"model": model, "data": _data_section(loaded.config["data"])}, native)


def _in_native_terms(arguments: dict[str, Any], datamodule: TimStoreDataModule) -> None:
    """Name TerraTorch's own backbone in the model's arguments."""
    if arguments.get("backbone") != BACKBONE:
        return
    arguments["backbone"] = arguments.pop("backbone_architecture")
    # arguments of this project's backbone, which TerraTorch's own does not have
    for name in ("encoding", "token_modality", "new_columns"):
        arguments.pop(f"backbone_{name}", None)
    plan, bands = datamodule.augmentation.plan, datamodule.reading.bands
    if plan.placement is Placement.BANDS:
        # planes after the bands, the order in which `merge_columns` joins their columns
        carrier = carrier_of(tuple(bands))
        subsets = arguments.get("backbone_bands") or {}
        arguments["backbone_bands"] = {**subsets, carrier: [*bands[carrier], *plan.plane_names]}
    elif plan.placement is Placement.MODALITY:
        arguments["backbone_modalities"] = [*bands, {PLANES_MODALITY: plan.channels}]


def merge_columns(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join the new columns of a widened patch embedding with the pretrained ones, the band running fastest.

    Args:
        tensors: Weights by name; a projection's are ``[token, pixels · bands]`` and ``[token, pixels · planes]``.
    """
    merged = dict(tensors)
    for name in [name for name in tensors if name.endswith(ADDED)]:
        weight = f"{name.removesuffix(ADDED)}.proj.weight"
        # pop: TerraTorch knows no weight of that name
        pair = (merged[weight], merged.pop(name))
        # [token, pixel, band] each, so that every pixel has its bands, then its planes
        parts = [part.reshape(len(part), PATCH_SIZE**2, -1) for part in pair]
        merged[weight] = torch.cat(parts, dim=-1).flatten(-2).contiguous()
    return merged


def _data_section(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data section without paths of the machine it was trained on."""
    data = copy.deepcopy(dict(section))
    arguments = data["init_args"]
    arguments |= {"data_root": "data", "layout": None, "scenes": None, "predict_split": None}
    arguments |= {"train_split": None, "val_split": None, "test_split": None}
    if arguments.get("augment"):
        arguments["augment"] = "store"
    return data


@dataclass(frozen=True)
class InputBands:
    """One tensor of the network's input.

    Attributes:
        modality: Its key.
        bands: Names in order.
        unit: Unit of the values before standardisation.
        means: Mean per band, which is subtracted.
        stds: Standard deviation per band, by which it is divided.
    """

    modality: str
    bands: tuple[str, ...]
    unit: str
    means: tuple[float, ...]
    stds: tuple[float, ...]


def input_bands(datamodule: TimStoreDataModule) -> tuple[InputBands, ...]:
    """Return what the network takes as input, by modality, without cached modalities."""
    statistics = datamodule.statistics
    return tuple(
        InputBands(name, bands, _unit(name, datamodule), statistics.means[name], statistics.stds[name])
        for name, bands in datamodule.reading.bands.items()
    )


def _unit(modality: str, datamodule: TimStoreDataModule) -> str:
    """Return the unit in which a modality was trained on: that on disk, as far as the layout or the store knows it."""
    stored, offset = units_on_disk(modality, datamodule.chips.layout, datamodule.augmentation.inputs)
    unit = UNIT_NAMES.get(stored, INPUT_MODALITIES[modality].unit)
    return f"{unit}, with an offset of {offset:g}" if offset else unit
