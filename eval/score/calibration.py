"""Whether stated probabilities come true: reliability curves and expected calibration error of generated maps."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from augment_store.io.files import atomic_write

BINS: Final = 10
CALIBRATION: Final = "calibration.json"


@dataclass(frozen=True)
class Bin:
    """Pixels whose stated probability lies in an interval.

    Attributes:
        pixels: Number of pixels.
        stated: Mean of their stated probability, 0 where there are none.
        right: Share of them whose class is the reference's, 0 where there are none.
    """

    pixels: int
    stated: float
    right: float


@dataclass(frozen=True)
class Reliability:
    """How often a stated probability comes true, in bins of equal width from 0 to 1.

    Attributes:
        bins: From the lowest to the highest.
    """

    bins: tuple[Bin, ...]

    @classmethod
    def of(cls, stated: NDArray[Any], right: NDArray[np.bool_]) -> Self:
        """Measure pixels, each with a stated probability in 0..1 and whether it is right."""
        # a stated probability of exactly 1 belongs to the last bin, not to one after it
        position = np.minimum((stated * BINS).astype(int), BINS - 1)
        # three sums a bin: the pixels, what they state, and how many of them are right
        counts, sums, hits = (
            np.bincount(position, weights=weights, minlength=BINS)
            for weights in (None, stated.astype(float), right.astype(float))
        )
        # an empty bin's sums are 0, so it gets 0 / 1 rather than 0 / 0
        shared = np.maximum(counts, 1)
        rows = zip(counts.tolist(), (sums / shared).tolist(), (hits / shared).tolist(), strict=True)
        return cls(tuple(Bin(int(pixels), stated, right) for pixels, stated, right in rows))

    def __add__(self, other: Reliability) -> Reliability:
        """Join the reliability of both sets of pixels."""
        return Reliability(tuple(_merge(*pair) for pair in zip(self.bins, other.bins, strict=True)))

    @property
    def pixels(self) -> int:
        """Return the number of pixels."""
        return sum(entry.pixels for entry in self.bins)

    @property
    def stated(self) -> float:
        """Return the mean stated probability."""
        return sum(entry.pixels * entry.stated for entry in self.bins) / max(self.pixels, 1)

    @property
    def right(self) -> float:
        """Return the share of pixels that are right."""
        return sum(entry.pixels * entry.right for entry in self.bins) / max(self.pixels, 1)

    @property
    def error(self) -> float:
        """Return the expected calibration error (Naeini et al. 2015; Guo et al. 2017, eq. 3)."""
        apart = sum(entry.pixels * abs(entry.right - entry.stated) for entry in self.bins)
        return apart / max(self.pixels, 1)


def _merge(one: Bin, other: Bin) -> Bin:
    pixels = one.pixels + other.pixels
    # both are means over pixels, so each set weighs by how many it has
    stated, right = (
        (one.pixels * getattr(one, name) + other.pixels * getattr(other, name)) / max(pixels, 1)
        for name in ("stated", "right")
    )
    return Bin(pixels, stated, right)


def write_calibration(folder: Path, found: Mapping[str, Reliability]) -> str:
    """Write ``calibration.json`` into a folder, keyed by the source of the probability.

    Returns:
        SHA-256 of the file, in hexadecimal.

    Raises:
        OutputError: If it cannot be written.
    """
    plain = {
        name: {
            "pixels": entry.pixels,
            "mean_stated": entry.stated,
            "right": entry.right,
            "expected_calibration_error": entry.error,
            "bins": [dataclasses.asdict(part) for part in entry.bins],
        }
        for name, entry in found.items()
    }
    content = json.dumps(plain, indent=1).encode() + b"\n"
    atomic_write(folder / CALIBRATION, [content])
    return hashlib.sha256(content).hexdigest()


def describe_reliability(found: Mapping[str, Reliability]) -> Iterator[str]:
    """Return the curves as lines of text."""
    for name, entry in found.items():
        yield (
            f"{name}: states {100 * entry.stated:.1f} %, is right in {100 * entry.right:.1f} % of {entry.pixels:,} "
            f"pixels; expected calibration error {100 * entry.error:.1f} pp"
        )
        filled = [part for part in entry.bins if part.pixels]
        yield "  stated " + " ".join(f"{100 * part.stated:5.1f}" for part in filled)
        yield "  right  " + " ".join(f"{100 * part.right:5.1f}" for part in filled)
        yield "  pixels " + " ".join(f"{100 * part.pixels / entry.pixels:4.0f}%" for part in filled)
