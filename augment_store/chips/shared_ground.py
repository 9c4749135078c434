"""Ground that chips of two splits share, so that a test would see what was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import is_known

SHARED_PART: Final = 0.01
"""Part of the smaller chip below which an overlap is a matter of rounding, as between neighbors."""


@dataclass(frozen=True)
class Box:
    """Bounding box of a chip in its own coordinate reference system.

    Attributes:
        chip_id: The chip.
        split: Its split.
        crs_wkt: The system, as WKT.
        west: Smallest x.
        south: Smallest y.
        east: Largest x.
        north: Largest y.
    """

    chip_id: str
    split: str
    crs_wkt: str
    west: float
    south: float
    east: float
    north: float

    @property
    def area(self) -> float:
        """Area in squares of the system's unit."""
        return (self.east - self.west) * (self.north - self.south)

    def shares(self, other: Box) -> bool:
        """Tell whether two boxes of one system overlap by more than rounding."""
        width = min(self.east, other.east) - max(self.west, other.west)
        height = min(self.north, other.north) - max(self.south, other.south)
        # two negative sides would multiply to a positive area
        return min(width, height) > 0 and width * height > SHARED_PART * min(self.area, other.area)


def read_boxes(chips: ChipSet, splits: Mapping[str, Iterable[str]], shape: tuple[int, int]) -> Iterator[Box]:
    """Read where the chips of each split lie, from the headers of their GeoTIFFs; those without a place are left out.

    Args:
        chips: The chip set.
        splits: Chip ids by split.
        shape: Height and width of a chip in pixels.

    Raises:
        ChipDataError: If a header cannot be read.
    """
    height, width = shape
    for split, ids in splits.items():
        for chip_id in ids:
            place = chips.georeference(chip_id)
            if is_known(place):
                a, b, c, d, e, f = place.transform
                corners = [(0, 0), (width, 0), (width, height), (0, height)]
                # x = a·col + b·row + c, y likewise: at all four corners, as a raster may be turned
                xs, ys = (
                    [p * col + q * row + o for col, row in corners] for p, q, o in ((a, b, c), (d, e, f))
                )
                yield Box(chip_id, split, place.crs_wkt, min(xs), min(ys), max(xs), max(ys))


def find_overlaps(boxes: Iterable[Box]) -> list[tuple[Box, Box]]:
    """Find pairs of chips of different splits whose boxes overlap, from west to east.

    Chips in different systems, such as two UTM zones, are not compared.
    """
    found: list[tuple[Box, Box]] = []
    active: list[Box] = []
    # a sweep from west to east: only boxes that have not ended in the west can overlap the next one
    for box in sorted(boxes, key=lambda one: (one.crs_wkt, one.west)):
        # those in another system drop out as well; the sort keeps each system together
        active = [other for other in active if other.crs_wkt == box.crs_wkt and other.east > box.west]
        found += [(other, box) for other in active if other.split != box.split and other.shares(box)]
        active.append(box)
    return found


def find_copies(inputs: Mapping[str, Mapping[bytes, str]]) -> list[tuple[str, str]]:
    """Find pairs of chips of different splits with the same raw input.

    Args:
        inputs: By split, the chip of each input digest.
    """
    # every two splits once
    pairs = combinations(inputs.values(), 2)
    return sorted(
        (one[digest], other[digest]) for one, other in pairs for digest in one.keys() & other.keys()
    )
