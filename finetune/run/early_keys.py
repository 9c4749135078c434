"""Keys of a YAML or a command line that nothing takes, told before torch is imported, with the key that was meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from augment_store.utils.text import did_you_mean
from finetune.errors import ConfigError
from finetune.run.known_classes import DATA_ARGUMENTS, DATA_PATHS, OURS, TRAINER_ARGUMENTS
from finetune.run.yaml_file import RENAMED, Config

TRAINER_KEYS: Final = TRAINER_ARGUMENTS | OURS | {"accelerator", "strategy", "callbacks"}
"""Arguments of Lightning's Trainer."""

DATA_KEYS: Final = (
    DATA_ARGUMENTS
    | DATA_PATHS
    | {"scenes", "class_names", "train_transform", "val_transform", "test_transform"}
)
"""Arguments of our datamodule."""


def check_keys(given: Config, origin: object, overrides: Sequence[str]) -> None:
    """Make sure that trainer and datamodule take what a YAML and the command line give them.

    Args:
        given: The YAML, with our datamodule.
        origin: The YAML's path, for messages.
        overrides: Options for TerraTorch's parser.

    Raises:
        ConfigError: Naming the first key that neither takes, and the one that was probably meant.
    """
    for section, keys, known in (
        ("trainer", given.get("trainer"), TRAINER_KEYS),
        ("data.init_args", given["data"].get("init_args"), DATA_KEYS),
    ):
        # a section of another type is told by TerraTorch's parser
        for key in _unknown(keys if isinstance(keys, dict) else (), known):
            raise ConfigError(f"{origin}: {section}.{key}: no such key{did_you_mean(key, known)}")
        prefix = f"--{section}."
        named = [word.removeprefix(prefix) for word in overrides if word.startswith(prefix)]
        # of callbacks+=EarlyStopping and callbacks.patience the name is the first part
        for key in _unknown((word.split("=")[0].split(".")[0].rstrip("+") for word in named), known):
            raise ConfigError(f"{prefix}{key}: no such key{did_you_mean(key, known)}")


def _unknown(keys: Iterable[Any], known: Iterable[str]) -> Iterator[str]:
    return (str(key) for key in keys if key not in {*known, *RENAMED})
