"""What is written into a store about one chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from augment_store.chips import Georeference


@dataclass(frozen=True)
class ChipEntry:
    """A chip as it is announced to a store, before anything is generated."""

    chip_id: str
    scene_id: str
    georeference: Georeference = field(default_factory=Georeference)


@dataclass(frozen=True)
class ChipRecord:
    """What became of one chip.

    Attributes:
        chip_id: Id of the chip.
        arrays: The store's arrays for it (map arrays, ``input_digest``, ``timestep_source``), without the
            chip dimension; empty where it failed.
        error: Why it failed, empty where it is complete.
    """

    chip_id: str
    arrays: Mapping[str, NDArray[Any]]
    error: str = ""
