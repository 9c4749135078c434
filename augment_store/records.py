"""What is written into a store about one chip."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip_set import DIGEST_BYTES
from augment_store.chips.georeference import Georeference


@dataclass(frozen=True)
class ChipEntry:
    """A chip as it is announced to a store, before anything is generated."""

    chip_id: str
    scene_id: str
    georeference: Georeference = field(default_factory=Georeference)

    def digest(self) -> NDArray[np.uint8]:
        """128-bit BLAKE2b digest of the entry, ``[16]``."""
        words = [self.chip_id, self.scene_id, self.georeference.crs_wkt]
        place = np.asarray(self.georeference.transform, "<f8")
        place = np.where(np.isnan(place), np.nan, place)  # one NaN of the many there are
        return _digest("\0".join(words).encode(), place.tobytes())


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


def content_digest(fingerprint: str, chip_id: str, name: str, values: NDArray[Any]) -> NDArray[np.uint8]:
    """128-bit BLAKE2b digest of one chip's values of an array, ``[16]``, bound to the chip and the spec."""
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    words = f"{fingerprint}|{name}|{plain.dtype.str}|{plain.shape}|{chip_id}|"
    return _digest(words.encode(), plain.tobytes())


def _digest(*parts: bytes) -> NDArray[np.uint8]:
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        state.update(part)
    return np.frombuffer(state.digest(), np.uint8)
