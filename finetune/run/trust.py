"""What the configuration of someone else's run may name, so that opening it runs no code that came with it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from augment_store.utils.text import single_line
from finetune.errors import ConfigError

TRUSTED: Final = frozenset(
    {
        *("albumentations", "finetune", "lightning", "pytorch_lightning", "segmentation_models_pytorch"),
        *("terratorch", "timm", "torch", "torchgeo", "torchmetrics", "torchvision"),
    }
)
"""Packages whose classes the configuration of someone else's run may name."""

CUSTOM_MODULES: Final = "custom_modules_path"
"""TerraTorch's key for a folder of the user's own modules, which it imports."""

CLASS: Final = "class_path"
"""The parser's key for the place of a class."""

PLAIN: Final = frozenset(
    f"data.init_args.{name}"
    for name in (
        *("data_root", "augment", "layout", "scenes"),
        *("train_split", "val_split", "test_split", "predict_split"),
    )
)
"""Paths and patterns, which our datamodule takes only as text, so that the parser makes no class from them."""

WEIGHTS: Final = "model.init_args.model_args.backbone_weights"
"""A file that the backbone reads and the parser does not."""


def check_trusted(config: Mapping[str, Any], origin: Path, own: str | None = None) -> None:
    """Makes sure that building a run's configuration imports no code that came with it.

    The parser imports whatever a dotted name leads to before it checks what it is, and the working folder is on the
    path. Where it expects a class, it also reads a text as YAML, or a file that the text names; both are refused
    everywhere, rather than following the parser's logic. Nothing is imported here.

    Args:
        config: The configuration as plain values.
        origin: Its file, for the message.
        own: Folder of the user's own modules, if the command line names one.

    Raises:
        ConfigError: Naming the first key that leads to code outside `TRUSTED` and `own`, or that hides where it leads.
    """
    trusted = TRUSTED | ({Path(own).name} if own is not None else set())
    folder = config.get(CUSTOM_MODULES)
    if folder is not None and folder != own:
        raise ConfigError(
            f"{origin}: {CUSTOM_MODULES}: {folder} would run the code in that folder; if you trust it, add "
            f"--{CUSTOM_MODULES} {folder}, or score with --config {origin} --checkpoint FILE"
        )
    for key, text in _strings(config, ""):
        reason = None if key == CUSTOM_MODULES or key in PLAIN else _objection(key, text, trusted)
        if reason is not None:
            raise ConfigError(
                f"{origin}: {key}: {_short(text)} {reason}; if you trust it, score with --config {origin} "
                "--checkpoint FILE"
            )


def _objection(key: str, text: str, trusted: frozenset[str]) -> str | None:
    """Why a text must not be handed to the parser; None if it may be."""
    if _hides(text):
        return "holds values written as one text, which may name any class; expected plain YAML"
    for reading in _readings(text):
        if key != WEIGHTS and _is_file(reading):
            return (
                "names a file, which the parser would read classes from; expected its contents in its place"
            )
        if _is_foreign(key, reading, trusted):
            root = _short(reading.partition(".")[0])
            return f"would run code of the package {root}, which is none of {', '.join(sorted(TRUSTED))}"
    return None


def _hides(text: str) -> bool:
    """Whether the parser could find a mapping or a list in a text."""
    if "{" in text or CLASS in text or "\n" in text or "\r" in text or text.lstrip().startswith("["):
        return True
    return any(isinstance(_value(reading), dict | list | tuple | set) for reading in _readings(text))


def _readings(text: str) -> Iterator[str]:
    """A text, and each shorter one that YAML makes of it by dropping quotes, spaces and comments."""
    yield text
    value = _value(text)
    if isinstance(value, str) and len(value) < len(text):
        yield from _readings(value)


def _value(text: str) -> object:
    """What YAML makes of a text: the text itself if it is not YAML, a list if nobody can tell."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    except (ValueError, RecursionError):  # an impossible date or number, or nested too deep
        return []


def _is_file(text: str) -> bool:
    """Whether there is a file, a pipe or a device of that name."""
    path = os.path.expanduser(text)  # noqa: PTH111 # the parser does, and pathlib fails for an unknown user
    return not os.path.isdir(path) and os.path.exists(path)  # noqa: PTH110, PTH112 # these take any text


def _is_foreign(key: str, text: str, trusted: frozenset[str]) -> bool:
    """Whether a text names something in an untrusted package, as far as the parser may import it."""
    parts = text.split(".")
    if key.endswith(CLASS):  # a name without a package is a class that is already loaded
        return not all(map(str.isidentifier, parts)) or (len(parts) > 1 and parts[0] not in trusted)
    return (
        len(parts) > 1
        and all(map(str.isidentifier, parts))
        and parts[0] not in trusted
        and _is_importable(parts[0])
    )


def _is_importable(package: str) -> bool:
    """Whether there is such a package; for some, such as ``__main__``, nobody can tell."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, AttributeError, ValueError):
        return True


def _short(text: str) -> str:
    """A text on one line, as far as a message needs it."""
    line = single_line(text)
    return line if len(line) <= 100 else f"{line[:100]} …"


def _strings(value: object, key: str) -> Iterator[tuple[str, str]]:
    """Every text of a configuration with its key; a YAML's sets and pairs are walked like lists."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from _strings(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple | set):
        for place, entry in enumerate(value):
            yield from _strings(entry, f"{key}[{place}]")
