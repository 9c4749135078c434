"""Schema version 1 of the store: which arrays there are, their dimensions, types and CF attributes."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from augment_store.chips import DIGEST_BYTES
from augment_store.modalities import LULC_LEGEND, PATCH_SIZE
from augment_store.spec import GenerationSpec

SCHEMA_VERSION: Final = 1

NDVI_SCALE: Final = 1e-4
SHARE_SCALE: Final = 1 / 255
NDVI_FILL: Final = -32768
LULC_FILL: Final = 255
TOKEN_FILL: Final = 65535

PIXEL_DIMS: Final = ("chip", "sample", "time", "y", "x")


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

    timesteps: int
    size: int

    def __str__(self) -> str:
        return f"{self.timesteps} timesteps of {self.size} px"


def chip_arrays(extent: Extent) -> tuple[ArraySchema, ...]:
    """Arrays with a few values per chip; they are written shard by shard, `state` last."""
    time = extent.timesteps
    affine = "affine coefficients a b c d e f: x = a·col + b·row + c, y = d·col + e·row + f"
    digest = {"long_name": "BLAKE2b-128 of the raw input rasters"}
    source = {"long_name": "timestep whose generation stands for this one"}
    states = {
        "flag_values": [int(state) for state in State],
        "flag_meanings": " ".join(state.name.lower() for state in State),
    }
    return (
        _text("chip_id", "chip"),
        _text("scene_id", "parent acquisition"),
        _text("crs_wkt", "coordinate reference system"),
        ArraySchema("transform", ("chip", "coefficient"), (6,), "float64", np.nan, {"long_name": affine}),
        ArraySchema(
            "input_digest", ("chip", "time", "digest_byte"), (time, DIGEST_BYTES), "uint8", 0, digest
        ),
        ArraySchema("timestep_source", ("chip", "time"), (time,), "int16", -1, source),
        _text("error", "why a chip failed"),
        ArraySchema("state", ("chip",), (), "uint8", int(State.PENDING), states),
    )


def _text(name: str, long_name: str) -> ArraySchema:
    return ArraySchema(name, ("chip",), (), "str", "", {"long_name": long_name})


def map_arrays(spec: GenerationSpec, extent: Extent) -> tuple[ArraySchema, ...]:
    """Arrays with the generated tokens and maps that a spec asks for."""
    samples, time, size = spec.sampling.samples, extent.timesteps, extent.size
    side = size // PATCH_SIZE
    codes = {"long_name": f"{spec.modality} codebook index", "_FillValue": TOKEN_FILL}
    token_dims = ("chip", "sample", "time", "ty", "tx")
    tokens = ArraySchema("tokens", token_dims, (samples, time, side, side), "uint16", TOKEN_FILL, codes)
    maps = _ndvi_arrays if spec.modality == "NDVI" else _lulc_arrays
    arrays = (tokens, *maps((samples, time, size, size)))
    return (*arrays, _probabilities(extent)) if spec.probabilities else arrays


def _ndvi_arrays(shape: tuple[int, ...]) -> tuple[ArraySchema, ...]:
    attributes = {"long_name": "generated NDVI", "scale_factor": NDVI_SCALE, "_FillValue": NDVI_FILL}
    return (ArraySchema("ndvi", PIXEL_DIMS, shape, "int16", NDVI_FILL, attributes),)


def _lulc_arrays(shape: tuple[int, ...]) -> tuple[ArraySchema, ...]:
    share = {"long_name": "probability of the class taken", "scale_factor": SHARE_SCALE, "units": "1"}
    return (
        ArraySchema("lulc", PIXEL_DIMS, shape, "uint8", LULC_FILL, _lulc_attributes()),
        ArraySchema("confidence", PIXEL_DIMS, shape, "uint8", 0, share),
    )


def _probabilities(extent: Extent) -> ArraySchema:
    shape = (extent.timesteps, len(LULC_LEGEND), extent.size, extent.size)
    share = {"long_name": "class probability, mean over samples", "scale_factor": SHARE_SCALE, "units": "1"}
    return ArraySchema("probabilities", ("chip", "time", "class", "y", "x"), shape, "uint8", 0, share)


def _lulc_attributes() -> dict[str, Any]:
    return {
        "long_name": "generated land use and land cover",
        "flag_values": [entry.value for entry in LULC_LEGEND],
        "flag_meanings": " ".join(entry.flag for entry in LULC_LEGEND),
        "flag_colors": " ".join("#{:02x}{:02x}{:02x}".format(*entry.rgb) for entry in LULC_LEGEND),
        "_FillValue": LULC_FILL,
    }
