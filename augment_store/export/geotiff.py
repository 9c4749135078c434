"""GeoTIFFs, plain and cloud-optimized, with colors, class names, scale and the spec in tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import rasterio.shutil
from rasterio.io import DatasetWriter, MemoryFile
from rasterio.transform import Affine

from augment_store.chips.georeference import coarser, is_known
from augment_store.export.layers import Layer
from augment_store.export.mosaic import Canvas
from augment_store.export.sidecars import write_sidecars
from augment_store.io.files import atomic_write
from augment_store.io.raster_file import atomic_raster
from augment_store.store.writer import AugmentStore

# side of a tile in pixels, as GDAL's COG driver has it by default
_BLOCK: Final = 512


def write_geotiff(path: Path, store: AugmentStore, canvas: Canvas, layer: Layer) -> None:
    """Write a layer as GeoTIFF, with class names and colors in files beside it.

    Raises:
        OutputError: If the file cannot be written.
    """
    with atomic_raster(path, **_raster_profile(canvas, layer)) as target:
        _write_layer(target, store, canvas, layer)
    write_sidecars(path, layer.array.classes)


def write_cog(path: Path, store: AugmentStore, canvas: Canvas, layer: Layer) -> None:
    """Write a layer as cloud-optimized GeoTIFF, by GDAL's own driver; overviews until one fits a block.

    Raises:
        OutputError: If the file cannot be written.
    """
    options = {
        "compress": "deflate",
        "blocksize": _BLOCK,
        "overview_resampling": layer.array.resampling,
    }
    # the COG driver only copies a finished raster, so a plain one is written first
    with MemoryFile() as plain, MemoryFile() as optimized:
        with plain.open(**_raster_profile(canvas, layer)) as source:
            _write_layer(source, store, canvas, layer)
        with plain.open() as source:
            rasterio.shutil.copy(source, optimized.name, driver="COG", **options)
        atomic_write(path, [optimized.getbuffer()])  # GDAL's own errors for a full disk are not OSErrors
    write_sidecars(path, layer.array.classes)


def _raster_profile(canvas: Canvas, layer: Layer) -> dict[str, Any]:
    array, per_token = layer.array, layer.array.pixels
    height, width = canvas.cells(per_token)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": len(layer.bands),
        "dtype": array.dtype,
        "nodata": array.nodata,
        "compress": "deflate",
    }
    if is_known(canvas.georeference):
        grid = coarser(canvas.georeference, per_token)
        profile |= {"crs": grid.crs_wkt, "transform": Affine(*grid.transform)}
    # a raster of one block stays striped: tiles would be padded to the block's size
    if max(height, width) > _BLOCK:
        profile |= {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK}
    return profile


def _write_layer(target: DatasetWriter, store: AugmentStore, canvas: Canvas, layer: Layer) -> None:
    target.write(canvas.read(store, layer))
    target.descriptions = layer.bands
    target.scales = (layer.array.scale,) * len(layer.bands)
    if layer.array.unit:
        target.units = (layer.array.unit,) * len(layer.bands)
    target.update_tags(**_tags(store, canvas, layer))
    if layer.array.classes:
        target.write_colormap(1, {entry.value: (*entry.rgb, 255) for entry in layer.array.classes})
        target.update_tags(
            1,
            # CF's names for classes, for readers that do not look into the files beside the raster
            flag_values=" ".join(str(entry.value) for entry in layer.array.classes),
            flag_meanings=" ".join(entry.flag for entry in layer.array.classes),
        )


def _tags(store: AugmentStore, canvas: Canvas, layer: Layer) -> Mapping[str, str]:
    chip_ids = tuple(canvas.corners)
    tags = {
        "AREA_OR_POINT": "Area",
        "GENERATOR": store.spec.generator,
        # sorted, so that equal specs are equal text
        "GENERATION_SPEC": json.dumps(store.spec.to_dict(), sort_keys=True),
        "FINGERPRINT": store.fingerprint,
        "SCENE_ID": canvas.scene_id,
        "CHIP_IDS": " ".join(chip_ids),
        "ARRAY": layer.array.name,
        "TIMESTEP": str(layer.timestep),
    }
    if layer.sample is not None:
        tags["SAMPLE"] = str(layer.sample)
    # a mosaic's chips may have copied different timesteps
    if len(chip_ids) == 1:
        sources = store.read(chip_ids[0], "timestep_source")
        # timesteps whose maps are copies of this one, itself among them
        stands_for = [str(time) for time, source in enumerate(sources) if source == layer.timestep]
        tags["STANDS_FOR_TIMESTEPS"] = " ".join(stands_for)
        tags["SERIES_INDEX"] = json.dumps(store.series_index(chip_ids[0], layer.timestep))
    return tags
