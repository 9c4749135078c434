"""From raw rasters to what the generator sees: no-data marked, units converted, offset removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip import Chip, at_timestep
from augment_store.chips.units import Units
from augment_store.errors import ChipDataError
from augment_store.modalities.definitions import INPUT_MODALITIES
from augment_store.modalities.values import native


def to_native(raster: NDArray[Any], modality: str, units: Units) -> NDArray[np.float32]:
    """Return a raster in pretraining units, NaN where nothing was observed.

    Args:
        raster: Raw values ``[..., C, H, W]``.
        modality: Name of an input modality.
        units: Units of the values on disk.

    Returns:
        float32 of the same shape, see `augment_store.modalities.values.native`.
    """
    return native(
        raster, INPUT_MODALITIES[modality], unit=units.name(modality), offset=units.offset(modality)
    )


def native_images(chip: Chip, timesteps: Sequence[int], units: Units) -> Mapping[str, NDArray[np.float32]]:
    """Return images ``[len(timesteps), C, H, W]`` of a chip in pretraining units, by modality.

    Raises:
        ChipDataError: If a modality has no valid value at one of the timesteps.
    """
    images = {}
    for name, raster in chip.rasters.items():
        picked = at_timestep(raster, timesteps)
        images[name] = to_native(picked, name, units)
        # [timesteps, C, H, W] → [timesteps]
        empty = np.isnan(images[name]).all(axis=(1, 2, 3))
        if empty.any():
            timestep = timesteps[int(empty.argmax())]
            raise ChipDataError(
                f"chip {chip.chip_id}: {name} has no valid value at timestep {timestep} (only NaN or no data); "
                "replace the file, or leave the modality out with --inputs"
            )
    return images
