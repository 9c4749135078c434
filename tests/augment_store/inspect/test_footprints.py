"""The table of chips: what it says of each, and that other programs read it."""

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio.warp

from augment_store.cli.main import main
from augment_store.inspect.footprints import MEASURE_COLUMNS
from augment_store.inspect.statistics import MEASURES
from augment_store.store.chip_index import ChipEntry
from tests.worlds import WKT, make_spec, make_store


def export(store, out, *arguments):
    return main(["export", str(store.path), "--format", "footprints", "--out", str(out), *arguments])


def test_a_row_for_each_chip_with_shares_measures_and_footprint(tmp_path, capsys):
    lulc = np.ones((1, 1, 32, 32), np.uint8)
    lulc[..., :8, :] = 2  # a quarter trees, the rest water
    store = make_store(tmp_path / "s", chips=2, given={"scene0_r0c0": {"lulc": lulc}})
    assert export(store, tmp_path / "out") == 0
    assert capsys.readouterr().out == f"{tmp_path}/out: 1 file of 2 chips (2 of 2 chips complete)\n"
    table = gpd.read_parquet(tmp_path / "out" / "s_footprints.parquet")
    assert table.chip_id.tolist() == ["scene0_r0c0", "scene0_r0c1"]
    assert table.scene_id.tolist() == ["scene0", "scene0"]
    first = table.iloc[0]
    assert (first.share_water, first.share_trees, first.share_crops) == (0.75, 0.25, 0)
    assert first.entropy_of_shares == pytest.approx(0.811278, abs=1e-6)  # of 1/4 and 3/4, in bits
    corners = [580_000, 580_320, 580_320, 580_000], [4_510_000, 4_510_000, 4_509_680, 4_509_680]
    expected = list(zip(*rasterio.warp.transform(WKT, "EPSG:4326", *corners), strict=True))
    np.testing.assert_allclose(list(first.geometry.exterior.coords)[:4], expected, atol=1e-6)
    assert table.crs.to_string() == "OGC:CRS84"


def test_it_declares_geoparquet(tmp_path):
    store = make_store(tmp_path / "s", chips=1)
    assert export(store, tmp_path / "out") == 0
    metadata = pq.read_metadata(tmp_path / "out" / "s_footprints.parquet").metadata
    assert b'"encoding": "WKB"' in metadata[b"geo"]


def test_every_measure_has_a_column():
    assert MEASURE_COLUMNS.keys() == MEASURES.keys()


def test_a_continuous_map_and_a_chip_without_georeference(tmp_path, capsys):
    store = make_store(tmp_path / "s", chips=1, spec=make_spec("NDVI"), entries=[ChipEntry("a", "a")])
    assert export(store, tmp_path / "out") == 0
    assert "1 file (1 chip without georeference) of 1 chip" in capsys.readouterr().out
    table = gpd.read_parquet(tmp_path / "out" / "s_footprints.parquet")
    assert table.geometry.isna().all()
    assert -1 <= table["mean"][0] <= 1
    assert not any(name.startswith("share_") for name in table)


@pytest.mark.parametrize("option", [["--mosaic"], ["--arrays", "lulc"]])
def test_options_of_rasters_are_refused(tmp_path, capsys, option):
    store = make_store(tmp_path / "s", chips=1)
    assert export(store, tmp_path / "out", *option) == 2
    assert f"{option[0]}: --format footprints writes a table of chips, no maps" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
