"""How cached modalities enter the model: which planes are made of which arrays, and where they go."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from augment_store.modalities import LULC_LEGEND, NDVI
from augment_store.schema import NDVI_SCALE
from finetune.errors import EncodingError

CLASSES: Final = len(LULC_LEGEND)


@dataclass(frozen=True)
class PlaneEncoding:
    """An encoding that makes planes, one value per pixel each.

    Attributes:
        name: What users call it.
        array: The store's array it is made of.
        planes: Names of the planes it makes, in order.
        constant: Raw value of the array in the control without information.
    """

    name: str
    array: str
    planes: tuple[str, ...]
    constant: int


_LULC_PLANES: Final = tuple(f"LULC_{entry.flag.upper()}" for entry in LULC_LEGEND)

PLANE_ENCODINGS: Final[Mapping[str, PlaneEncoding]] = {
    encoding.name: encoding
    for encoding in (
        PlaneEncoding("onehot", "lulc", _LULC_PLANES, 0),
        PlaneEncoding("probabilities", "probabilities", tuple(f"P_{name}" for name in _LULC_PLANES), 25),
        PlaneEncoding("index", "lulc", ("LULC_INDEX",), 0),
        PlaneEncoding("ndvi", "ndvi", ("NDVI",), round(NDVI.mean[0] / NDVI_SCALE)),
        PlaneEncoding("confidence", "confidence", ("LULC_CONFIDENCE",), 255),
        PlaneEncoding("token_probability", "token_probability", ("TOKEN_PROBABILITY",), 1),
    )
}
"""Encodings that combine with one another."""

MODALITY: Final = "modality"
TOKENS: Final = "tokens"
ENCODINGS: Final = (*PLANE_ENCODINGS, MODALITY, TOKENS)

PLANES_MODALITY: Final = "TIM"
"""Name of the new modality that holds the planes under the encoding ``modality``."""


class Placement(enum.Enum):
    """Where what is cached enters the model."""

    NOWHERE = "nowhere"
    BANDS = "bands"
    MODALITY = "modality"
    TOKENS = "tokens"


@dataclass(frozen=True)
class EncodingPlan:
    """What is read from the store and where it goes.

    Attributes:
        placement: Onto a modality's bands, as a modality of its own, as tokens, or nowhere.
        planes: Encodings whose planes are concatenated, in order; empty for tokens.
    """

    placement: Placement
    planes: tuple[PlaneEncoding, ...] = ()

    @property
    def channels(self) -> int:
        """Number of planes."""
        return len(self.plane_names)

    @property
    def plane_names(self) -> tuple[str, ...]:
        """Names of the planes in order."""
        return tuple(name for encoding in self.planes for name in encoding.planes)

    @property
    def arrays(self) -> tuple[str, ...]:
        """The store's arrays that are read, each once."""
        if self.placement is Placement.TOKENS:
            return (TOKENS,)
        return tuple(dict.fromkeys(encoding.array for encoding in self.planes))

    @property
    def constants(self) -> dict[str, int]:
        """Raw value of each array in the control without information."""
        if self.placement is Placement.TOKENS:
            return {TOKENS: 0}
        return {encoding.array: encoding.constant for encoding in self.planes}


def plan_encoding(names: Sequence[str]) -> EncodingPlan:
    """Plan of a list of encodings.

    Args:
        names: Any of the plane encodings, with ``modality`` among them to make these planes a modality of
            their own (alone it takes ``onehot``); or ``tokens`` alone; or nothing.

    Raises:
        EncodingError: If a name is unknown or appears twice, or ``tokens`` is not alone.
    """
    unknown = [name for name in names if name not in ENCODINGS]
    if unknown:
        raise EncodingError(f"unknown encoding {unknown[0]!r}; expected {', '.join(ENCODINGS)}")
    if len(set(names)) < len(names):
        raise EncodingError(f"encoding {' '.join(names)}: an encoding appears twice; name each once")
    if TOKENS in names:
        if len(names) > 1:
            raise EncodingError(
                f"encoding {' '.join(names)}: tokens are not planes, so nothing combines with them; name tokens only"
            )
        return EncodingPlan(Placement.TOKENS)
    planes = tuple(PLANE_ENCODINGS[name] for name in names if name != MODALITY)
    if MODALITY in names:
        return EncodingPlan(Placement.MODALITY, planes or (PLANE_ENCODINGS["onehot"],))
    return EncodingPlan(Placement.BANDS if planes else Placement.NOWHERE, planes)


def carrier_of(modalities: Sequence[str]) -> str:
    """The modality whose bands the planes are concatenated onto: S2L2A where it is an input, else the first."""
    return "S2L2A" if "S2L2A" in modalities else modalities[0]
