"""What a folder or a YAML is instead of what was expected, for messages to whoever swapped two of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from augment_store.io.remote import RemotePath
from augment_store.utils.text import join_first

_FOLDERS: Final[Mapping[str, str]] = {
    "zarr.json": "an augment store",
    "manifest.json": "a run of tim-finetune fit",
    "report.json": "a report of tim-eval compare",
    "declarations.jsonl": "a study of tim-eval",
}
"""Kind of a folder by a file that it has."""

_YAMLS: Final[Mapping[frozenset[str], str]] = {
    frozenset({"arms", "comparisons"}): "a study; give it to tim-eval study",
    frozenset({"data", "model"}): "a fine-tune; give it to tim-finetune fit",
    frozenset({"images"}): "a layout; give it as --layout",
    frozenset({"classes", "mapping"}): "a legend table; give it as --legend",
}
"""Kind of a YAML by the keys that it has."""


def found_folder(path: Path) -> str:
    """Return the end of a sentence that says what is not at a path: what is there instead, empty if unknown."""
    if isinstance(path, RemotePath):  # a bucket is asked nothing more for a message
        return ""
    kind = next((kind for name, kind in _FOLDERS.items() if (path / name).is_file()), "")
    inner = [] if kind else sorted(path.glob("*/manifest.json"))
    if inner:
        kind = f"a folder of runs ({join_first(file.parent.name for file in inner)})"
    return f", but {kind}" if kind else ""


def found_yaml(plain: Any, expected: str) -> str:
    """Return the end of a sentence that says that a YAML is not what was expected: what it is, empty if unknown.

    Args:
        plain: Its values.
        expected: The kind that was expected, which may be there with a mistake in it.
    """
    keys = frozenset(plain) if isinstance(plain, dict) else frozenset()
    kinds = (kind for known, kind in _YAMLS.items() if known <= keys and not kind.startswith(expected))
    return next((f", but {kind}" for kind in kinds), "")
