"""Schema version 3 of the store: which arrays there are, their dimensions, types and CF attributes.

Every timestep of every array is filled. Where timesteps have identical inputs, the first is generated and copied to
the others; `timestep_source` says from where, and readers need not look at it. `verify` checks that copies are equal.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from pydantic import ConfigDict, Field

from augment_store.chips.chip_set import DIGEST_BYTES
from augment_store.modalities import PATCH_SIZE
from augment_store.spec import GenerationSpec
from augment_store.typed import STRICT

SCHEMA_VERSION: Final = 3

MOST_TIMESTEPS: Final = 1000
LARGEST_CHIP: Final = 8192
"""Timesteps and pixels a store may declare, so that damaged numbers are refused before memory is asked for them."""


class State(enum.IntEnum):
    """What has become of a chip."""

    PENDING = 0
    COMPLETE = 1
    FAILED = 2


@dataclass(frozen=True)
class ArraySchema:
    """One array of the store.

    Attributes:
        name: Array name.
        dims: Dimension names; the first is always ``chip``.
        shape: Sizes of the dimensions after ``chip``.
        dtype: NumPy data type, ``str`` for text.
        fill: Value of what has not been written.
        attributes: CF attributes.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    fill: Any
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Extent:
    """Sizes that all chips of a store share.

    Attributes:
        timesteps: Number of timesteps.
        size: Side of a chip in pixels.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    timesteps: Annotated[int, Field(ge=1, le=MOST_TIMESTEPS)]
    size: Annotated[int, Field(ge=PATCH_SIZE, le=LARGEST_CHIP, multiple_of=PATCH_SIZE)]

    def __str__(self) -> str:
        return f"{self.timesteps} timesteps of {self.size} px"


def chip_arrays(spec: GenerationSpec, extent: Extent) -> tuple[ArraySchema, ...]:
    """Arrays with a few values per chip; they are written shard by shard, `state` last."""
    time, made = extent.timesteps, digested_names(spec, extent)
    output = {"long_name": f"BLAKE2b-128 of fingerprint, chip id and values of each of: {', '.join(made)}"}
    entry = {"long_name": "BLAKE2b-128 of chip id, scene, coordinate reference system and transform"}
    bytes_of = ("chip", "digest_byte")
    affine = "affine coefficients a b c d e f: x = a·col + b·row + c, y = d·col + e·row + f"
    digest = {"long_name": "BLAKE2b-128 of the raw input rasters"}
    source = {"long_name": "timestep that this one is a copy of; its own number where it is none"}
    states = {
        "flag_values": [int(state) for state in State],
        "flag_meanings": " ".join(state.name.lower() for state in State),
    }
    return (
        _text("chip_id", "chip"),
        _text("scene_id", "parent acquisition"),
        _text("crs_wkt", "coordinate reference system"),
        ArraySchema("transform", ("chip", "coefficient"), (6,), "float64", np.nan, {"long_name": affine}),
        ArraySchema("entry_digest", bytes_of, (DIGEST_BYTES,), "uint8", 0, entry),
        ArraySchema(
            "input_digest", ("chip", "time", "digest_byte"), (time, DIGEST_BYTES), "uint8", 0, digest
        ),
        ArraySchema("timestep_source", ("chip", "time"), (time,), "int16", -1, source),
        ArraySchema(
            "output_digest", ("chip", "array", "digest_byte"), (len(made), DIGEST_BYTES), "uint8", 0, output
        ),
        _text("error", "why a chip failed"),
        ArraySchema("state", ("chip",), (), "uint8", int(State.PENDING), states),
    )


def digested_names(spec: GenerationSpec, extent: Extent) -> tuple[str, ...]:
    """Arrays whose values of a chip have a digest, in the order of ``output_digest``."""
    return (*(schema.name for schema in map_arrays(spec, extent)), "input_digest", "timestep_source")


def _text(name: str, long_name: str) -> ArraySchema:
    return ArraySchema(name, ("chip",), (), "str", "", {"long_name": long_name})


def map_arrays(spec: GenerationSpec, extent: Extent) -> tuple[ArraySchema, ...]:
    """Arrays with the generated tokens and maps that a spec asks for."""
    size, side = extent.size, extent.size // PATCH_SIZE
    sizes = {"sample": spec.sampling.samples, "time": extent.timesteps}
    sizes |= {"y": size, "x": size, "ty": side, "tx": side}
    return tuple(
        ArraySchema(
            name=array.name,
            dims=array.dims,
            shape=tuple(sizes.get(dim, len(array.bands)) for dim in array.dims[1:]),
            dtype=array.dtype,
            fill=array.fill,
            attributes=array.attributes,
        )
        for array in spec.arrays
    )
