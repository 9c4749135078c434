"""Checkpoints of TerraTorch's tasks: read once, and compared with the network they will fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from torch import Tensor, nn

from terramind_weights.weight_files import WeightsError, read_checkpoint

NETWORK: Final = "model."
"""Prefix of the network's tensors in a task; other tensors, such as a criterion's, are not weights."""


class MisfitError(WeightsError):
    """A checkpoint is intact, but belongs to another network.

    Attributes:
        what: The first thing that differs.
    """

    kind = "misfit"

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path}: has another architecture than this network: {what}; give the configuration it was trained with"
        )
        self.what = what


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read.

    Attributes:
        path: The file.
        tensors: The network's tensors by name, each beginning with `NETWORK`.
        resumable: Whether training can resume from it; not if it holds weights alone.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    resumable: bool

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a Lightning checkpoint or a bare state dict.

        Raises:
            WeightsError: If it is missing or damaged, or holds no network of a TerraTorch task.
        """
        whole: Mapping[str, Any] = read_checkpoint(path)
        # Lightning keeps tensors under a key of their own, beside optimizers and loops
        state = whole.get("state_dict", whole)
        # a file from elsewhere may have anything there; the check below then refuses it
        named = state.items() if isinstance(state, Mapping) else ()
        tensors = {
            name: value
            for name, value in named
            if isinstance(value, Tensor) and str(name).startswith(NETWORK)
        }
        if not tensors:
            raise WeightsError(
                f"{path}: no tensors named {NETWORK}…; expected a checkpoint that TerraTorch's task has saved"
            )
        # Lightning saves optimizers with every checkpoint but those of weights alone
        return cls(path, tensors, "optimizer_states" in whole)


def network_tensors(task: nn.Module) -> dict[str, Tensor]:
    """Return the network's tensors of a task, under the names its checkpoints have."""
    return {name: value for name, value in task.state_dict().items() if name.startswith(NETWORK)}


def read_exact(path: Path, task: nn.Module) -> Checkpoint:
    """Read a checkpoint of exactly this network: the same names, in the same shapes.

    Raises:
        MisfitError: Naming the first tensor that is missing, of another shape, or surplus.
        WeightsError: If the checkpoint cannot be read.
    """
    checkpoint = Checkpoint.read(path)
    check_fit(path, network_tensors(task), checkpoint.tensors)
    return checkpoint


def check_fit(
    path: Path,
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    # str of a text is that text: by default the names are the same
    theirs: Callable[[str], str] = str,
    may_lack: Callable[[str], bool] = lambda _: False,
) -> None:
    """Make sure that every tensor of a network is in a checkpoint, in its shape, and no other is.

    Args:
        path: The checkpoint, for the message.
        own: The network's tensors.
        given: The checkpoint's.
        theirs: The checkpoint's name of a tensor of the network.
        may_lack: Whether the checkpoint may lack a tensor of the network.

    Raises:
        MisfitError: Naming the first tensor that is missing, of another shape, or surplus.
    """
    for name, tensor in own.items():
        other = given.get(theirs(name))
        if other is None and not may_lack(name):
            raise MisfitError(path, f"tensor {theirs(name)} is missing")
        if other is not None and other.shape != tensor.shape:
            found, expected = tuple(other.shape), tuple(tensor.shape)
            raise MisfitError(path, f"tensor {theirs(name)} has shape {found}, expected {expected}")
    # sorted, since a set has another order in each run and the message names the first
    surplus = sorted(set(given) - {theirs(name) for name in own})
    if surplus:
        raise MisfitError(path, f"tensor {surplus[0]} has no place in this model")
