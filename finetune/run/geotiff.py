"""Write classes as GeoTIFFs; a module of its own, since maps that no network predicted are written without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import Affine

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference
from augment_store.io.raster_file import atomic_raster


def write_classes(
    folder: Path,
    chips: ChipSet,
    chip_id: str,
    classes: NDArray[np.int16],
    place: Georeference | None = None,
) -> None:
    """Write classes ``[H, W]`` of one chip.

    Args:
        folder: Folder to write to.
        chips: Its chip set.
        chip_id: The chip.
        classes: Class of each pixel.
        place: Where these pixels lie; None for where the chip lies.
    """
    place = chips.georeference(chip_id) if place is None else place
    profile = {"driver": "GTiff", "height": classes.shape[0], "width": classes.shape[1], "count": 1}
    profile |= {"dtype": "int16", "nodata": -1, "compress": "deflate"}
    if place.crs_wkt:
        # without a reference system the file has none, rather than a wrong one
        profile |= {"crs": place.crs_wkt, "transform": Affine(*place.transform)}
    with atomic_raster(folder / f"{chip_id}.tif", **profile) as target:
        target.write(classes, 1)
