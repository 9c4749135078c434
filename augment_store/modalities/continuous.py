"""Maps of continuous values: NDVI, elevation, radar, optical bands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.modalities.definitions import LegendClass
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.modalities.map_arrays import PIXEL_DIMS, MapArray
from augment_store.modalities.rendering import NO_CODE, Picture, palette

# the smallest int16, which no map's limits include
VALUE_FILL: Final = -32768
# chip, sample, time, band, y, x
BAND_DIMS: Final = (*PIXEL_DIMS[:3], "band", *PIXEL_DIMS[3:])

Ramp = tuple[tuple[float, tuple[int, int, int]], ...]
"""Values of the shown band and their colors, ascending; colors between them are mixed."""


@dataclass(frozen=True)
class ContinuousMap(GeneratedMap):
    """A map of continuous values, stored as int16. Its tokenizer decodes by diffusion, standardised.

    Values are stored in steps of `scale` units and kept within the modality's valid range, which the published
    tokenizers, whose output is clipped to one standard deviation around the mean, never leave.

    Attributes:
        scale: Unit that a step of the stored value stands for.
        units: CF's word for the unit.
        tolerance: Two values agree if they differ by no more than this, in every band.
        shown: The band that is counted in bins and averaged.
        bins: Lowest and highest value of the bins and their number; values beyond are in the first or the last.
        ramp: Colors of the bins.
        source: Input modality that shows what the map should be.
        derive: Values ``[time, band, y, x]`` from the source's, where they are not the source's own.
        draw: Draws values ``[band, y, x]``, in their unit, as a picture; None to use the colors of the bins.
        steps: Rounds of the diffusion decoder by default.
    """

    scale: float
    units: str
    tolerance: float
    shown: str
    bins: tuple[float, float, int]
    ramp: Ramp
    source: str
    derive: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
    draw: Callable[[NDArray[np.floating]], Picture] | None = None
    steps: int = 10

    continuous: ClassVar[bool] = True
    encoding: ClassVar[str] = "value"

    @property
    def quantity(self) -> str:
        """Name the band shown, with its unit."""
        return self.shown if self.units == "1" else f"{self.shown} ({self.modality.unit})"

    @property
    def diffusion_steps(self) -> int | None:
        """Return the rounds of TerraMind's published notebooks."""
        return self.steps

    @property
    def drawn_by_legend(self) -> bool:
        """Say whether it has no picture of its own."""
        return self.draw is None

    @property
    def limits(self) -> tuple[int, int]:
        """Return the smallest and largest stored value."""
        low, high = (round(value / self.scale) for value in self.modality.valid_range)
        return low, high

    @property
    def banded(self) -> bool:
        """Say whether its values have a band axis."""
        return len(self.modality.bands) > 1

    def arrays(self, *, probabilities: bool) -> tuple[MapArray, ...]:
        """Describe the array of values; it has a band axis where there are several bands."""
        names = self.modality.bands
        attributes: dict[str, Any] = {
            "long_name": f"generated {self.name}",
            "units": self.units,
            "scale_factor": self.scale,
            "valid_range": list(self.limits),
            "_FillValue": VALUE_FILL,
        }
        attributes |= {"band_names": list(names)} if self.banded else {}
        main = MapArray(
            name=self.array,
            dims=BAND_DIMS if self.banded else PIXEL_DIMS,
            dtype="int16",
            fill=VALUE_FILL,
            bands=tuple(f"generated {self.name} {band}" for band in names)
            if self.banded
            else (f"generated {self.name}",),
            attributes=attributes,
            limits=self.limits,
            nodata=VALUE_FILL,
            resampling="average",
        )
        return (main,)

    def store(self, values: NDArray[np.floating]) -> NDArray[np.int16]:
        """Return values given in their unit as they are stored; NaN becomes the fill value."""
        steps = np.round(np.clip(values, *self.modality.valid_range) / self.scale)
        # NaN passes clip and round; cast to int16, it would be an arbitrary number
        return np.where(np.isnan(values), VALUE_FILL, steps).astype(np.int16)

    def load(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return stored values in their unit; the fill value becomes NaN."""
        # a float32 scalar, since int16 times a Python float is float64
        return np.where(stored == VALUE_FILL, np.nan, stored * np.float32(self.scale)).astype(np.float32)

    def _shown(self, stored: NDArray[Any]) -> NDArray[Any]:
        # [..., band, y, x] → [..., y, x]
        return stored[..., self.modality.bands.index(self.shown), :, :] if self.banded else stored

    @cached_property
    def legend(self) -> tuple[LegendClass, ...]:
        """Return the bins of the shown band."""
        low, high, count = self.bins
        edges = np.linspace(low, high, count + 1)
        middles = (edges[:-1] + edges[1:]) / 2
        stops = [stop for stop, _ in self.ramp]
        # [stop, 3] → [3, stop]: `interp` takes one channel at a time
        channels = np.array([color for _, color in self.ramp], dtype=float).T
        colors = np.stack([np.interp(middles, stops, channel) for channel in channels], axis=1)
        digits = 0 if np.array_equal(edges, edges.round()) else 1
        unit = "" if self.units == "1" else f" {self.modality.unit}"
        return tuple(
            LegendClass(
                code,
                f"{edges[code]:.{digits}f} to {edges[code + 1]:.{digits}f}{unit}",
                (int(red), int(green), int(blue)),
            )
            for code, (red, green, blue) in enumerate(colors.round().astype(int))
        )

    def codes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the bin of the shown band."""
        stored, (low, high, count) = self._shown(values), self.bins
        # a value on an edge belongs to the bin above it, whatever its decimal fraction is in binary
        bins = np.floor((stored * self.scale - low) * count / (high - low) + 1e-9).clip(0, count - 1)
        return np.where(stored == VALUE_FILL, NO_CODE, bins).astype(np.uint8)

    def same(self, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where all bands lie close together."""
        # the difference of two int16 may not fit one
        apart = np.abs(one.astype(np.int32) - other.astype(np.int32))
        close: NDArray[np.bool_] = (
            (apart <= self.tolerance / self.scale) & (one != VALUE_FILL) & (other != VALUE_FILL)
        )
        if self.banded:
            # [..., band, y, x] → [..., y, x]
            close = np.all(close, axis=-3)
        return close

    def mean(self, values: NDArray[Any]) -> float:
        """Return the mean of the shown band."""
        stored = self._shown(values)
        there = stored[stored != VALUE_FILL]
        return float(there.mean() * self.scale) if there.size else np.nan

    def picture(self, values: NDArray[Any]) -> Picture:
        """Draw it like inputs of its kind, or in the colors of the bins."""
        # [y, x] → [1, y, x], as `draw` takes bands
        return self.picture_of(self.load(values if self.banded else values[None]))

    def picture_of(self, values: NDArray[np.floating]) -> Picture:
        """Draw values ``[band, y, x]`` given in their unit."""
        if self.draw is not None:
            return self.draw(values)
        stored = self.store(values)
        # back to [y, x], as `codes` expects a band axis only of several bands
        return palette(self.legend)[self.codes(stored if self.banded else stored[0])]
