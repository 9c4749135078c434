"""Digests that bind stored values to their chip and spec, and a chip's entry to its id."""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from augment_store.chips.georeference import Georeference

_NAN: Final = float("nan")
"""One of the many bit patterns of NaN, so that equal entries have equal digests."""


def digest_of(*parts: bytes | memoryview) -> bytes:
    """Return the 128-bit XXH3 digest of concatenated parts; it finds mistakes, not malice."""
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part)
    return state.digest()


def content_digest(fingerprint: str, chip_id: str, name: str, values: NDArray[Any]) -> bytes:
    """Return the 128-bit digest of one chip's values of an array, bound to the chip and the spec."""
    # one byte order and memory layout, so that equal values have equal bytes on every machine
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    # type and shape too, as the same bytes are other values in another shape
    words = f"{fingerprint}|{name}|{plain.dtype.str}|{plain.shape}|{chip_id}|"
    return digest_of(words.encode(), plain.data)


def entry_digest(chip_id: str, scene_id: str, georeference: Georeference) -> bytes:
    """Return the 128-bit digest of what a chip was announced with."""
    # NaN alone is unequal to itself
    transform = (value if value == value else _NAN for value in georeference.transform)
    # NUL is not printable, so no valid id can run into the part behind it
    words = f"{chip_id}\0{scene_id}\0{georeference.crs_wkt}"
    return digest_of(words.encode(), struct.pack("<6d", *transform))
