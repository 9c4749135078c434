"""The frozen part of a network: whether it is one, what it is, what it makes, and a training without it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from terratorch.models.backbones.terramind.model.terramind_tim import TerraMindTiM
from terratorch.models.necks import SelectIndices
from terratorch.models.utils import pad_images
from terratorch.tasks import SemanticSegmentationTask
from torch import Tensor, nn

from augment_store.utils.text import versions
from finetune.augment.augmentation import Augmentation
from finetune.augment.encodings import Placement
from finetune.data.datamodule import TimStoreDataModule
from finetune.errors import ConfigError
from finetune.features.feature_store import FeatureKey

PACKAGES = ("terramind-tim-store", "terratorch", "torch")
"""Packages whose code decides what a backbone makes of a chip."""

FROZEN_PLACEMENTS = (Placement.NOWHERE, Placement.TOKENS, Placement.LATE)
"""Placements that add nothing to a backbone which would have to be trained."""

Config = Mapping[str, Any]


def check_frozen(task: SemanticSegmentationTask, datamodule: TimStoreDataModule) -> None:
    """Make sure that a backbone makes the same of an image in every step.

    Raises:
        ConfigError: If it is trained, draws random numbers, or takes what only a trained layer can use.
    """
    encoder = task.model.encoder
    if (placement := datamodule.augmentation.plan.placement) not in FROZEN_PLACEMENTS:
        raise ConfigError(
            f"encoding {' '.join(datamodule.augmentation.encoding)} enters the backbone as {placement.value}, in a "
            "layer that must be trained; with --features take --encoding tokens or late, or train without --features"
        )
    if any(parameter.requires_grad for parameter in encoder.parameters()):
        raise ConfigError(
            "features are made once, of a backbone that is not trained; set model.init_args.freeze_backbone: true, "
            "without peft_config, or train without --features"
        )
    for name, module in encoder.named_modules():
        if isinstance(module, TerraMindTiM):
            raise ConfigError(
                "in-line TiM generates anew in each step; with --features take a plain backbone, and --encoding tokens"
            )
        random = getattr(module, "p", 0) if isinstance(module, nn.Dropout) else 0
        random = random or getattr(module, "drop_prob", 0) or getattr(module, "modality_drop_rate", 0)
        if random or isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ConfigError(
                f"backbone layer {name or 'of the whole'} ({type(module).__name__}) is not the same in each step; set "
                "the backbone's drop rates to 0, or train without --features"
            )
    if task.hparams["tiled_inference_on_validation"]:
        raise ConfigError(
            "tiled_inference_on_validation cuts tiles for which there are no features; set it to false, or train "
            "without --features"
        )


def kept_layers(task: SemanticSegmentationTask) -> tuple[int, ...]:
    """Return the positions of the backbone's outputs that the necks use, counted from 0."""
    total = len(task.model.encoder.out_channels)
    necks = list(task.model.neck) if isinstance(task.model.neck, nn.Sequential) else []
    if necks and isinstance(necks[0], SelectIndices):
        # an index may count from the end, and may be named twice
        return tuple(sorted({index % total for index in necks[0].indices}))
    return tuple(range(total))


def key_of(
    task: SemanticSegmentationTask, datamodule: TimStoreDataModule, config: Config, dtype: str
) -> FeatureKey:
    """Return the key of the features that a network and its data need.

    Args:
        task: The task, its weights as training starts.
        datamodule: The data.
        config: Final configuration as plain values.
        dtype: Type in which features are kept.
    """
    arguments, statistics = config["model"]["init_args"]["model_args"], datamodule.statistics
    augmentation, reading = datamodule.augmentation, datamodule.reading
    joined = augmentation.plan.placement is Placement.TOKENS
    # where weights come from is told by their digest, and what is joined by its own fields
    elsewhere = ("backbone_pretrained", "backbone_weights", "backbone_new_columns", "backbone_encoding")
    network = {
        name: value
        for name, value in arguments.items()
        if name.startswith("backbone") and name not in elsewhere
    }
    return FeatureKey(
        network=_as_json(network),
        weights=_digest_of(task.model.encoder),
        layers=kept_layers(task),
        inputs=_as_json(reading.bands),
        timesteps=reading.timesteps,
        statistics=_as_json({"means": statistics.means, "stds": statistics.stds}),
        no_data=_as_json([reading.nodata, reading.replacement]),
        encoding=augmentation.encoding if joined else (),
        maps=joined_maps(augmentation) if joined else "",
        precision=str(config["trainer"]["precision"]),
        dtype=dtype,
        versions=versions(PACKAGES),
    )


