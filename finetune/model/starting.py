"""Starting an arm from an existing checkpoint, whatever the arm adds to the network on the way in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torch import Tensor, nn

from finetune.augment.encodings import PLANES_MODALITY
from finetune.errors import ConfigError
from terramind_weights.files import WeightsError, read_checkpoint

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
"""Tensors that an arm may have beyond the checkpoint it starts from, with the start they have anyway."""


def canonical(name: str) -> str:
    """A tensor's name without what peft inserted."""
    for pattern, replacement in PEFT_NAMES:
        name = pattern.sub(replacement, name)
    return name


def read_task_state(path: Path) -> dict[str, Tensor]:
    """State dict of a TerraTorch task from a Lightning checkpoint or a bare state dict.

    Raises:
        WeightsError: If it cannot be read, or holds no network of a TerraTorch task.
    """
    checkpoint = read_checkpoint(path)
    state = checkpoint.get("state_dict", checkpoint)
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not any(name.startswith("model.") for name in tensors):
        raise WeightsError(
            f"{path}: no tensors named model.…; expected a checkpoint that TerraTorch's task has saved"
        )
    return {name: value for name, value in tensors.items() if name.startswith("model.")}


def read_same(path: Path, task: nn.Module) -> dict[str, Tensor]:
    """Tensors of a checkpoint of this very network: the same names, in the same shapes.

    Raises:
        WeightsError: Naming the first tensor that is missing, of another shape, or surplus; or if the checkpoint
            cannot be read.
    """
    given = read_task_state(path)
    own = {name: value for name, value in task.state_dict().items() if name.startswith("model.")}
    for name, tensor in own.items():
        if name not in given:
            raise _other(path, f"tensor {name} is missing")
        if given[name].shape != tensor.shape:
            found, expected = tuple(given[name].shape), tuple(tensor.shape)
            raise _other(path, f"tensor {name} has shape {found}, expected {expected}")
    surplus = next((name for name in given if name not in own), None)
    if surplus is not None:
        raise _other(path, f"tensor {surplus} has no place in this model")
    return given


def check_resumable(path: Path) -> None:
    """Makes sure that a checkpoint holds all that a training resumes from, not the weights alone.

    Raises:
        WeightsError: If it does not.
    """
    if "optimizer_states" not in read_checkpoint(path):
        raise WeightsError(
            f"{path}: holds weights only, so no training can be resumed from it; start a run from it with --init"
        )


def _other(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{path}: of another architecture: {what}; fit --init starts another arm from a checkpoint"
    )


def start_from(task: nn.Module, path: Path) -> None:
    """Loads a checkpoint of another arm, widening the patch embedding on the way in.

    What the arm adds (new columns, a new modality, LoRA's matrices, in-line TiM's generator) keeps its own start;
    every other tensor must be in the checkpoint, and every tensor of the checkpoint must find its place.

    Args:
        task: The arm's TerraTorch task.
        path: Checkpoint of the arm to start from, usually the baseline.

    Raises:
        WeightsError: If it is of another architecture; the message names the first tensor that differs.
    """
    given = {canonical(name): value for name, value in read_task_state(path).items()}
    own = {name: value for name, value in task.state_dict().items() if name.startswith("model.")}
    wanted = {name: canonical(name) for name in own if canonical(name) in given}
    _check_fit(path, own, given, wanted)
    task.load_state_dict({ours: given[theirs] for ours, theirs in wanted.items()}, strict=False)


def _check_fit(
    path: Path, own: Mapping[str, Tensor], given: Mapping[str, Tensor], wanted: Mapping[str, str]
) -> None:
    other = "the checkpoint is of another architecture"
    for name in own:
        if name not in wanted and not ADDED.search(name):
            raise WeightsError(f"{path}: tensor {canonical(name)} is missing; {other}")
    for ours, theirs in wanted.items():
        if own[ours].shape != given[theirs].shape:
            found, expected = tuple(given[theirs].shape), tuple(own[ours].shape)
            raise WeightsError(f"{path}: tensor {theirs} has shape {found}, expected {expected}; {other}")
    homeless = sorted(set(given) - set(wanted.values()))
    if homeless:
        raise WeightsError(f"{path}: tensor {homeless[0]} has no place in this model; {other}")


def check_trainable(task: nn.Module) -> None:
    """Makes sure that what an encoding added can learn.

    Raises:
        ConfigError: If it is frozen; its zeros would stay, and the arm would be the baseline under another name.
    """
    for name, parameter in task.named_parameters():
        added = ".added." in name or f"encoder_embeddings.{PLANES_MODALITY}." in name
        if added and not parameter.requires_grad and ".original_module." not in name:
            raise ConfigError(
                f"{name} is frozen, so the cached planes could never be learnt from; leave freeze_backbone out, and "
                "with LoRA name the layer in modules_to_save"
            )
