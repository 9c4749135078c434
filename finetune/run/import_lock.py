"""Let the parser of YAMLs import the classes of a recorded run and no others: the lock behind `finetune.run.trust`."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jsonargparse import set_parsing_settings
from jsonargparse._common import parsing_settings

from finetune.run.trainer import OWN_CLASSES

DOTTED: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


@contextlib.contextmanager
def import_lock(config: Mapping[str, Any], overrides: Sequence[str]) -> Iterator[None]:
    """Deny the parser every import but the classes that a configuration names, those of our trainer, and the user's.

    Args:
        config: A configuration by `finetune.run.trust.rebuild`, so that the classes it names are listed ones.
        overrides: Options that the user typed; what they name is trusted.
    """
    named = {*class_paths(config), *OWN_CLASSES}
    # the parser checks where a class is defined, too: torch.optim.AdamW is torch.optim.adamw.AdamW
    allowed = {*named, *map(_defined, named)}
    allowed |= {match.group() for word in overrides for match in DOTTED.finditer(word)}
    before = dict(parsing_settings)  # the library's settings hold for the process and have no way back
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=sorted(allowed))
    try:
        yield
    finally:
        parsing_settings.update(before)


def class_paths(value: Any) -> Iterator[str]:
    """Yield every class path of a configuration."""
    if isinstance(value, Mapping):
        if isinstance(value.get("class_path"), str):
            yield value["class_path"]
        for entry in value.values():
            yield from class_paths(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from class_paths(entry)


def _defined(path: str) -> str:
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    return f"{found.__module__}.{found.__qualname__}"