def joined_maps(augmentation: Augmentation) -> str:
    """Name where the maps of an encoding come from: a control with the seed of its draws, and a store."""
    request, maps = augmentation.request, augmentation.maps
    # each seed draws maps of its own, which must not take the place of another's
    control = f"{request.control} of seed {request.seed}" if request.control else ""
    return ", store ".join(filter(None, (control, maps.fingerprint if maps else "")))


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _digest_of(encoder: nn.Module) -> str:
    state = hashlib.sha256()
    for name, tensor in encoder.state_dict().items():
        values = tensor.detach().cpu().contiguous()
        state.update(f"{name}|{values.dtype}|{tuple(values.shape)}|".encode())
        # as bytes, since NumPy has no bfloat16
        state.update(values.reshape(-1).view(torch.uint8).numpy())
    return state.hexdigest()


class EncoderOutput(NamedTuple):
    """Outputs of a backbone for a batch.

    Attributes:
        values: ``[B, layer, …]``, the axes of a layer in the order in which they lay in memory.
        axes: Position of each of those axes in the layer's output, the batch not counted.
    """

    values: NDArray[np.float32]
    axes: tuple[int, ...]


def run_encoder(
    task: SemanticSegmentationTask, images: Mapping[str, Tensor], layers: Sequence[int]
) -> EncoderOutput:
    """Run the backbone on a batch as TerraTorch's network does.

    Args:
        task: The task.
        images: Images of `TimStoreDataModule.model_batch`, on the task's device.
        layers: Positions of the outputs to keep.
    """
    network = task.model
    made = network.encoder(pad_images(dict(images), network.patch_size, network.padding))
    # convolutions and dropout depend on the layout in memory, so it is kept: longest strides first
    strides = made[layers[0]].stride()[1:]
    axes = tuple(sorted(range(len(strides)), key=lambda axis: -strides[axis]))
    kept = torch.stack([made[layer].permute(0, *(1 + axis for axis in axes)) for layer in layers], dim=1)
    return EncoderOutput(kept.float().cpu().numpy(), axes)


def bypass_encoder(task: SemanticSegmentationTask, layers: Sequence[int], axes: Sequence[int]) -> None:
    """Let a network take the backbone's outputs from its batch; the backbone stays in it, and in its checkpoints.

    Args:
        task: The task.
        layers: Positions of the outputs that a batch has.
        axes: Order of their axes, see `EncoderOutput`.
    """
    encoder = task.model.encoder
    total = len(encoder.out_channels)
    # the instance's own `forward` comes before the class'; a partial can be sent to spawned processes
    encoder.forward = functools.partial(_given_features, tuple(layers), tuple(axes), total)


def _given_features(
    layers: Sequence[int], axes: Sequence[int], total: int, images: Mapping[str, Tensor], features: Tensor
) -> list[Tensor]:
    """Return the outputs of a backbone, empty where no neck looks.

    Args:
        layers: Positions of the outputs that there are.
        axes: Order of their axes.
        total: Number of the backbone's outputs.
        images: Not used, since features stand for them.
        features: ``[B, layer, …]``.
    """
    # back to the order of the backbone, as a view: the layout in memory stays
    back = [1 + axes.index(axis) for axis in range(len(axes))]
    whole = (layer.permute(0, *back) for layer in features.float().unbind(1))
    known = dict(zip(layers, whole, strict=True))
    return [known.get(position, features.new_empty(0)) for position in range(total)]
