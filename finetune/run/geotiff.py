"""Writing classes as GeoTIFFs; a file of its own, since maps that no network predicted are written without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import Affine

from augment_store.chips.chip_set import ChipSet
from augment_store.io.files import atomic_raster


def write_classes(folder: Path, chips: ChipSet, chip_id: str, classes: NDArray[np.int16]) -> None:
    """Writes one chip's classes ``[H, W]``."""
    place = chips.georeference(chip_id)
    profile = {"driver": "GTiff", "height": classes.shape[0], "width": classes.shape[1], "count": 1}
    profile |= {"dtype": "int16", "nodata": -1, "compress": "deflate"}
    if place.crs_wkt:
        profile |= {"crs": place.crs_wkt, "transform": Affine(*place.transform)}
    with atomic_raster(folder / f"{chip_id}.tif", **profile) as target:
        target.write(classes, 1)
