"""A run as a folder that others can load: weights as safetensors and a configuration for TerraTorch.

If TerraTorch has a counterpart of what an arm added, the bundle is converted to TerraTorch's terms and needs nothing
but TerraTorch: planes become further bands of the patch embedding. Arms without a counterpart (cached tokens, and
planes under LoRA) keep the backbone of this project, which then must be installed.

The folder is a run as well, which `tim-predict` maps scenes with: its configuration and manifest, and a store that
holds the generation spec and no chips.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from safetensors.torch import save
from torch import Tensor

from augment_store.chips.layouts import SHIPPED
from augment_store.io.files import atomic_write, read_text
from augment_store.modalities.definitions import INPUT_MODALITIES, UNIT_NAMES
from augment_store.store.spec import units_on_disk
from augment_store.store.writer import AugmentStore
from augment_store.utils.validation import parse
from eval.publish import map_script
from eval.publish.report import shorten_paths
from finetune.augment.encodings import PLANES_MODALITY, Placement, carrier_of
from finetune.data.datamodule import TimStoreDataModule
from finetune.model import BACKBONE
from finetune.model.merged_columns import merge_columns
from finetune.run.load import LoadedRun
from finetune.run.manifest import CONFIG, RunManifest
from finetune.run.temperature import Temperature
from terramind_weights.weight_files import sha256_of_file

WEIGHTS: Final = "model.safetensors"

NATIVE_CONFIG: Final = "terratorch.yaml"
"""The model in TerraTorch's terms; `config.yaml` is that of a run."""

CHIPS: Final = "data"
STORE: Final = "store"
LAYOUT: Final = "layout.yaml"
"""What a bundle calls chips, store and layout of the training."""


@dataclass(frozen=True)
class Bundle:
    """A network in the form in which it is published.

    Attributes:
        tensors: Weights by name, as ``task.model.load_state_dict`` takes them.
        model: Section ``model`` of the configuration, for TerraTorch.
        native: Whether TerraTorch alone can load it.
    """

    tensors: Mapping[str, Tensor]
    model: Mapping[str, Any]
    native: bool

    def write(self, folder: Path) -> None:
        """Write weights and configuration."""
        # written by Python and not by safetensors, whose errors tell no full disk from a wrong tensor
        (folder / WEIGHTS).write_bytes(save(dict(self.tensors)))
        _write_yaml(folder / NATIVE_CONFIG, {"model": self.model})


def make_bundle(loaded: LoadedRun) -> Bundle:
    """Convert a run's network to the form in which it is published.

    Args:
        loaded: The run with the weights to publish.
    """
    model = _model_section(loaded.config["model"])
    arguments = model["init_args"]["model_args"]
    placement = loaded.datamodule.augmentation.plan.placement
    widened = placement is Placement.BANDS
    native = placement not in (Placement.TOKENS, Placement.LATE) and not (
        widened and arguments.get("peft_config")
    )
    # safetensors refuses tensors that are not contiguous, or share memory
    tensors = {name: tensor.contiguous().clone() for name, tensor in loaded.task.model.state_dict().items()}
    if native:
        _in_native_terms(arguments, loaded.datamodule)
        tensors = merge_columns(tensors)
    return Bundle(tensors, model, native)


def write_run(loaded: LoadedRun, manifest: RunManifest, folder: Path) -> None:
    """Make a folder that holds the published weights a run that `load_run` opens, without anything of this machine.

    Args:
        loaded: The run.
        manifest: Its manifest.
        folder: The bundle's folder.
    """
    augmentation, layout = loaded.datamodule.augmentation, loaded.datamodule.layout
    store = augmentation.store if augmentation.depends_on_store else None
    if store is not None:
        AugmentStore.create(folder / STORE, store.spec, store.extent)
    if layout is not None and layout not in SHIPPED:
        atomic_write(folder / LAYOUT, [read_text(Path(layout)).encode()])
        layout = LAYOUT
    data, name = _data_section(loaded.config["data"]), None if store is None else STORE
    data["init_args"] |= {"augment": name, "layout": layout}
    (folder / map_script.NAME).write_text(map_script.TEXT, encoding="utf-8")
    _write_yaml(folder / CONFIG, {"model": _model_section(loaded.config["model"]), "data": data})
    digest, temperature = sha256_of_file(folder / WEIGHTS), Temperature.read(loaded.source)
    if temperature is not None and temperature.fits(loaded.checkpoint_sha256):
        dataclasses.replace(temperature, checkpoint_sha256=digest).write(folder)
    plain = parse(RunManifest, shorten_paths(dataclasses.asdict(manifest)))
    dataclasses.replace(
        plain,
        data=dataclasses.replace(plain.data, root=CHIPS, layout=layout),
        augment=dataclasses.replace(plain.augment, store=name),
        checkpoints={"best": WEIGHTS},
        checkpoint_sha256={"best": digest},
    ).write(folder)


def _model_section(section: Mapping[str, Any]) -> dict[str, Any]:
    # copied, while the run's own configuration must stay as it was
    model = copy.deepcopy(dict(section))
    arguments = model["init_args"]["model_args"]
    # the weights are in the bundle: none are to be downloaded, or read from a path of this machine
    arguments |= {"backbone_pretrained": False}
    arguments.pop("backbone_weights", None)
    return model


def _write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")


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


def _data_section(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data section without paths of the machine it was trained on."""
    data = copy.deepcopy(dict(section))
    arguments = data["init_args"]
    arguments |= {"data_root": CHIPS, "scenes": None, "predict_split": None}
    arguments |= {"train_split": None, "val_split": None, "test_split": None}
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
