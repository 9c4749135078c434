"""What the configuration of someone else's run may name, so that opening it runs no code that came with it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from finetune.errors import ConfigError

DOTTED: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
"""What the parser may take for the place of a class."""

TRUSTED: Final = frozenset(
    {
        *("albumentations", "finetune", "lightning", "pytorch_lightning", "segmentation_models_pytorch"),
        *("terratorch", "timm", "torch", "torchgeo", "torchmetrics", "torchvision"),
    }
)
"""Packages whose classes the configuration of someone else's run may name."""

CUSTOM_MODULES: Final = "custom_modules_path"
"""TerraTorch's key for a folder of the user's own modules, which it imports."""


def check_trusted(config: Mapping[str, Any], origin: Path, own: str | None = None) -> None:
    """Makes sure that building a run's configuration imports no code that came with it.

    The parser imports whatever a dotted name leads to before it looks at what it is, and the working folder is on the
    path. Nothing is imported here.

    Args:
        config: The configuration as plain values.
        origin: Its file, for the message.
        own: Folder of the user's own modules, where the command line names one.

    Raises:
        ConfigError: Naming the first key that leads to code outside `TRUSTED` and `own`.
    """
    trusted = TRUSTED | ({Path(own).name} if own is not None else set())
    folder = config.get(CUSTOM_MODULES)
    if folder is not None and folder != own:
        raise ConfigError(
            f"{origin}: {CUSTOM_MODULES}: {folder} would run the code in that folder; if you trust it, add "
            f"--{CUSTOM_MODULES} {folder}, or score with --config {origin} --checkpoint FILE"
        )
    for key, text in _strings(config, ""):
        root = text.partition(".")[0]
        if DOTTED.fullmatch(text) and root not in trusted and importlib.util.find_spec(root) is not None:
            raise ConfigError(
                f"{origin}: {key}: {text} would run code of the package {root}, which is none of "
                f"{', '.join(sorted(TRUSTED))}; if you trust it, score with --config {origin} --checkpoint FILE"
            )


def _strings(value: object, key: str) -> Iterator[tuple[str, str]]:
    """Every text of a configuration with its key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from _strings(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for place, entry in enumerate(value):
            yield from _strings(entry, f"{key}[{place}]")
