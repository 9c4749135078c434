"""Schema version 7 of the store: its attributes, and its arrays with their dimensions, types and CF attributes.

Every timestep of every array is filled. Where timesteps have identical inputs, the first is generated and copied to
the others; `timestep_source` says from where, and readers need not look at it. `verify` checks that copies are equal.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from augment_store.chips.chip import DIGEST_BYTES, Chip
from augment_store.errors import StoreError
from augment_store.modalities.definitions import PATCH_SIZE, patches
from augment_store.store.history import MAX_HISTORY_CHARS
from augment_store.store.spec import GenerationSpec
from augment_store.utils.text import format_size, pluralize
from augment_store.utils.validation import STRICT, ValidationError, parse

SCHEMA_VERSION: Final = 7

COORDINATES: Final = ("chip_id", "scene_id")
"""Arrays that xarray takes for coordinates of the chips."""

MAX_TIMESTEPS: Final = 1000
MAX_CHIP_PIXELS: Final = 8192
"""Timesteps and pixels a store may declare, so that damaged numbers are refused before memory is asked for them."""

MAX_SHARD_CHIPS: Final = 65_536

ENTRY_CHIPS: Final = 2048
"""Chips per object of the columns that only the announcing process writes: a million chips are 489 objects a column,
and one of them is decoded in about half a millisecond."""

ID_CHIPS: Final = 65_536
"""Chips per object of `chip_id`, a multiple of `ENTRY_CHIPS`; readers read it whole: 16 objects for a million chips."""


class State(enum.IntEnum):
    """State of a chip."""

    PENDING = 0
    COMPLETE = 1
    FAILED = 2


class Role(enum.Enum):
    """Writer of an array, and when it writes; so it also says how many chips an object of it holds."""

    GENERATED = "tokens and maps: each chip a chunk of its own in its shard's object"
    RESULT = "a few values for each generated chip: one object per shard, by the process that owns the shard"
    STATUS = "what has become of a chip: as `RESULT`, and after everything else of the shard"
    ENTRY = "who a chip is: by the announcing process alone, `ENTRY_CHIPS` chips an object"
    ID = "the chip's id: by the announcing process after the chip's entry, `ID_CHIPS` chips an object"


@dataclass(frozen=True)
class ArraySchema:
    """One array of the store.

    Attributes:
        name: Array name.
        dims: Dimension names; the first is ``chip``.
        shape: Sizes of the dimensions after the first.
        dtype: NumPy data type, ``str`` for text.
        fill: Value where nothing has been written.
        attributes: CF attributes.
        role: Who writes it, and when.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    fill: Any
    attributes: dict[str, Any] = field(default_factory=dict)
    role: Role = Role.GENERATED

    def object_chips(self, shard_chips: int) -> int:
        """Return the number of chips that one object on disk holds."""
        return {Role.ENTRY: ENTRY_CHIPS, Role.ID: ID_CHIPS}.get(self.role, shard_chips)


@dataclass(frozen=True)
class ChipShape:
    """Sizes that all chips of a store share.

    Attributes:
        timesteps: Number of timesteps.
        height: Rows of a chip in pixels.
        width: Columns of a chip in pixels.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    timesteps: Annotated[int, Field(ge=1, le=MAX_TIMESTEPS)]
    height: Annotated[int, Field(ge=PATCH_SIZE, le=MAX_CHIP_PIXELS)]
    width: Annotated[int, Field(ge=PATCH_SIZE, le=MAX_CHIP_PIXELS)]

    @classmethod
    def from_chip(cls, chip: Chip) -> Self:
        """Return the sizes of a chip on disk."""
        return cls(chip.timesteps, *chip.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """Return height and width of a chip in pixels."""
        return self.height, self.width

    def __str__(self) -> str:
        return f"{pluralize(self.timesteps, 'timestep')} of {format_size(self.shape)}"


@dataclass(frozen=True)
class StoreAttributes:
    """The attributes that decide how a store is read.

    Attributes:
        spec: What made it.
        extent: Sizes of its chips.
        shard_chips: Chips per shard.
        audit: Findings of input audits that a user accepted.
        history: Commands that wrote to the store, see `augment_store.store.history`.
    """

    spec: GenerationSpec
    extent: ChipShape
    shard_chips: Annotated[int, Field(ge=1, le=MAX_SHARD_CHIPS)]
    audit: list[dict[str, str]]
    history: Annotated[str, Field(max_length=MAX_HISTORY_CHARS)] = ""

    def written(self) -> dict[str, Any]:
        """Return the attributes; nested values as JSON text, since netCDF's attributes are numbers and texts."""
        plain = dataclasses.asdict(self) | {"spec": self.spec.to_dict()}  # as its fingerprint is taken of
        return {name: json.dumps(value) if name in _NESTED else value for name, value in plain.items()}

    @classmethod
    def read(
        cls, attributes: Mapping[str, Any], path: Path, consequence: str = "the store is damaged"
    ) -> Self:
        """Read them; `consequence` ends the message if they are invalid.

        Raises:
            StoreError: If one is missing, of another type or out of bounds.
        """
        try:
            return parse(cls, {name: _plain_attribute(name, value) for name, value in attributes.items()})
        except ValidationError as error:
            raise StoreError(f"{path}: attribute {error}; {consequence}") from error


