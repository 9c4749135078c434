"""A chip's raw rasters: their timesteps, and digests of what was read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment_store.errors import ChipDataError
from augment_store.modalities.definitions import INPUT_MODALITIES
from augment_store.modalities.values import missing, to_float32

DIGEST_BYTES = 16


@dataclass(frozen=True)
class Chip:
    """One chip's raw rasters, as they are on disk, but for what their files declare about their values.

    Attributes:
        chip_id: Id of the chip.
        rasters: ``[T or 1, C, H, W]`` per modality, in the file's own data type and units, unless it declares a scale,
            an offset or a unit: then float32 in the modality's. Declared no data is −9999, or NaN in floats.
        positions: Position in its file of each timestep of a raster, ``[T or 1]``; of one that is not named, the
            raster is the whole file.
        notes: What the file of each modality declares about its values and was applied to them.
    """

    chip_id: str
    rasters: Mapping[str, NDArray[Any]]
    positions: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def timesteps(self) -> int:
        """Return the number of timesteps T; a modality with one raster stands for all of them."""
        return max(int(raster.shape[0]) for raster in self.rasters.values())

    @property
    def shape(self) -> tuple[int, int]:
        """Return height H and width W in pixels."""
        # any raster will do, as `ChipSet.read` refuses those of different sizes
        height, width = next(iter(self.rasters.values())).shape[-2:]
        return int(height), int(width)

    def at(self, timestep: int) -> dict[str, NDArray[Any]]:
        """Return the rasters ``[C, H, W]`` of one timestep, by modality."""
        return {name: at_timestep(raster, timestep) for name, raster in self.rasters.items()}

    def series_index(self, modalities: Sequence[str]) -> NDArray[np.int32]:
        """Return the position in its file of each timestep, ``[modality, T]``; 0 where one raster stands for all."""
        # without positions, a raster is its whole file: 0, 1, 2 …
        rows = [self.positions.get(name, np.arange(len(self.rasters[name]))) for name in modalities]
        # [T or 1] → [T] each, then [modality, T]
        return np.stack([np.broadcast_to(row, self.timesteps) for row in rows]).astype(np.int32)

    def digests(self) -> NDArray[np.uint8]:
        """Return the 128-bit BLAKE2b digest of each timestep's raw input, ``[T, 16]``.

        It covers names, data types, shapes and values, so that equal digests mean equal input.
        """
        rows = []
        for timestep in range(self.timesteps):
            state = hashlib.blake2b(digest_size=DIGEST_BYTES)
            # sorted, so that the order in which modalities were asked for does not count
            for name, raster in sorted(self.at(timestep).items()):
                state.update(f"{name}|{raster.dtype.newbyteorder('<').str}|{raster.shape}|".encode())
                state.update(np.ascontiguousarray(raster, dtype=raster.dtype.newbyteorder("<")).tobytes())
            rows.append(np.frombuffer(state.digest(), dtype=np.uint8))
        return np.stack(rows)


def at_timestep(raster: NDArray[Any], timestep: int | Sequence[int]) -> NDArray[Any]:
    """Return a raster's timestep, or several; a raster of length 1 stands for every timestep.

    Args:
        raster: Values ``[T or 1, …]``.
        timestep: Timestep counted from 0, which drops the axis, or a sequence of them, which keeps it.

    Raises:
        ChipDataError: If a timestep does not exist: wrapping around would hand out another date.
    """
    length = raster.shape[0]
    wanted = [timestep] if isinstance(timestep, int) else list(timestep)
    if length != 1 and wanted and not 0 <= min(wanted) <= max(wanted) < length:
        raise ChipDataError(f"timestep {timestep} asked for; there are {length}, counted from 0")
    positions = [0] * len(wanted) if length == 1 else wanted
    # a number drops the time axis, [C, H, W]; a list keeps it, [n, C, H, W]
    picked: NDArray[Any] = raster[positions[0] if isinstance(timestep, int) else positions]
    return picked


def select_timesteps(
    chip: Chip, timesteps: Sequence[int], nodata: float | None = None, fill: float = math.nan
) -> dict[str, NDArray[np.float32]]:
    """Return a chip's rasters as float32 ``[C, T, H, W]``, or ``[C, H, W]`` for one timestep; no data is `fill`.

    With 0 as `fill` it equals, bit for bit, what the public reader of ImpactMesh (0.2.0) returns for chips whose only
    no-data value is −9999, as Phase 2's; that reader lets a DEM of −32768 and the −10000 of float16 through.

    Args:
        chip: Raw rasters.
        timesteps: Which timesteps, counted from 0; a raster without time stands for each of them.
        nodata: A value that means "no observation" in this data set, besides what `missing` knows.
        fill: What stands where there is no observation.

    Raises:
        ChipDataError: If a timestep does not exist.
    """
    if not timesteps or min(timesteps) < 0 or max(timesteps) >= chip.timesteps:
        raise ChipDataError(
            f"chip {chip.chip_id}: timesteps {list(timesteps)} asked for; it has {chip.timesteps}"
        )
    stacked = {}
    for name, raster in chip.rasters.items():
        # [T or 1, C, H, W] → [t, C, H, W]; all of them in their order are not copied
        raw = raster if list(timesteps) == [*range(len(raster))] else at_timestep(raster, timesteps)
        # [t, C, H, W] → [C, t, H, W] and to float32 in one pass over the values
        picked = to_float32(raw.swapaxes(0, 1))
        by_time = picked.swapaxes(0, 1)
        # in the file's own type, in which `missing` compares
        unobserved = missing(raw, INPUT_MODALITIES[name], by_time)
        if nodata is not None:  # compared with None, NumPy would compare objects, one by one
            unobserved |= by_time == nodata
        by_time[unobserved] = fill
        # [C, t, H, W] → [C, H, W] of one timestep
        stacked[name] = picked[:, 0] if len(timesteps) == 1 else picked
    return stacked
