"""One array of a generated map, and what is wrong with a chip's values of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.modalities.definitions import PATCH_SIZE, LegendClass

TOKENS: Final = "tokens"
TOKEN_PROBABILITY: Final = "token_probability"
# the largest uint16, beyond any index that is allowed
TOKEN_FILL: Final = 65535
# shares of 0 to 1 as 0 to 255 in a uint8
SHARE_SCALE: Final = 1 / 255

TOKEN_DIMS: Final = ("chip", "sample", "time", "ty", "tx")
PIXEL_DIMS: Final = ("chip", "sample", "time", "y", "x")


@dataclass(frozen=True)
class MapArray:
    """One array of a generated map, whatever the number and the size of the chips.

    Attributes:
        name: Array name in the store.
        dims: Dimension names; the first is ``chip``. One between ``time`` and the last two has a value per band.
        dtype: NumPy data type.
        fill: Value where nothing has been written.
        bands: What each band holds, in words.
        attributes: CF attributes.
        limits: Smallest and largest stored value; None where every value of the type means something.
        nodata: Value that means "nothing generated here" in an export, None where every value means something.
        classes: Legend of categorical values, empty for continuous ones.
        resampling: How overviews of it are made.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    fill: float
    bands: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    limits: tuple[float, float] | None = None
    nodata: float | None = None
    classes: tuple[LegendClass, ...] = ()
    resampling: str = "nearest"

    @property
    def scale(self) -> float:
        """Factor from stored to physical value."""
        return float(self.attributes.get("scale_factor", 1.0))

    @property
    def unit(self) -> str:
        """Unit of the physical value, empty if it has none."""
        return str(self.attributes.get("units", ""))

    @property
    def pixels(self) -> int:
        """Chip pixels that a value covers in each direction."""
        return PATCH_SIZE if self.dims[-1] == "tx" else 1

    @property
    def sampled(self) -> bool:
        """Say whether each sample has its own values; otherwise they are a mean over samples."""
        return "sample" in self.dims

    @property
    def banded(self) -> bool:
        """Say whether a band dimension lies between time and the last two."""
        # without bands, what follows the time is y or ty itself
        return self.dims[self.dims.index("time") + 1] != self.dims[-2]

    @property
    def time_axis(self) -> int:
        """Position of the time in one chip's values."""
        # one chip's values lack the chip axis
        return self.dims.index("time") - 1

    def problem(self, values: NDArray[Any]) -> str:
        """Say what is wrong with one chip's values; empty if nothing is."""
        # finds nothing if the fill is NaN, which `outside` then finds
        unwritten = values == self.fill
        if unwritten.all():
            return f"{self.name} was never written"
        if self.limits is None:
            return ""
        low, high = self.limits
        # a fill value within the limits may be a real one
        if not low <= self.fill <= high and unwritten.any():
            return f"{self.name} is not filled in everywhere"
        outside = ~((values >= low) & (values <= high))  # NaN satisfies neither
        if not outside.any():
            return ""
        worst, *limits = (float(value) * self.scale for value in (values[outside][0], low, high))
        return f"{self.name} holds {worst:g}, outside {limits[0]:g} to {limits[1]:g}"


def by_pixel(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Spread values of tokens ``[..., ty, tx]`` over the pixels ``[..., y, x]`` of a chip of that `shape`."""
    height, width = shape
    # cut, as the last patch may reach beyond the chip
    return values.repeat(PATCH_SIZE, axis=-1).repeat(PATCH_SIZE, axis=-2)[..., :height, :width]


def token_arrays(modality: str, codebooks: int, *, windows: bool = False) -> tuple[MapArray, ...]:
    """Return the arrays of a modality's tokens and the generator's probability of each.

    Args:
        modality: Name of the output modality.
        codebooks: Codebooks of its tokenizer; more than one has a dimension of its own.
        windows: Whether maps are blended of windows. No token stands for a patch of such a map then, so there are
            probabilities alone.
    """
    several = codebooks > 1
    # chip, sample, time, (codebook,) ty, tx
    dims = (*TOKEN_DIMS[:3], *(("codebook",) if several else ()), *TOKEN_DIMS[3:])
    tails = [f" of codebook {number}" for number in range(codebooks)] if several else [""]
    codes = {"long_name": f"{modality} codebook index", "_FillValue": TOKEN_FILL}
    drawn = "tokens drawn there, weighted as the map" if windows else "token drawn"
    sure = {"long_name": f"generator's probability of the {drawn}, before any filter", "units": "1"}
    tokens = MapArray(
        name=TOKENS,
        dims=dims,
        dtype="uint16",
        fill=TOKEN_FILL,
        bands=tuple(f"codebook index{tail}" for tail in tails),
        attributes=codes,
        limits=(0, TOKEN_FILL - 1),
        nodata=TOKEN_FILL,
    )
    probability = MapArray(
        name=TOKEN_PROBABILITY,
        dims=dims,
        dtype="float32",
        fill=np.nan,
        bands=tuple(f"probability of the {drawn}{tail}" for tail in tails),
        attributes=sure,
        limits=(0, 1),
        nodata=np.nan,
        resampling="average",
    )
    return (probability,) if windows else (tokens, probability)
