"""Writing rasters whole or not at all; apart from other files, as rasterio takes a second to import."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetWriter, MemoryFile

from augment_store.io.files import atomic_write


@contextlib.contextmanager
def atomic_raster(path: Path, **profile: Any) -> Iterator[DatasetWriter]:
    """Give a GeoTIFF in memory to write to, which is written to `path` whole at the end.

    GDAL writes a full disk's file short and raises nothing, and trips over what a kill left of its own files.

    Args:
        path: The file.
        profile: What `rasterio.open` takes for writing: height, width, count, dtype …

    Raises:
        OutputError: If it cannot be written.
    """
    with MemoryFile() as memory:
        with warnings.catch_warnings():  # a raster without a location is fine
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            target = memory.open(**{"driver": "GTiff", **profile})
        with target:
            yield target
        atomic_write(path, [memory.getbuffer()])
