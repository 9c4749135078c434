"""GeoZarr: a Zarr v3 group per chip or mosaic, with the conventions ``proj`` and ``spatial`` and CF's.

Both conventions at their tag ``v0.1``: https://github.com/zarr-conventions/proj and
https://github.com/zarr-conventions/spatial. CF's `grid_mapping` is written too, for readers that
know nothing else (GDAL, rioxarray). Open a group by its own path: ``xarray.open_zarr(root / name)``.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import xarray as xr
import zarr
from rasterio.crs import CRS
from rasterio.transform import Affine, array_bounds

from augment_store.chips.georeference import GRID_MAPPING, authority_code, coarser, is_known
from augment_store.errors import AugmentStoreError, OutputError, StoreError
from augment_store.export.layers import layers
from augment_store.export.mosaic import Canvas
from augment_store.io.lock import file_lock
from augment_store.modalities.map_arrays import MapArray
from augment_store.store.writer import AugmentStore
from augment_store.store.xarray_view import location_coordinates

_CHUNK: Final = 512

_UUIDS: Final = {
    "proj": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "spatial": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
}
"""Identifiers of the conventions, as their v0.1 has them."""


def write_zarr(
    path: Path, store: AugmentStore, canvases: Iterable[Canvas], arrays: Sequence[MapArray]
) -> Iterator[Canvas]:
    """Write a group per canvas below a root group; groups that are there already are replaced.

    Args:
        path: Folder of the root group.
        store: The store.
        canvases: Chips or mosaics to write.
        arrays: Arrays to write.

    Yields:
        Each canvas, after it is written.

    Raises:
        StoreError: If the folder holds something else, or the export of another store.
        StoreBusyError: If another export writes there.
        OutputError: If it cannot be written.
    """
    try:
        with file_lock(path):
            _open_root(path, store)
            for canvas in canvases:
                mode: Literal["w", "a"] = "w"  # the first array replaces the group
                for array in arrays:  # only one of a mosaic's arrays is in memory
                    dataset = _to_dataset(store, canvas, array)
                    # consolidated once, after the last array, not anew with each
                    dataset.to_zarr(path, group=canvas.name, mode=mode, zarr_format=3, consolidated=False)
                    mode = "a"
                _consolidate(path, canvas.name)
                yield canvas
    # an OutputError is an OSError too, and names its own path
    except AugmentStoreError:
        raise
    except OSError as error:
        raise OutputError(path, error.strerror or error) from error


def _open_root(path: Path, store: AugmentStore) -> None:
    # Zarr's own, of an export that was killed
    partial = set(path.glob("zarr.*.partial"))
    if not (path / "zarr.json").is_file():
        # a kill leaves a folder with nothing else
        if path.exists() and not (path.is_dir() and partial.issuperset(path.iterdir())):
            raise StoreError(f"{path}: exists and is not a Zarr group; choose another --out")
        spec = {"fingerprint": store.fingerprint, "generation_spec": json.dumps(store.spec.to_dict())}
        zarr.create_group(path, zarr_format=3, attributes=spec)
    found = zarr.open_group(path, mode="r").attrs.get("fingerprint", "none")
    # below one root, groups of two stores could not be told apart
    if found != store.fingerprint:
        raise StoreError(f"{path}: holds the export of another store ({found!s:.12}); choose another --out")
    for left in partial:
        left.unlink()


def _to_dataset(store: AugmentStore, canvas: Canvas, array: MapArray) -> xr.Dataset:
    """Return one array of a canvas as stored, with the coordinates and attributes that belong to it."""
    schema = store.schema(array.name)
    cells, attributes = canvas.cells(array.pixels), dict(schema.attributes)
    # the store's axes before the pixels, and the canvas's cells instead of a chip's
    values = np.empty((*schema.shape[:-2], *cells), schema.dtype)
    for layer in layers(store, (array,)):
        pixels = canvas.read(store, layer)
        # [band, y, x] → [y, x] where the array has no axis for its one band
        values[layer.index] = pixels if array.banded else pixels[0]
    if is_known(canvas.georeference):
        # the grid mapping's GeoTransform is of pixels, so the coarser tokens do not refer to it
        attributes |= {"grid_mapping": GRID_MAPPING, "coordinates": GRID_MAPPING} if array.pixels == 1 else {}
        attributes |= _conventions(canvas, schema.dims[-2:], array.pixels)
    located = location_coordinates(canvas.georeference, canvas.shape)
    dataset = xr.Dataset(
        {array.name: (schema.dims[1:], values, attributes)},
        # an array gets the coordinates of its own axes; the reference system has none and fits all
        {name: entry for name, entry in located.items() if {*entry[0]} <= {*schema.dims}},
        {
            "Conventions": "CF-1.11",
            "title": f"{store.spec.modality} generated by {store.spec.generator}",
            "scene_id": canvas.scene_id,
            "chip_ids": list(canvas.corners),
        },
    )
    # readers take one sample and timestep at a time
    chunks = (*(1,) * (values.ndim - 2), *(min(side, _CHUNK) for side in cells))
    dataset[array.name].encoding = {"chunks": chunks, "fill_value": schema.fill}
    return dataset


def _consolidate(path: Path, group: str) -> None:
    """Consolidate metadata per group, since readers open groups; the root's would hold that of every chip."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(path, path=group, zarr_format=3)


def _conventions(canvas: Canvas, dims: Sequence[str], pixels: int) -> dict[str, Any]:
    """Return the conventions' attributes of an array whose values cover `pixels` chip pixels a side."""
    transform = Affine(*coarser(canvas.georeference, pixels).transform)
    height, width = canvas.cells(pixels)
    code = authority_code(canvas.georeference.crs_wkt)
    repository = "https://github.com/zarr-conventions"
    return {
        "zarr_conventions": [
            {
                "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/v0.1/schema.json",
                "spec_url": f"{repository}/{name}/blob/v0.1/README.md",
                "uuid": uuid,
                "name": name,
            }
            for name, uuid in _UUIDS.items()
        ],
        **({} if code is None else {"proj:code": code}),
        # the convention wants WKT2, and the store's text may be WKT1
        "proj:wkt2": CRS.from_wkt(canvas.georeference.crs_wkt).to_wkt(version="WKT2_2019"),
        "spatial:dimensions": list(dims),
        "spatial:transform_type": "affine",
        # an Affine iterates over nine numbers, of which the last three are always 0, 0, 1
        "spatial:transform": list(transform)[:6],
        "spatial:shape": [height, width],
        "spatial:bbox": list(array_bounds(height, width, transform)),
        "spatial:registration": "pixel",
    }
