"""From raw rasters to what the generator sees: no-data marked, units converted, offset removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip_set import Chip
from augment_store.chips.layouts import Layout
from augment_store.errors import ChipDataError
from augment_store.modalities import INPUT_MODALITIES, S1_MODALITIES, S2_MODALITIES, native


@dataclass(frozen=True)
class Units:
    """How values on disk become TerraMind's pretraining units.

    Attributes:
        s1_linear: Whether radar is linear power on disk, to be converted to dB.
        s2_offset: Subtracted from Sentinel-2, in reflectance × 10⁴ (1000 if the offset of processing baseline 04.00
            or later was left in).
    """

    s1_linear: bool = False
    s2_offset: float = 0.0

    @classmethod
    def of(cls, layout: Layout, s1_unit: str | None = None, s2_offset: float | None = None) -> Self:
        """Units by the layout, unless the command line says otherwise.

        Args:
            layout: Layout of the chip set.
            s1_unit: ``dB``, ``linear``, or None for the layout's.
            s2_offset: The offset, or None for the layout's.
        """
        offset = layout.s2_offset if s2_offset is None else s2_offset
        return cls(s1_linear=(s1_unit or layout.s1_unit) == "linear", s2_offset=offset)

    def offset(self, modality: str) -> float:
        """Offset of one modality, in its unit on disk."""
        return self.s2_offset if modality in S2_MODALITIES else 0.0

    def name(self, modality: str) -> str:
        """``linear`` or ``native``, as the generation spec records it."""
        return "linear" if modality in S1_MODALITIES and self.s1_linear else "native"


def to_native(raster: NDArray[Any], modality: str, units: Units) -> NDArray[np.float32]:
    """A raster in pretraining units, NaN where nothing was observed.

    Args:
        raster: Raw values ``[..., C, H, W]``.
        modality: Name of an input modality.
        units: Units of the values on disk.

    Returns:
        float32 of the same shape, see `augment_store.modalities.native`.
    """
    linear = units.name(modality) == "linear"
    return native(raster, INPUT_MODALITIES[modality], linear=linear, offset=units.offset(modality))


def native_images(chip: Chip, timesteps: Sequence[int], units: Units) -> Mapping[str, NDArray[np.float32]]:
    """Images ``[len(timesteps), C, H, W]`` of a chip in pretraining units, by modality.

    Raises:
        ChipDataError: If a modality has no valid value at one of the timesteps.
    """
    images = {}
    for name, raster in chip.rasters.items():
        picked = raster[[timestep % raster.shape[0] for timestep in timesteps]]
        images[name] = to_native(picked, name, units)
        empty = np.isnan(images[name]).all(axis=(1, 2, 3))
        if empty.any():
            timestep = timesteps[int(empty.argmax())]
            raise ChipDataError(
                f"chip {chip.chip_id}: {name} has no valid value at timestep {timestep} (only NaN or no data); "
                "replace the file, or leave the modality out with --inputs"
            )
    return images
