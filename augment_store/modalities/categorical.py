"""Maps of classes: land use and land cover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.modalities.definitions import LegendClass
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.modalities.map_arrays import PIXEL_DIMS, SHARE_SCALE, MapArray
from augment_store.modalities.rendering import NO_CODE, Picture, palette

CONFIDENCE: Final = "confidence"
PROBABILITIES: Final = "probabilities"
# not 0, which is a class of its own in TerraMind's legend
CLASS_FILL: Final = 255


@dataclass(frozen=True)
class CategoricalMap(GeneratedMap):
    """A map of classes. Its tokenizer decodes to one logit per class.

    Attributes:
        classes: Its legend, by class value from 0 on.
        meaning: What a value is, in words.
    """

    classes: tuple[LegendClass, ...]
    meaning: str

    continuous: ClassVar[bool] = False
    encoding: ClassVar[str] = "onehot"

    @property
    def legend(self) -> tuple[LegendClass, ...]:
        """Return the classes."""
        return self.classes

    @property
    def diffusion_steps(self) -> int | None:
        """Return None: logits come from a plain decoder."""
        return None

    @property
    def drawn_by_legend(self) -> bool:
        """Return true: classes have no other picture."""
        return True

    def arrays(self, *, probabilities: bool) -> tuple[MapArray, ...]:
        """Return the class taken, its probability, and those of all classes if they are kept.

        Confidence 0 is free to mean "nothing generated": of n classes the one taken is never less probable
        than 1/n.
        """
        named = "tokenizer decoder's probability of the class taken, given the token"
        share = {"long_name": named, "scale_factor": SHARE_SCALE, "units": "1"}
        main = MapArray(
            name=self.array,
            dims=PIXEL_DIMS,
            dtype="uint8",
            fill=CLASS_FILL,
            bands=(f"generated {self.name} class",),
            attributes=self._flags(),
            limits=(0, len(self.classes) - 1),
            nodata=CLASS_FILL,
            classes=self.classes,
            # an average of two classes would be a third
            resampling="mode",
        )
        confidence = MapArray(
            name=CONFIDENCE,
            dims=PIXEL_DIMS,
            dtype="uint8",
            fill=0,
            bands=("probability of the class taken",),
            attributes=share,
            nodata=0,
            resampling="average",
        )
        return (main, confidence, *((self._probabilities(),) if probabilities else ()))

    def _probabilities(self) -> MapArray:
        share = {
            "long_name": "class probability, mean over samples",
            "scale_factor": SHARE_SCALE,
            "units": "1",
        }
        return MapArray(
            name=PROBABILITIES,
            dims=("chip", "time", "class", "y", "x"),
            dtype="uint8",
            fill=0,
            bands=tuple(f"probability of {entry.name}" for entry in self.classes),
            attributes=share,
            resampling="average",
        )

    def _flags(self) -> dict[str, Any]:
        return {
            "long_name": f"generated {self.meaning}",
            "flag_values": [entry.value for entry in self.classes],
            "flag_meanings": " ".join(entry.flag for entry in self.classes),
            "flag_colors": " ".join(entry.hex for entry in self.classes),
            "_FillValue": CLASS_FILL,
        }

    def codes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the classes themselves."""
        # the fill value, and whatever else is no class
        return np.where(values < len(self.classes), values, NO_CODE).astype(np.uint8)

    def same(self, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where both are the same class."""
        # two missing values are equal, but agree on nothing
        agreed: NDArray[np.bool_] = (one == other) & (one != CLASS_FILL)
        return agreed

    def mean(self, values: NDArray[Any]) -> float:
        """Return NaN: classes have no mean."""
        return np.nan

    def picture(self, values: NDArray[Any]) -> Picture:
        """Return the map in the legend's colors."""
        # [y, x] → [y, x, 3]
        return palette(self.classes)[self.codes(values)]
