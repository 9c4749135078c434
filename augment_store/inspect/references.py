"""What a chip's map is compared with: its mask, its LULC raster, or the NDVI its own bands give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.rasters import read_raster
from augment_store.errors import ChipDataError
from augment_store.inspect.kinds import NO_CODE, MapKind
from augment_store.legend import LegendTable
from augment_store.modalities import IGNORED_LABEL, LULC_LEGEND, S2L2A, LegendClass
from augment_store.schema import NDVI_FILL, NDVI_SCALE

_RED: Final = S2L2A.bands.index("RED")
_NIR: Final = S2L2A.bands.index("NIR_BROAD")


@dataclass(frozen=True)
class Reference:
    """A chip's reference.

    Attributes:
        codes: ``[y, x]`` values of `classes`, `NO_CODE` where there is no reference.
        classes: Legend of the codes.
        agreement: Share of the reference's pixels that maps ``[sample, time, y, x]`` agree with, mean over
            samples and timesteps; a class without counterpart in the reference's legend does not agree.
    """

    codes: NDArray[np.uint8]
    classes: tuple[LegendClass, ...]
    agreement: Callable[[NDArray[Any]], float]


@dataclass(frozen=True)
class References:
    """Reads the references of a chip set.

    Attributes:
        chips: The chip set.
        kind: Kind of map in the store.
        table: From the generator's legend to the masks'.
    """

    chips: ChipSet
    kind: MapKind
    table: LegendTable

    def read(self, chip_id: str, size: int) -> Reference | None:
        """A chip's reference, None where it has none.

        Raises:
            ChipDataError: If it cannot be read, or its size is not the maps' `size`.
        """
        found = self._ndvi(chip_id) if self.kind.continuous else self._classes(chip_id)
        if found is not None and found.codes.shape != (size, size):
            raise ChipDataError(
                f"chip {chip_id}: the reference is {found.codes.shape} pixels, the store's maps {(size, size)}"
            )
        return found

    def _classes(self, chip_id: str) -> Reference | None:
        mask = self.chips.mask_path(chip_id)
        if mask is not None and mask.is_file():
            return _labelled(self.chips.mask(chip_id), self.table.classes, self.table.apply)
        if not self.chips.has(chip_id, "LULC"):
            return None
        raster = read_raster(self.chips.path(chip_id, "LULC"))
        codes = raster[0, 0].astype(np.int64)  # first: −1 does not fit the file's unsigned type
        labels = np.where(codes == 0, IGNORED_LABEL, codes)
        return _labelled(labels, LULC_LEGEND, lambda values: values.astype(np.int64))

    def _ndvi(self, chip_id: str) -> Reference | None:
        if not self.chips.has(chip_id, "S2L2A"):
            return None
        bands = self.chips.raster(chip_id, "S2L2A")
        stored = _stored_ndvi(bands[:, _RED].astype(np.float64), bands[:, _NIR].astype(np.float64))

        def compare(values: NDArray[Any]) -> float:
            valid = np.broadcast_to(stored != NDVI_FILL, values.shape)
            return float(self.kind.same(values, stored)[valid].mean()) if valid.any() else np.nan

        return Reference(self.kind.codes(stored[0]), self.kind.classes, compare)


def _stored_ndvi(red: NDArray[np.float64], nir: NDArray[np.float64]) -> NDArray[np.int16]:
    """(NIR − red) / (NIR + red) in units of 1e-4, as a store holds it; fill where the sum is not positive."""
    total = red + nir
    valid = (total > 0) & (red >= 0) & (nir >= 0)
    ratio = np.divide(nir - red, total, out=np.zeros_like(total), where=valid)
    return np.where(valid, np.round(ratio / NDVI_SCALE), NDVI_FILL).astype(np.int16)


def _labelled(
    labels: NDArray[np.int64],
    classes: tuple[LegendClass, ...],
    translate: Callable[[NDArray[Any]], NDArray[np.int64]],
) -> Reference:
    counted = labels != IGNORED_LABEL

    def compare(values: NDArray[Any]) -> float:
        return float((translate(values) == labels)[..., counted].mean()) if counted.any() else np.nan

    return Reference(np.where(counted, labels, NO_CODE).astype(np.uint8), classes, compare)
