"""What a raster file may be: how large, and of which format."""

from __future__ import annotations

from typing import Final

MAX_RASTER_BYTES: Final = 2**30
"""Bytes that one modality of a chip may take; a NYC chip takes 6 MB."""

MAX_BANDS: Final = 4096
"""Bands that one raster may have, a year of days of 11 bands; GDAL's time grows with the square of their number."""


class FileFormatError(Exception):
    """A file is whole, but not what is read here; `remedy` says what to do about it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


def check_size(declared: int) -> None:
    """Refuse a size before memory is allocated for it: a few bytes can declare any number of pixels.

    Raises:
        ValueError: If it is larger than `MAX_RASTER_BYTES`.
    """
    if declared > MAX_RASTER_BYTES:
        raise ValueError(
            f"declares {declared / 2**30:.1f} GiB, at most {MAX_RASTER_BYTES / 2**30:.0f} are read"
        )


def check_bands(declared: int) -> None:
    """Refuse a number of bands before they are read: a bit can make one band 32,769, which GDAL reads for minutes.

    Raises:
        ValueError: If there are more than `MAX_BANDS`.
    """
    if declared > MAX_BANDS:
        raise ValueError(f"declares {declared:,} bands, at most {MAX_BANDS:,} are read")
