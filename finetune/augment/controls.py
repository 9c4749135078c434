"""Where maps come from: the protocol of a source, and the controls that stand in for generated maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from augment_store.errors import ChipDataError
from augment_store.modalities.definitions import NDVI, S2L2A, patches
from augment_store.modalities.map_arrays import TOKENS
from augment_store.modalities.registry import CONTINUOUS
from augment_store.modalities.values import native, ndvi_of
from augment_store.store.spec import InputSpec, units_on_disk
from finetune.augment.encodings import LATE, MODALITY, VALUE, full_name
from finetune.errors import ConfigError

if TYPE_CHECKING:
    from augment_store.chips.chip_set import ChipSet

SHUFFLE: Final = "shuffle"
ANALYTIC_NDVI: Final = "analytic-ndvi"
CONSTANT: Final = "constant"

_NDVI_MAP: Final = CONTINUOUS[NDVI.name]


class MapSource(Protocol):
    """Source of maps."""

    def read(self, chip_id: str, array: str) -> NDArray[Any]:
        """Return raw values of one chip, ``[sample, time, …]``."""
        ...


class ShuffledMaps:
    """Control `shuffle`: every chip gets the maps of another chip of its split, never its own.

    Args:
        maps: The maps.
        ids: Chips of a split.
        seed: Seed for the draw of donors.

    Raises:
        ConfigError: If there is no other chip.
    """

    def __init__(self, maps: MapSource, ids: Iterable[str], seed: int) -> None:
        # sorted first: the draw depends on seed and chips, not on the order of a split file
        ordered = sorted(ids)
        if len(ordered) < 2:
            raise ConfigError(
                f"--control shuffle: the split has one chip ({ordered[0]}); it needs two or more"
            )
        # one ring through all chips, each taking the maps of the next, so that none gets its own
        ring = [ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))]
        self.donor = dict(zip(ring, [*ring[1:], ring[0]], strict=True))
        self._maps = maps

    def read(self, chip_id: str, array: str) -> NDArray[Any]:
        """Return raw values of the chip's donor, ``[sample, time, …]``."""
        return self._maps.read(self.donor[chip_id], array)


class AnalyticNdvi:
    """Control `analytic-ndvi`: NDVI from the chip's own raw bands, B08 and B04, without a generator.

    It has the store's type and scale of NDVI, so that it takes the same path into the model.

    Args:
        chips: Chip set with S2L2A.
        inputs: How the named store's inputs entered the generator; empty without a store.
    """

    def __init__(self, chips: ChipSet, inputs: Sequence[InputSpec] = ()) -> None:
        self._chips = chips
        # the offset taken off for the generator, so that both kinds of NDVI start from the same reflectance
        _, self._offset = units_on_disk(S2L2A.name, chips.layout, inputs)

    def read(self, chip_id: str, array: str) -> NDArray[Any]:
        """Return NDVI ``[1, time, y, x]`` as int16 of scale 1e-4; the fill value where a band has no data.

        Raises:
            ChipDataError: If an array other than ``ndvi`` is asked for.
        """
        if array != _NDVI_MAP.array:
            raise ChipDataError(
                f"--control {ANALYTIC_NDVI} has no array {array!r}; use it with --encoding {_NDVI_MAP.array}"
            )
        raw = self._chips.read(chip_id, (S2L2A.name,)).rasters[S2L2A.name]
        bands = native(raw, S2L2A, offset=self._offset)
        # [T, 1, y, x] → [T, y, x] → [1, T, y, x]: the one band goes, an axis of samples comes
        return _NDVI_MAP.store(ndvi_of(bands))[:, 0][None]


class ConstantMaps:
    """Control `constant`: the same value in every pixel of every chip; as many weights, no information.

    Args:
        values: Raw value of each array, of size 1 in y and x, and one per band.
        shape: Height and width of the chips in pixels.
    """

    def __init__(self, values: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> None:
        self._values = values
        self._shape = shape

    def read(self, chip_id: str, array: str) -> NDArray[Any]:
        """Return raw values of any chip, ``[1, 1, …]``: one sample, one timestep that stands for all."""
        # tokens are read one a patch, all other arrays one a pixel
        height, width = map(patches, self._shape) if array == TOKENS else self._shape
        # [1, 1, (K,) 1, 1] → [1, 1, (K,) y, x]
        return self._values[array].repeat(width, axis=-1).repeat(height, axis=-2)


@dataclass(frozen=True)
class ControlInputs:
    """Data that a control can make its maps from.

    Attributes:
        chips: The chip set; None if samples come from elsewhere.
        ids: Chips of the split.
        shape: Their height and width in pixels.
        seed: Seed for random draws.
        constants: Raw value of each array that will be read.
        store: The store's maps, if the control needs them.
        inputs: How the named store's inputs entered the generator.
    """

    chips: ChipSet | None
    ids: Sequence[str]
    shape: tuple[int, int]
    seed: int
    constants: Mapping[str, NDArray[Any]]
    store: MapSource | None
    inputs: Sequence[InputSpec] = ()


def _shuffled(given: ControlInputs) -> MapSource:
    if given.store is None:
        raise ConfigError(f"--control {SHUFFLE} needs the maps of a store; name it with --augment")
    return ShuffledMaps(given.store, given.ids, given.seed)


def _analytic_ndvi(given: ControlInputs) -> MapSource:
    if given.chips is None:
        raise ConfigError(f"--control {ANALYTIC_NDVI} reads raw bands; name the chip set that holds them")
    return AnalyticNdvi(given.chips, given.inputs)


@dataclass(frozen=True)
class Control:
    """Source that replaces the generated maps by data that cannot, or need not, come from a generator.

    Attributes:
        name: What users call it.
        needs_store: Whether it needs the maps of a store.
        takes_units: Whether it takes the units of a named store's inputs.
        encodings: Encodings whose arrays it has, the default first; empty for any.
        make: Its maps for the chips of a split.
        made_of: What its planes are made of, for a model card.
    """

    name: str
    needs_store: bool
    encodings: tuple[tuple[str, ...], ...]
    make: Callable[[ControlInputs], MapSource]
    made_of: str
    takes_units: bool = False


_NDVI_ENCODING: Final = full_name(VALUE, _NDVI_MAP)

CONTROLS: Final[Mapping[str, Control]] = {
    control.name: control
    for control in (
        Control(SHUFFLE, True, (), _shuffled, "the generated maps of *another* chip, drawn at random"),
        Control(
            ANALYTIC_NDVI,
            False,
            # onto the bands, or as a modality of its own; the first is the default
            ((_NDVI_ENCODING,), (MODALITY, _NDVI_ENCODING), (LATE, _NDVI_ENCODING)),
            _analytic_ndvi,
            "the chip's own bands, without a generator",
            takes_units=True,
        ),
        Control(
            CONSTANT,
            False,
            (),
            lambda given: ConstantMaps(given.constants, given.shape),
            "a constant, without information",
        ),
    )
}
"""By name."""


def describe_controls() -> str:
    """Say which controls there are, in a line for --help."""
    return ", ".join(f"{control.name} ({control.made_of.replace('*', '')})" for control in CONTROLS.values())
