"""How cached modalities enter the model: which planes are made from which arrays, and where they go.

An encoding is one entry of `PLANE_ENCODINGS`: what it reads, which planes it makes and how. Encoders get a batch's raw
values ``[B, T, H, W]``, or ``[B, T, K, H, W]`` for an array with K bands, on the model's device, and return
``[B, C, T, H, W]`` float32, finite whatever the maps hold.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.modalities.categorical import CONFIDENCE, PROBABILITIES, CategoricalMap
from augment_store.modalities.continuous import VALUE_FILL, ContinuousMap
from augment_store.modalities.definitions import INPUT_MODALITIES, LULC, S2_MODALITIES
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.modalities.map_arrays import SHARE_SCALE, TOKEN_PROBABILITY, TOKENS
from augment_store.modalities.registry import MAPS
from finetune.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor  # imported where planes are made, so that names are checked at once

VALUE: Final = "value"
"""What users may call the encoding of any continuous map; its full name is the map's array."""


@dataclass(frozen=True)
class PlaneEncoding:
    """Encoding that makes planes, one value per pixel each.

    Attributes:
        name: What users call it.
        array: The store's array it is made from.
        planes: Names of the planes it makes, in order.
        constant: Raw value of the array in the control without information, ``[1, 1, 1, 1]``, or ``[1, 1, K, 1, 1]``
            for an array with K bands.
        encode: Makes the planes.
    """

    name: str
    array: str
    planes: tuple[str, ...]
    constant: NDArray[Any]
    encode: Callable[[Tensor], Tensor]


def _raw(dtype: type[np.generic], *values: float) -> NDArray[Any]:
    """Return a raw value for every sample, timestep and pixel, or one per band."""
    several = (len(values),) if len(values) > 1 else ()
    # [sample, time, (band,) y, x], all of length 1 but the bands
    return np.array(values).astype(dtype).reshape(1, 1, *several, 1, 1)


def _onehot(raw: Tensor, classes: int) -> Tensor:
    """Make a plane per class, 1 where the pixel has that class; all are 0 where nothing was generated."""
    import torch

    # classes along axis 1, to be compared with [B, 1, T, H, W]
    values = torch.arange(classes, device=raw.device, dtype=raw.dtype).view(1, -1, 1, 1, 1)
    return (raw.unsqueeze(1) == values).float()


def _index(raw: Tensor, classes: int) -> Tensor:
    """Scale the class number to 0..1; 0, which is "no data", where nothing was generated."""
    index = raw.unsqueeze(1).float()
    # the fill of maps of classes, 255, lies above every class
    return (index / (classes - 1)).where(index < classes, 0.0)


def _share(raw: Tensor) -> Tensor:
    return raw.unsqueeze(1).float() * SHARE_SCALE


def _shares(raw: Tensor) -> Tensor:
    # [B, T, K, H, W] → [B, K, T, H, W]: a class is a channel
    return raw.transpose(1, 2).float() * SHARE_SCALE


