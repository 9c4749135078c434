"""Whether a YAML's model is one that this command trains, and its weights are ones that can be proven."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from augment_store.utils.text import single_line
from finetune.errors import ConfigError
from finetune.run.yaml_file import Config

TASK: Final = "SemanticSegmentationTask"
NAMES_WEIGHTS: Final = re.compile(r"pretrained|ckpt|checkpoint|weights")
"""Keys of ``model_args`` for weights, such as ``backbone_ckpt_path`` and ``ckpt_data``, loaded as far as they fit."""

PROVEN_WEIGHTS: Final = ("backbone_pretrained", "backbone_weights")
"""Those whose weights are proven to be in use."""

PEFT_KEYS: Final = ("method", "replace_qkv", "peft_config_kwargs")
"""Keys of ``peft_config`` that TerraTorch reads."""

GENERATIVE: Final = re.compile(r"_generate$|_tokenizer_")
"""Names of TerraMind's parts in TerraTorch's registries that are no backbones."""

OTHER_FACTORIES: Final = (
    *("Clay1_5ModelFactory", "ClayModelFactory", "FullModelFactory", "GenericModelFactory"),
    *("GenericUnetModelFactory", "ObjectDetectionModelFactory", "PrithviModelFactory", "SMPModelFactory"),
    *("SatMAEModelFactory", "TimmModelFactory", "WxCModelFactory"),
)
"""TerraTorch's factories of networks without TerraMind's backbone, or without a decoder."""

DEPTHS: Final = {
    "terramind_v1_tiny": 12,
    "terramind_v1_small": 12,
    "terramind_v1_base": 12,
    "terramind_v1_large": 24,
}
"""Blocks of the published backbones."""

KEEP_LEVELS: Final = frozenset(
    {
        *("SelectIndices", "ReshapeTokensToImage", "LearnedInterpolateToPyramidal", "InterpolateToPyramidal"),
        *("MaxpoolToPyramidal", "PermuteDims"),
    }
)
"""Necks that hand on as many feature maps as they get."""

TRAIN_OTHERS: Final = (
    "train others by terratorch fit, joined with a store by finetune.data.joined.JoinedDataModule"
)


def check_model(model: Config, origin: Path | str) -> None:
    """Make sure that a model is one that this command trains, and that its weights can be proven.

    Args:
        model: Section of the configuration.
        origin: Where it came from, for the message.

    Raises:
        ConfigError: If it is another task or another family of backbones, or names weights by another key than ours.
    """
    task = model.get("class_path")
    if isinstance(task, str) and _is_other_task(task):
        raise ConfigError(
            f"{origin}: model.class_path: {task}; tim-finetune trains terratorch.tasks.{TASK}; {TRAIN_OTHERS}"
        )
    given = model.get("init_args") or {}
    factory = str(given.get("model_factory", "")).removeprefix("terratorch_")
    if factory in OTHER_FACTORIES:
        raise ConfigError(
            f"{origin}: model_factory: {factory}; tim-finetune trains networks of EncoderDecoderFactory; "
            f"{TRAIN_OTHERS}"
        )
    if any(isinstance(head, dict) and "class_path" not in head for head in given.get("aux_heads") or ()):
        raise ConfigError(
            f"{origin}: aux_heads: TerraTorch takes each as class_path: terratorch.models.model.AuxiliaryHead, with "
            "name, decoder and decoder_args under init_args"
        )
    arguments = given.get("model_args")
    if not isinstance(arguments, dict):
        return
    if "backbone" in arguments and not _is_backbone(backbone := arguments["backbone"]):
        raise ConfigError(
            f"{origin}: model_args: backbone {backbone!r}; tim-finetune trains TerraMind backbones, such as "
            f"terramind_v1_base; {TRAIN_OTHERS}"
        )
    _check_weight_keys(arguments, origin)
    _check_levels(arguments, origin)
    unread = [key for key in arguments.get("peft_config") or () if key not in PEFT_KEYS]
    if unread:
        raise ConfigError(
            f"{origin}: model_args: peft_config: {', '.join(unread)} would not be read; expected "
            f"{', '.join(PEFT_KEYS)}, and --init for a checkpoint with LoRA"
        )


def _is_backbone(named: object) -> bool:
    """Tell whether a name can be that of a TerraMind that encodes images."""
    # TerraTorch's registries also know their own with their prefix
    return (
        isinstance(named, str)
        and named.removeprefix("terratorch_").startswith("terramind_")
        and GENERATIVE.search(named) is None
    )


def _check_weight_keys(arguments: Config, origin: Path | str) -> None:
    """Refuse weights by a key whose file nobody proves to be in use."""
    for key, value in arguments.items():
        # a file under backbone_pretrained would count as true, and others be loaded in its place
        proven = key in PROVEN_WEIGHTS and not (key == PROVEN_WEIGHTS[0] and isinstance(value, str))
        # a file, or TerraTorch's own choice of one; other keys with such a word are switches
        names_file = (isinstance(value, str) and value != "") or (value is True and "pretrained" in key)
        if NAMES_WEIGHTS.search(key) and names_file and not proven:
            raise ConfigError(
                f"{origin}: model_args: {key} {single_line(value)} would leave what does not fit random, without a "
                "word; give --weights FILE, or backbone_weights with backbone_pretrained: true, for a published file, "
                "which is proven to be in use, and --init for a checkpoint of TerraTorch's task"
            )


def _check_levels(arguments: Config, origin: Path | str) -> None:
    """Make sure that a published backbone has the blocks that a decoder gets, and that each has its channels."""
    necks = arguments.get("necks")
    given = [neck for neck in necks if isinstance(neck, dict)] if isinstance(necks, list) else []
    names = [neck.get("name") for neck in given]
    indices = given[0].get("indices") if names[:1] == ["SelectIndices"] else None
    if not isinstance(indices, list):
        return
    architecture = str(arguments.get("backbone_architecture") or arguments.get("backbone")).removesuffix(
        "_tim"
    )
    depth = DEPTHS.get(architecture)
    if depth is not None and not all(isinstance(at, int) and -depth <= at < depth for at in indices):
        raise ConfigError(
            f"{origin}: model_args: necks: SelectIndices: indices {indices}; {architecture} has blocks 0 to {depth - 1}"
        )
    channels = arguments.get("decoder_channels")
    u_net = arguments.get("decoder") == "UNetDecoder" and KEEP_LEVELS.issuperset(names)
    if u_net and isinstance(channels, list) and len(channels) != len(indices):
        raise ConfigError(
            f"{origin}: model_args: decoder_channels {channels}; SelectIndices gives UNetDecoder {len(indices)} "
            "blocks' features, so name as many numbers of channels"
        )


def _is_other_task(named: str) -> bool:
    """Tell TerraTorch's other tasks from its segmentation task, and from a user's own class derived from it."""
    package, _, name = named.rpartition(".")
    library = package.split(".")[0]
    return library == "torchgeo" or (name != TASK and library in ("", "terratorch"))
