"""Names that a package offers without importing what is behind them until one is used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def offer(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's ``__getattr__`` and ``__dir__`` (PEP 562), so that ``--help`` need not wait for torch.

    Args:
        package: Name of the package.
        places: Where each name is defined: ``module``, or ``module:name`` if it has another name there.
    """

    def load(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, own = places[name].partition(":")
        return getattr(importlib.import_module(module), own or name)

    return load, lambda: sorted(places)