def _value(raw: Tensor, scale: float, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return values standardized as TerraMind was pretrained with them; 0, the mean, where nothing was generated."""
    import torch

    # [B, T, (K,) H, W] → [B, K, T, H, W], with K = 1 for a map of one band
    banded = (raw if raw.ndim == 5 else raw.unsqueeze(2)).transpose(1, 2)
    shift, spread = (torch.tensor(table, device=raw.device).view(1, -1, 1, 1, 1) for table in (mean, std))
    # compared before scaling: only raw integers equal the fill exactly
    return torch.where(banded == VALUE_FILL, 0.0, (banded.float() * scale - shift) / spread)


def _token_probability(raw: Tensor) -> Tensor:
    """Return the probability of the token drawn for a pixel's patch; 0 where nothing was generated."""
    return raw.unsqueeze(1).float().nan_to_num(nan=0.0)


def _of_classes(kind: CategoricalMap) -> Iterable[PlaneEncoding]:
    """Yield the encodings of a map of classes."""
    count, stem = len(kind.classes), kind.name
    planes = tuple(f"{stem}_{entry.flag.upper()}" for entry in kind.classes)
    named = partial(full_name, kind=kind)
    # 25/255 is about a tenth: TerraMind's ten land-cover classes are then equally probable
    zero, a_tenth = _raw(np.uint8, 0), _raw(np.uint8, *[25] * count)
    yield PlaneEncoding(named("onehot"), kind.array, planes, zero, partial(_onehot, classes=count))
    probable = tuple(f"P_{name}" for name in planes)
    yield PlaneEncoding(named("probabilities"), PROBABILITIES, probable, a_tenth, _shares)
    yield PlaneEncoding(named("index"), kind.array, (f"{stem}_INDEX",), zero, partial(_index, classes=count))
    # 255 stands for a probability of 1
    yield PlaneEncoding(named("confidence"), CONFIDENCE, (f"{stem}_CONFIDENCE",), _raw(np.uint8, 255), _share)


def _of_values(kind: ContinuousMap) -> Iterable[PlaneEncoding]:
    """Yield the encodings of a map of values: a plane per band."""
    modality = kind.modality
    # A plane is concatenated onto input bands and must not share the name of one.
    stem = "GENERATED_" if kind.name in INPUT_MODALITIES else ""
    planes = tuple(f"{stem}{band}" for band in modality.bands)
    # the stored value nearest to the mean, so that standardized planes are about 0 everywhere
    means = _raw(np.int16, *(round(mean / kind.scale) for mean in modality.mean))
    encode = partial(_value, scale=kind.scale, mean=modality.mean, std=modality.std)
    yield PlaneEncoding(full_name(VALUE, kind), kind.array, planes, means, encode)


def full_name(name: str, kind: GeneratedMap) -> str:
    """Return the name of an encoding that also says which map it belongs to, so that nothing else has to.

    It is the map's array for values, the plain name for TerraMind's land cover, and both for other classes.
    """
    if name == VALUE:
        return kind.array
    return name if kind.modality is LULC else f"{kind.array}_{name}"


def _entries() -> Iterable[PlaneEncoding]:
    for kind in MAPS.values():
        if isinstance(kind, CategoricalMap):
            yield from _of_classes(kind)
        elif isinstance(kind, ContinuousMap):
            yield from _of_values(kind)
    one = _raw(np.float32, 1)
    yield PlaneEncoding(TOKEN_PROBABILITY, TOKEN_PROBABILITY, ("TOKEN_PROBABILITY",), one, _token_probability)


NOT_GENERATED: Final[Mapping[str, float]] = {
    **{array.name: array.fill for kind in MAPS.values() for array in kind.arrays(probabilities=True)},
    TOKEN_PROBABILITY: float("nan"),
}
"""Raw value of each array of maps where nothing was generated, which every encoding turns into zeros."""

PLANE_ENCODINGS: Final[Mapping[str, PlaneEncoding]] = {entry.name: entry for entry in _entries()}
"""Encodings that can be combined."""

MODALITY: Final = "modality"
LATE: Final = "late"
ENCODINGS: Final = (*PLANE_ENCODINGS, MODALITY, LATE, TOKENS)

PLANES_MODALITY: Final = "TIM"
"""Name under which a batch holds the planes for the encodings ``modality`` and ``late``."""


def describe_encodings() -> str:
    """Say which encodings there are, in a line for --help."""
    named = [kind for kind in MAPS.values() if isinstance(kind, CategoricalMap) and kind.modality is LULC]
    classes = ", ".join(entry.name for kind in named for entry in _of_classes(kind))
    values = ", ".join(kind.name for kind in MAPS.values() if isinstance(kind, ContinuousMap))
    return (
        f"{classes} (of classes); {VALUE} (of {values}); {TOKEN_PROBABILITY}; with these, {MODALITY} or "
        f"{LATE}; or {TOKENS} alone"
    )


class Placement(enum.Enum):
    """Position at which cached modalities enter the model."""

    NOWHERE = "nowhere"
    BANDS = "bands"
    MODALITY = "modality"
    LATE = "late"
    TOKENS = "tokens"


TRAINED_LAYERS: Final[Mapping[Placement, str]] = {
    Placement.BANDS: "added",
    Placement.MODALITY: f"encoder_embeddings.{PLANES_MODALITY}",
}
"""Layer that an encoding adds, which LoRA must train in full, since there is nothing pretrained to adapt."""


@dataclass(frozen=True)
class EncodingPlan:
    """Arrays read from the store, and where their planes go.

    Attributes:
        placement: Onto a modality's bands, as a modality of its own, onto the decoder's output, as tokens, or nowhere.
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
        """Arrays of the store that are read, each once."""
        # keys of a dict: an array that two encodings are made from is read once
        return tuple(self.constants)

    @property
    def constants(self) -> dict[str, NDArray[Any]]:
        """Raw value of each array in the control without information."""
        if self.placement is Placement.TOKENS:
            return {TOKENS: _raw(np.uint16, 0)}
        return {encoding.array: encoding.constant for encoding in self.planes}


def named_in_full(names: Sequence[str], kind: GeneratedMap | None) -> tuple[str, ...]:
    """Return encodings by their full names.

    Args:
        names: As a user names them; unknown names are left for `plan_encoding` to refuse.
        kind: Kind of the store's maps; None without a store.

    Raises:
        ConfigError: If ``value`` is named without a store of values.
    """
    if VALUE in names and not isinstance(kind, ContinuousMap):
        known = ", ".join(entry.name for entry in MAPS.values() if entry.continuous)
        found = (
            "there is no store to say which"
            if kind is None
            else f"{kind.name} has classes; use {kind.encoding}"
        )
        raise ConfigError(f"encoding {VALUE} is for maps of {known}; {found}")
    if kind is None:
        return tuple(names)
    full = {name: full_name(name, kind) for name in names}
    # `modality` and `tokens` belong to no map and keep their names; so do unknown ones
    return tuple(full[name] if full[name] in PLANE_ENCODINGS else name for name in names)


def plan_encoding(names: Sequence[str]) -> EncodingPlan:
    """Return the plan of a list of encodings.

    Args:
        names: Full names of any of the plane encodings, with ``modality`` among them to make these planes a
            modality of their own, or ``late`` to join them to the decoder's output (alone, each of the two takes
            ``onehot``); or ``tokens`` alone; or nothing.

    Raises:
        ConfigError: If a name is unknown or appears twice, ``tokens`` is not alone, or planes have two places.
    """
    unknown = [name for name in names if name not in ENCODINGS]
    if unknown:
        raise ConfigError(f"unknown encoding {unknown[0]!r}; expected {', '.join(ENCODINGS)}")
    if len(set(names)) < len(names):
        raise ConfigError(f"encoding {' '.join(names)}: an encoding appears twice; name each once")
    if TOKENS in names:
        if len(names) > 1:
            raise ConfigError(
                f"encoding {' '.join(names)}: tokens are not planes, so nothing combines with them; name tokens only"
            )
        return EncodingPlan(Placement.TOKENS)
    placed = [name for name in names if name in (MODALITY, LATE)]
    if len(placed) > 1:
        raise ConfigError(f"encoding {' '.join(names)}: planes go to one place; name {MODALITY} or {LATE}")
    planes = tuple(PLANE_ENCODINGS[name] for name in names if name not in placed)
    if placed:
        return EncodingPlan(Placement(placed[0]), planes or (PLANE_ENCODINGS["onehot"],))
    return EncodingPlan(Placement.BANDS if planes else Placement.NOWHERE, planes)


def carrier_of(modalities: Sequence[str]) -> str:
    """Return the modality whose bands the planes are concatenated onto: Sentinel-2, or else the first input."""
    return next((name for name in S2_MODALITIES if name in modalities), modalities[0])
