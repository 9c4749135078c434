"""Digests that bind stored values to their chip and spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

if TYPE_CHECKING:
    pass


def digest_of(*parts: bytes | memoryview) -> bytes:
    """128-bit XXH3 digest of concatenated parts: it finds mistakes, as any digest without a key, and not malice."""
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part)
    return state.digest()


def content_digest(fingerprint: str, chip_id: str, name: str, values: NDArray[Any]) -> bytes:
    """128-bit digest of one chip's values of an array, bound to the chip and the spec."""
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    words = f"{fingerprint}|{name}|{plain.dtype.str}|{plain.shape}|{chip_id}|"
    return digest_of(words.encode(), plain.data)
