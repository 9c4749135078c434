"""A table of chips with their footprints, class shares and measures, as GeoParquet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
from shapely.geometry import Polygon

from augment_store.chips.georeference import footprint
from augment_store.inspect.statistics import ChipStatistics
from augment_store.inspect.store_inspector import StoreInspector
from augment_store.io.files import atomic_path
from augment_store.store.chip_index import read_entry

MEASURE_COLUMNS: Final = {
    "confidence": "mean_confidence",
    "token": "mean_token_probability",
    "entropy": "entropy_of_shares",
    "samples": "agreement_between_samples",
    "timesteps": "agreement_between_timesteps",
    "reference": "agreement_with_reference",
}
"""Column of each of `augment_store.inspect.statistics.MEASURES`."""


def write_footprints(path: Path, inspector: StoreInspector, chips: Iterable[ChipStatistics]) -> int:
    """Write a GeoParquet file with a row for each chip, which QGIS, geopandas and DuckDB open.

    Columns: ``chip_id``, ``scene_id``, ``split`` (empty if unknown), ``mean`` of a continuous map or
    ``share_<class>`` of each class, `MEASURE_COLUMNS`, and ``geometry``: the chip's corners in degrees (WGS 84), null
    for a chip without georeference.

    Args:
        path: File to write.
        inspector: The store.
        chips: Statistics of the chips.

    Returns:
        Number of chips without georeference.

    Raises:
        ChipDataError: If a coordinate reference system cannot be used.
        OutputError: If the file cannot be written.
    """
    rows = [_footprint_row(inspector, chip) for chip in chips]
    table = gpd.GeoDataFrame(rows, geometry="geometry", crs="OGC:CRS84")  # longitude first, as the rings are
    with atomic_path(path) as draft:
        table.to_parquet(draft, index=False)
    return int(table.geometry.isna().sum())


def _footprint_row(inspector: StoreInspector, chip: ChipStatistics) -> dict[str, Any]:
    kind = inspector.kind
    entry = read_entry(inspector.store, chip.chip_id)
    ring = footprint(entry.georeference, inspector.store.extent.shape)
    values: dict[str, float]
    if kind.continuous:
        values = {"mean": chip.mean_value}
    else:
        # flags are names without spaces and slashes, for which a query would need quotes
        values = {f"share_{c.flag}": float(chip.shares[c.value]) for c in kind.legend}
    return {
        "chip_id": chip.chip_id,
        "scene_id": entry.scene_id,
        "split": chip.split,
        **values,
        **{column: chip.measures[key] for key, column in MEASURE_COLUMNS.items()},
        "geometry": None if ring is None else Polygon(ring),
    }
