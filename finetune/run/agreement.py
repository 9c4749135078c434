"""What the data tell the model of a configuration, and a check that the two agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from augment_store.maps.arrays import TOKENS
from augment_store.words import counted
from finetune.augment.augmentation import Augmentation
from finetune.augment.encodings import TRAINED_LAYERS, Placement
from finetune.data.datamodule import INPUT_MODALITIES_BY_DEFAULT, TimStoreDataModule
from finetune.data.dataset import find_bands
from finetune.errors import ConfigError
from finetune.model import BACKBONE


def tell_model(arguments: dict[str, Any], augmentation: Augmentation) -> None:
    """Tells the backbone what is joined to its inputs, overriding the YAML.

    Args:
        arguments: The model's arguments, ``model_args``; changed.
        augmentation: What is joined.

    Raises:
        ConfigError: If the backbone takes no cached modalities.
    """
    for key in ("backbone_encoding", "backbone_token_modality"):
        arguments.pop(key, None)
    placement = augmentation.plan.placement
    if placement is Placement.NOWHERE:
        return
    architecture = str(arguments.get("backbone_architecture", arguments.get("backbone")))
    if architecture.endswith("_tim") or arguments.get("backbone") != BACKBONE:
        raise ConfigError(
            f"backbone {architecture!r} cannot take cached modalities; use a plain TerraMind backbone such as "
            "terramind_v1_base"
        )
    arguments["backbone_encoding"] = list(augmentation.encoding)
    if placement is Placement.TOKENS:
        arguments["backbone_token_modality"] = augmentation.token_modality
    if arguments.get("peft_config") and placement in TRAINED_LAYERS:
        kwargs = arguments["peft_config"].setdefault("peft_config_kwargs", {})
        layers = kwargs.get("modules_to_save") or []
        kwargs["modules_to_save"] = [*dict.fromkeys([*layers, TRAINED_LAYERS[placement]])]


def check_agreement(model: Mapping[str, Any], datamodule: TimStoreDataModule) -> None:
    """Makes sure that data and model of a configuration agree on the inputs.

    Args:
        model: Arguments of the task, with ``model_args``.
        datamodule: The data.

    Raises:
        ConfigError: Naming both keys.
        ChipSetError: If no timesteps are named and there are no chips to tell.
    """
    arguments = model["model_args"]
    if arguments.get("backbone") == BACKBONE:
        ours = datamodule.bands
        theirs = find_bands(
            arguments.get("backbone_modalities") or INPUT_MODALITIES_BY_DEFAULT,
            arguments.get("backbone_bands"),
        )
        for key, found, expected in (("modalities", list(ours), list(theirs)), ("bands", ours, theirs)):
            if found != expected:
                raise ConfigError(
                    f"data has {key} {found}, model_args has backbone_{key} {expected}; make them agree"
                )
    _check_time(len(datamodule.reading.timesteps), arguments)
    if TOKENS in datamodule.augmentation.encoding and model.get("tiled_inference_parameters"):
        raise ConfigError(
            "tiled_inference_parameters with encoding tokens: tiles are not cut along the token grid, so tokens "
            "would shift; leave it out"
        )


def _check_time(timesteps: int, arguments: Mapping[str, Any]) -> None:
    """TerraTorch's temporal wrapper wants several timesteps, and their number."""
    temporal = bool(arguments.get("backbone_use_temporal"))
    expected = arguments.get("backbone_temporal_n_timestamps")
    if temporal != (timesteps > 1) or (temporal and expected not in (None, timesteps)):
        raise ConfigError(
            f"data has {counted(timesteps, 'timestep')}, model_args has backbone_use_temporal {temporal} and "
            f"backbone_temporal_n_timestamps {expected}; the wrapper is for two or more, and their number must agree"
        )
