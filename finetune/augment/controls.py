"""Where maps come from: the protocol of a source, and the controls that stand in for a generator's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip_set import ChipSet
from augment_store.errors import ChipDataError
from augment_store.modalities import PATCH_SIZE, S2L2A
from augment_store.schema import NDVI_FILL, NDVI_SCALE
from finetune.augment.encodings import CLASSES, TOKENS
from finetune.errors import ConfigError

SHUFFLE: Final = "shuffle"
ANALYTIC_NDVI: Final = "analytic-ndvi"
CONSTANT: Final = "constant"
CONTROLS: Final = (SHUFFLE, ANALYTIC_NDVI, CONSTANT)
"""Controls that replace the generated maps by data that cannot, or need not, come from a generator."""


class Maps(Protocol):
    """A source of maps."""

    def read(self, array: str, chip_id: str) -> NDArray[Any]:
        """Raw values of one chip, ``[sample, time, …]``."""
        ...


class ShuffledMaps:
    """The control `shuffle`: every chip gets the maps of another chip of its split, never its own.

    Args:
        maps: The maps.
        ids: Chips of a split.
        seed: Fixes who gets whose.

    Raises:
        ConfigError: If there is no other chip.
    """

    def __init__(self, maps: Maps, ids: Iterable[str], seed: int) -> None:
        ordered = sorted(ids)
        if len(ordered) < 2:
            raise ConfigError(f"--control shuffle: split with one chip ({ordered[0]}); it takes two or more")
        ring = [ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))]
        self.donor = dict(zip(ring, [*ring[1:], ring[0]], strict=True))
        self._maps = maps

    def read(self, array: str, chip_id: str) -> NDArray[Any]:
        """Raw values of the chip's donor, ``[sample, time, …]``."""
        return self._maps.read(array, self.donor[chip_id])


class AnalyticNdvi:
    """The control `analytic-ndvi`: NDVI from the chip's own raw bands, B08 and B04, without a generator.

    Stored as the store holds NDVI, so that it takes the same way into the model.

    Args:
        chips: Chip set with S2L2A.
    """

    def __init__(self, chips: ChipSet) -> None:
        self._chips = chips

    def read(self, array: str, chip_id: str) -> NDArray[Any]:
        """NDVI ``[1, time, y, x]`` as int16 of scale 1e-4; the fill value where a band has no data.

        Raises:
            ChipDataError: If another array than ``ndvi`` is asked for.
        """
        if array != "ndvi":
            raise ChipDataError(
                f"--control {ANALYTIC_NDVI} has no array {array!r}; use it with --encoding ndvi"
            )
        bands = self._chips.read(chip_id, ("S2L2A",)).rasters["S2L2A"].astype(np.float32)
        red, nir = (bands[:, S2L2A.bands.index(name)] for name in ("RED", "NIR_BROAD"))
        total = nir + red
        valid = np.isfinite(total) & (total > 0) & (red != S2L2A.nodata[0]) & (nir != S2L2A.nodata[0])
        ratio = np.divide(nir - red, total, out=np.zeros_like(total), where=valid)
        scaled = np.round(np.clip(ratio, -1, 1) / NDVI_SCALE)
        return np.where(valid, scaled, NDVI_FILL).astype(np.int16)[None]


DTYPES: Final[Mapping[str, str]] = {TOKENS: "uint16", "ndvi": "int16", "token_probability": "float32"}
"""Of arrays that are not bytes."""


class ConstantMaps:
    """The control `constant`: the same value in every pixel of every chip; as many weights, no information.

    Args:
        values: Raw value of each array.
        size: Side of the chips in pixels.
    """

    def __init__(self, values: Mapping[str, int], size: int) -> None:
        self._values = values
        self._size = size

    def read(self, array: str, chip_id: str) -> NDArray[Any]:
        """Raw values of any chip, ``[1, 1, …]``: one sample, one timestep that stands for all."""
        side = self._size // PATCH_SIZE if array == TOKENS else self._size
        classes = (CLASSES,) if array == "probabilities" else ()
        dtype = np.dtype(DTYPES.get(array, "uint8"))
        return np.full((1, 1, *classes, side, side), self._values[array], dtype=dtype)
