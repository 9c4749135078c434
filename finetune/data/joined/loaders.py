"""Loaders of another datamodule, each of which must read samples with maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader

from finetune.data.joined.dataset import JoinedDataset
from finetune.errors import ConfigError


def check_loaders(made: Any, split: str) -> None:
    """Make sure that each loader of a split reads a dataset that is joined.

    Args:
        made: What the datamodule returns: a loader, or several in a list or a dict.
        split: Its split, for messages.

    Raises:
        ConfigError: If one reads another dataset, whose samples would have no maps.
    """
    for number, loader in enumerate(list_loaders(made)):
        if not isinstance(loader.dataset, JoinedDataset):
            raise ConfigError(
                f"{split}_dataloader {number} reads a {type(loader.dataset).__name__} that was not joined, so its "
                f"samples have no maps; keep every dataset of the split as {split}_dataset, or a list of them as "
                f"{split}_datasets"
            )


def list_loaders(made: Any) -> Iterator[DataLoader[Any]]:
    """Yield the loaders in what a datamodule returns for a split."""
    # Lightning takes a loader, or lists and dicts of them, nested
    if isinstance(made, Mapping):
        made = list(made.values())
    for entry in made if isinstance(made, list | tuple) else (made,):
        if isinstance(entry, DataLoader):
            yield entry
        elif isinstance(entry, list | tuple | Mapping):
            yield from list_loaders(entry)
