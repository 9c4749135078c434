"""Start an arm from an existing checkpoint, whatever the arm adds to the network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from torch import nn

from finetune.augment.encodings import PLANES_MODALITY
from finetune.errors import ConfigError
from finetune.model.merged_columns import read_published
from terramind_weights.checkpoint import Checkpoint, check_fit, network_tensors, read_exact
from terramind_weights.weight_files import WeightsError

PEFT_NAMES: Final = (
    (re.compile(r"\bbase_model\.model\."), ""),
    (re.compile(r"\.base_layer\."), "."),
    (re.compile(r"\.modules_to_save\.default\."), "."),
)
"""What peft inserts into the names of the tensors it wraps."""

ADDED: Final = re.compile(
    rf"\.added\.|encoder_embeddings\.{PLANES_MODALITY}\.|encoder_embeddings\.tok_|\.lora_|\.original_module\."
    r"|\.sampler\.|\.tokenizer\."
)
"""Tensors that an arm may have beyond the checkpoint it starts from; they keep their own initialisation."""


def canonical(name: str) -> str:
    """Return a tensor's name without what peft inserted."""
    for pattern, replacement in PEFT_NAMES:
        name = pattern.sub(replacement, name)
    return name


def start_from(task: nn.Module, path: Path) -> None:
    """Load a checkpoint of another arm, widening the patch embedding on the way in.

    What the arm adds (new columns, a new modality, LoRA's matrices, in-line TiM's generator) keeps its own start;
    every other tensor must be in the checkpoint, and every tensor of the checkpoint must find its place.

    Args:
        task: The arm's TerraTorch task.
        path: Checkpoint of the arm to start from, usually the baseline.

    Raises:
        MisfitError: If it belongs to another architecture; the message names the first tensor that differs.
        WeightsError: If it cannot be read.
    """
    # with and without LoRA a layer has two names; compared by the plain one
    given = {canonical(name): value for name, value in Checkpoint.read(path).tensors.items()}
    own = network_tensors(task)
    check_fit(path, own, given, theirs=canonical, may_lack=lambda name: ADDED.search(name) is not None)
    # what the arm adds is not in the checkpoint and keeps its initialization
    state = {name: given[canonical(name)] for name in own if canonical(name) in given}
    # not strict for what the arm adds; `check_fit` has compared all else
    task.load_state_dict(state, strict=False)


def read_trained(path: Path, task: nn.Module) -> Checkpoint:
    """Read a checkpoint of exactly this network, or the safetensors of a bundle, whose weights are numbers.

    Raises:
        MisfitError: If it belongs to another architecture; the message names the first tensor that differs.
        WeightsError: If it cannot be read, or a tensor holds NaN or infinity, as after a training that diverged.
    """
    published = path.suffix == ".safetensors"
    checkpoint = read_published(path, task) if published else read_exact(path, task)
    for name, tensor in checkpoint.tensors.items():
        # counters of batch norm are whole numbers
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise WeightsError(
                f"{path}: tensor {name} is not finite (NaN or infinity), so the training diverged; train again with a "
                "smaller learning rate, or with trainer.precision bf16-mixed or 32-true"
            )
    return checkpoint


def check_trainable(task: nn.Module) -> None:
    """Make sure that the tensors an encoding added can learn.

    Raises:
        ConfigError: If one is frozen: its zeros would stay, and the arm would be the baseline under another name.
    """
    for name, parameter in task.named_parameters():
        # `original_module` is peft's frozen copy of a layer it trains whole
        added = ".added." in name or f"encoder_embeddings.{PLANES_MODALITY}." in name
        if added and not parameter.requires_grad and ".original_module." not in name:
            raise ConfigError(
                f"{name} is frozen, so nothing could be learnt from the cached planes; leave freeze_backbone and "
                "freeze_head out, with LoRA name the layer in modules_to_save, or take --encoding tokens or late, "
                "which train no layer of the backbone"
            )
