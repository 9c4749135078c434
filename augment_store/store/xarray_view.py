"""A chip of a store as an xarray dataset: maps in their units, coordinates, and where it lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from augment_store.chips.georeference import (
    GRID_MAPPING,
    Georeference,
    axis_attributes,
    coarser,
    grid_mapping,
    is_known,
    pixel_centres,
)
from augment_store.errors import StoreError
from augment_store.modalities.definitions import PATCH_SIZE, patches
from augment_store.modalities.map_arrays import TOKENS, MapArray
from augment_store.store.chip_index import read_entry
from augment_store.store.schema import State

if TYPE_CHECKING:
    from augment_store.store.reader import StoreReader

_PACKING: Final[tuple[str, ...]] = ("scale_factor", "_FillValue")
"""Attributes that say how values are stored; xarray keeps them as the encoding and writes them back."""

_STORED_ONLY: Final[tuple[str, ...]] = ("valid_range", "band_names")
"""Attributes that describe stored values, or that a coordinate replaces."""


def chip_dataset(store: StoreReader, chip_id: str) -> xr.Dataset:
    """Return a chip's tokens and maps, checked against their digests.

    Classes and tokens are as stored (255 and 65535: nothing generated); everything else is float32 in its unit, NaN
    where nothing was generated. `xarray.open_zarr` of a whole store would turn classes into floats as well, unless
    called with ``mask_and_scale=False``.

    Args:
        store: An open store.
        chip_id: Id of a complete chip.

    Returns:
        Arrays ``[sample, time, y, x]`` and ``[sample, time, ty, tx]`` by name, bands or classes between time and y.
        Coordinates: ``x``, ``y`` (``tx``, ``ty``: of a token's 16 × 16 pixels) in the unit of the chip's coordinate
        reference system, which ``spatial_ref`` holds, where the chip has one; ``time`` and ``sample`` as numbers, since
        a store knows no dates; ``timestep_source``; ``series_index`` ``[input, time]``; names of ``band``, ``class``
        and ``input``.

    Raises:
        ChipNotFoundError: If the store does not know the chip.
        StoreError: If the chip is not complete.
        StoreError: If the store is damaged there.
    """
    _check_complete(store, chip_id)
    entry = read_entry(store, chip_id)
    coordinates = {
        "chip_id": chip_id,
        "scene_id": entry.scene_id,
        "sample": np.arange(store.spec.sampling.samples),
        "time": ("time", np.arange(store.extent.timesteps), {"long_name": "timestep"}),
        "timestep_source": ("time", store.read(chip_id, "timestep_source")),
        "series_index": (("input", "time"), store.read(chip_id, "series_index")),
        "input": [entry.name for entry in store.spec.inputs],
        **location_coordinates(entry.georeference, store.extent.shape),
    }
    # the attribute ``grid_mapping`` may only name a variable that is there
    located = GRID_MAPPING in coordinates
    arrays = {array.name: _variable(store, chip_id, array, located=located) for array in store.spec.arrays}
    for array in store.spec.arrays:
        coordinates |= _band_coordinates(store, array)
    return xr.Dataset(arrays, coordinates, _attributes(store))


def _check_complete(store: StoreReader, chip_id: str) -> None:
    position = store.index(chip_id)
    state = State(int(store.values("state", slice(position, position + 1))[0]))
    if state != State.COMPLETE:
        raise StoreError(
            f"{store.path}: chip {chip_id!r} is {state.name.lower()}; only complete chips have maps. Run the generate "
            "command again"
        )


def location_coordinates(georeference: Georeference, shape: tuple[int, int]) -> dict[str, Any]:
    """Return coordinates of pixels and tokens, and the reference system, of a chip; empty if unknown."""
    if not is_known(georeference):
        return {}
    rows, columns = map(patches, shape)
    fine = pixel_centres(georeference, shape)
    # the last patch may reach beyond the chip, and its center with it
    coarse = pixel_centres(coarser(georeference, PATCH_SIZE), (rows, columns))
    attributes = {axis: axis_attributes(axis, georeference) for axis in fine}
    return {
        # CF keeps the system in the attributes of a scalar, whose value means nothing
        GRID_MAPPING: ((), 0, grid_mapping(georeference)),
        **{axis: (axis, values, attributes[axis]) for axis, values in fine.items()},
        **{f"t{axis}": (f"t{axis}", values, attributes[axis]) for axis, values in coarse.items()},
    }


def _band_coordinates(store: StoreReader, array: MapArray) -> dict[str, Any]:
    """Return the names along the dimension between time and the last two, where an array has one."""
    if not array.banded:
        return {}
    # (chip, sample, time, band, y, x): the one behind the time
    dim = array.dims[array.dims.index("time") + 1]
    names: Mapping[str, list[Any]] = {
        "band": list(store.spec.map.modality.bands),
        "class": [entry.name for entry in store.spec.map.legend],
        "codebook": list(range(store.spec.codebooks)),
    }
    return {dim: names[dim]}


def _variable(
    store: StoreReader, chip_id: str, array: MapArray, *, located: bool
) -> tuple[tuple[str, ...], NDArray[Any], dict[str, Any], dict[str, Any]]:
    """Return dimensions, values, attributes and encoding of one array."""
    stored = store.read(chip_id, array.name)
    attributes = {
        key: value for key, value in array.attributes.items() if key not in (*_PACKING, *_STORED_ONLY)
    }
    packing = {key: array.attributes[key] for key in _PACKING if key in array.attributes}
    # tokens lie on a coarser grid, which the transform kept there does not describe
    mapping = {"grid_mapping": GRID_MAPPING} if located and array.pixels == 1 else {}
    # indices into a legend or a codebook stay integers, so they cannot have NaN
    if array.classes or array.name == TOKENS:
        return array.dims[1:], stored, attributes, {**packing, **mapping}
    values = (stored * np.float32(array.scale)).astype(np.float32)
    fill = array.attributes.get("_FillValue")
    if fill is None:  # without a value for NaN, floats are written as they are
        return array.dims[1:], values, attributes, mapping
    values[stored == fill] = np.nan
    return array.dims[1:], values, attributes, {**packing, **mapping, "dtype": array.dtype}


def _attributes(store: StoreReader) -> dict[str, str]:
    return {
        "Conventions": "CF-1.11",
        "title": f"{store.spec.modality} generated by {store.spec.generator}, not a reference",
        "fingerprint": store.fingerprint,
        "spec": json.dumps(store.spec.to_dict()),
        "history": store.history,
    }