_NESTED: Final = ("spec", "extent", "audit")


def _plain_attribute(name: str, value: Any) -> Any:
    """Return the plain values of an attribute.

    Raises:
        ValidationError: If it should be JSON text and is not.
    """
    if name not in _NESTED:
        return value
    try:
        return json.loads(value)
    # TypeError: not text at all; RecursionError: nested too deep
    except (ValueError, TypeError, RecursionError) as error:
        raise ValidationError(f"{name}: expected JSON text, found {str(value)[:60]!r}") from error


def chip_arrays(spec: GenerationSpec, extent: ChipShape) -> tuple[ArraySchema, ...]:
    """Return the arrays with a few values per chip, in the order in which they grow and are written: `state` last."""
    time, made = extent.timesteps, digested_names(spec, extent)
    output = {"long_name": f"XXH3-128 of fingerprint, chip id and values of each of: {', '.join(made)}"}
    inputs = {"long_name": "BLAKE2b-128 of the raw input rasters"}
    source = {"long_name": "timestep that this one is a copy of; its own number where it is none"}
    series = {"long_name": "position of each timestep in the chip's file of each input modality, from 0"}
    states = {
        "flag_values": [int(state) for state in State],
        "flag_meanings": " ".join(state.name.lower() for state in State),
    }
    input_dims, output_dims = ("chip", "time", "digest_byte"), ("chip", "array", "digest_byte")
    # input digests are by timestep, output digests by array
    rows = (time, DIGEST_BYTES), (len(made), DIGEST_BYTES)
    by_input = (len(spec.inputs), time)
    return (
        *_entry_arrays(),
        ArraySchema("input_digest", input_dims, rows[0], "uint8", 0, inputs, Role.RESULT),
        ArraySchema("timestep_source", ("chip", "time"), (time,), "int16", -1, source, Role.RESULT),
        ArraySchema("series_index", ("chip", "input", "time"), by_input, "int32", -1, series, Role.RESULT),
        ArraySchema("output_digest", output_dims, rows[1], "uint8", 0, output, Role.RESULT),
        _text_column("error", "why a chip failed", Role.STATUS),
        ArraySchema("state", ("chip",), (), "uint8", int(State.PENDING), states, Role.STATUS),
    )


def in_order(positions: NDArray[np.int32]) -> bool:
    """Say whether a row of ``series_index`` rises from 0 or more, or is 0 throughout (one raster stands for all)."""
    return not positions.any() or bool(positions[0] >= 0 and (np.diff(positions) > 0).all())


def _entry_arrays() -> tuple[ArraySchema, ...]:
    """Return the arrays that say who a chip is; `chip_id` last, since a chip without an id is not there yet."""
    affine = "affine coefficients a b c d e f: x = a·col + b·row + c, y = d·col + e·row + f"
    digest = {"long_name": "XXH3-128 of chip id, scene, coordinate reference system and transform"}
    by_byte, coefficients = ("chip", "digest_byte"), ("chip", "coefficient")
    return (
        _text_column("scene_id", "parent acquisition", Role.ENTRY),
        _text_column("crs_wkt", "coordinate reference system", Role.ENTRY),
        ArraySchema("transform", coefficients, (6,), "float64", np.nan, {"long_name": affine}, Role.ENTRY),
        ArraySchema("entry_digest", by_byte, (DIGEST_BYTES,), "uint8", 0, digest, Role.ENTRY),
        _text_column("chip_id", "chip", Role.ID),
    )


def digested_names(spec: GenerationSpec, extent: ChipShape) -> tuple[str, ...]:
    """Return the names of the arrays whose values of a chip have a digest, in the order of ``output_digest``."""
    maps = (schema.name for schema in map_arrays(spec, extent))
    return (*maps, "input_digest", "timestep_source", "series_index")


def _text_column(name: str, long_name: str, role: Role) -> ArraySchema:
    return ArraySchema(name, ("chip",), (), "str", "", {"long_name": long_name}, role)


def map_arrays(spec: GenerationSpec, extent: ChipShape) -> tuple[ArraySchema, ...]:
    """Return the arrays with the generated tokens and maps that a spec asks for."""
    sizes = {"sample": spec.sampling.samples, "time": extent.timesteps}
    sizes |= {"y": extent.height, "x": extent.width}
    sizes |= {"ty": patches(extent.height), "tx": patches(extent.width)}
    return tuple(
        ArraySchema(
            name=array.name,
            dims=array.dims,
            # band, class and codebook have no size above: there are as many as the array names bands
            shape=tuple(sizes.get(dim, len(array.bands)) for dim in array.dims[1:]),
            dtype=array.dtype,
            fill=array.fill,
            attributes=array.attributes,
        )
        for array in spec.arrays
    )
