"""GeoZarr: xarray reads values, coordinates and coordinate reference system; the conventions are declared."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - gives xarray's objects .rio
import xarray as xr
import zarr
from rasterio.crs import CRS

from augment_store.chips.georeference import Georeference
from augment_store.cli.main import main
from augment_store.io.lock import file_lock
from augment_store.store.chip_index import ChipEntry
from tests.worlds import make_spec, make_store

GDAL = tuple(int(part) for part in rasterio.__gdal_version__.split(".")[:2])


def export(store, out, *arguments) -> int:
    return main(["export", str(store.path), "--out", str(out), "--format", "zarr", *arguments])


@pytest.mark.slow
def test_xarray_reads_what_the_store_holds(tmp_path):
    store = make_store(tmp_path / "s", chips=3, timesteps=2, spec=make_spec(samples=2, probabilities=True))
    assert export(store, tmp_path / "out") == 0
    found = xr.open_zarr(tmp_path / "out" / "s.zarr" / "scene0_r0c1")
    assert found.lulc.dims == ("sample", "time", "y", "x")
    np.testing.assert_array_equal(found.lulc, store.read("scene0_r0c1", "lulc"))
    np.testing.assert_allclose(found.confidence, store.read("scene0_r0c1", "confidence") / 255)
    np.testing.assert_allclose(found.probabilities, store.read("scene0_r0c1", "probabilities") / 255)
    west, north = 580_000 + 320, 4_510_000
    np.testing.assert_array_equal(found.x, west + 5 + 10 * np.arange(32))
    np.testing.assert_array_equal(found.y, north - 5 - 10 * np.arange(32))
    assert CRS.from_wkt(found.spatial_ref.attrs["crs_wkt"]).to_epsg() == 32618


def test_rioxarray_reads_system_and_transform(tmp_path):
    """Opened by the chip's own path, without a warning, which this suite takes for an error."""
    store = make_store(tmp_path / "s", chips=2)
    assert export(store, tmp_path / "out") == 0
    found = xr.open_zarr(tmp_path / "out" / "s.zarr" / "scene0_r0c1")
    assert found.rio.crs.to_epsg() == 32618
    assert tuple(found.rio.transform())[:6] == (10, 0, 580_320, 0, -10, 4_510_000)
    assert found.lulc.rio.bounds() == (580_320, 4_509_680, 580_640, 4_510_000)


@pytest.mark.skipif(GDAL < (3, 13), reason=f"GDAL {rasterio.__gdal_version__} does not know the conventions")
def test_gdal_reads_system_and_transform(tmp_path):
    store = make_store(tmp_path / "s", chips=1)
    assert export(store, tmp_path / "out") == 0
    with rasterio.open(f'ZARR:"{tmp_path}/out/s.zarr/scene0_r0c0":/lulc') as found:
        assert found.crs.to_epsg() == 32618
        assert tuple(found.transform)[:6] == (10, 0, 580_000, 0, -10, 4_510_000)


def test_coordinates_in_degrees_are_called_so(tmp_path):
    place = Georeference(CRS.from_epsg(4326).to_wkt(), (0.25, 0.0, 8.0, 0.0, -0.25, 50.0))
    store = make_store(tmp_path / "s", chips=1, entries=[ChipEntry("a", "a", place)])
    assert export(store, tmp_path / "out") == 0
    found = xr.open_zarr(tmp_path / "out" / "s.zarr" / "a")
    assert (found.x.attrs["standard_name"], found.y.attrs["units"]) == ("longitude", "degrees_north")
    assert found.y.values[:2].tolist() == [49.875, 49.625]


def test_conventions_are_declared(tmp_path):
    store = make_store(tmp_path / "s", chips=1)
    assert export(store, tmp_path / "out", "--arrays", "lulc", "tokens") == 0
    group = zarr.open_group(tmp_path / "out" / "s.zarr" / "scene0_r0c0", mode="r")
    lulc, tokens = group["lulc"].attrs, group["tokens"].attrs
    conventions = {entry["name"]: entry for entry in lulc["zarr_conventions"]}
    assert list(conventions) == ["proj", "spatial"]  # names, tags and identifiers as v0.1 of both has them
    assert conventions["proj"]["uuid"] == "f17cb550-5864-4468-aeb7-f3180cfb622f"
    assert conventions["spatial"]["uuid"] == "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4"
    for name, entry in conventions.items():
        raw = f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/v0.1/schema.json"
        assert entry["schema_url"] == raw
        assert entry["spec_url"] == f"https://github.com/zarr-conventions/{name}/blob/v0.1/README.md"
    assert lulc["proj:code"] == "EPSG:32618"
    assert lulc["spatial:dimensions"] == ["y", "x"]
    assert lulc["spatial:transform"] == [10, 0, 580_000, 0, -10, 4_510_000]
    assert lulc["spatial:bbox"] == [580_000, 4_509_680, 580_320, 4_510_000]
    assert lulc["spatial:shape"] == list(group["lulc"].shape[-2:])
    assert tokens["spatial:dimensions"] == ["ty", "tx"]
    assert tokens["spatial:transform"] == [160, 0, 580_000, 0, -160, 4_510_000]
    assert tokens["spatial:bbox"] == lulc["spatial:bbox"]


def test_timesteps_that_are_copies_are_written_too(tmp_path):
    given = {"scene0_r0c0": {"timestep_source": np.zeros(2, np.int16)}}
    store = make_store(tmp_path / "s", chips=1, timesteps=2, given=given)
    assert export(store, tmp_path / "out") == 0
    found = zarr.open_group(tmp_path / "out" / "s.zarr", mode="r")["scene0_r0c0/lulc"]
    np.testing.assert_array_equal(found[:], store.read("scene0_r0c0", "lulc"))
    np.testing.assert_array_equal(found[0, 1], found[0, 0])


def test_mosaic_is_one_group(tmp_path):
    store = make_store(tmp_path / "s", chips=8)
    assert export(store, tmp_path / "out", "--mosaic") == 0
    found = xr.open_zarr(tmp_path / "out" / "s.zarr" / "scene1")
    assert found.lulc.shape == (1, 1, 32, 128)
    np.testing.assert_array_equal(found.lulc[0, 0, :, 32:64], store.read("scene1_r1c1", "lulc")[0, 0])


def test_chip_without_georeference_has_no_coordinates(tmp_path):
    store = make_store(tmp_path / "s", chips=1, entries=[ChipEntry("a", "a")])
    assert export(store, tmp_path / "out") == 0
    found = xr.open_zarr(tmp_path / "out" / "s.zarr" / "a")
    assert not found.coords
    np.testing.assert_array_equal(found.lulc, store.read("a", "lulc"))


def test_export_again_replaces_and_another_store_is_refused(tmp_path, capsys):
    store = make_store(tmp_path / "s", chips=1)
    assert export(store, tmp_path / "out") == 0
    assert export(store, tmp_path / "out", "--arrays", "lulc") == 0
    assert sorted(zarr.open_group(tmp_path / "out" / "s.zarr", mode="r")["scene0_r0c0"].array_keys()) == [
        *("lulc", "spatial_ref", "x", "y")
    ]
    other = make_store(tmp_path / "other" / "s", chips=1, spec=make_spec(samples=2))
    assert export(other, tmp_path / "out") == 2
    assert "holds the export of another store" in capsys.readouterr().err


def test_folder_with_something_else_is_refused(tmp_path, capsys):
    store = make_store(tmp_path / "s", chips=1)
    (tmp_path / "out" / "s.zarr").mkdir(parents=True)
    (tmp_path / "out" / "s.zarr" / "notes.txt").touch()
    assert export(store, tmp_path / "out") == 2
    assert "exists and is not a Zarr group" in capsys.readouterr().err


def test_a_group_of_someone_else_is_refused_and_what_a_kill_left_is_not(tmp_path, capsys):
    store = make_store(tmp_path / "s", chips=1)
    zarr.create_group(tmp_path / "out" / "s.zarr", attributes={"mine": True})
    theirs = tmp_path / "out" / "s.zarr" / "zarr.1a2b.partial"
    theirs.touch()
    assert export(store, tmp_path / "out") == 2
    assert "holds the export of another store (none)" in capsys.readouterr().err
    assert theirs.is_file()
    left = tmp_path / "killed" / "s.zarr"
    left.mkdir(parents=True)
    (left / "zarr.0f3c.partial").write_text("{")
    assert export(store, tmp_path / "killed") == 0
    assert [*left.glob("*.partial")] == []
    found = xr.open_zarr(left / "scene0_r0c0")
    np.testing.assert_array_equal(found.lulc, store.read("scene0_r0c0", "lulc"))


def test_a_group_that_another_export_writes_is_refused(tmp_path, capsys):
    store = make_store(tmp_path / "s", chips=2)
    with file_lock(tmp_path / "out" / "s.zarr"):
        assert export(store, tmp_path / "out") == 2
    assert "s.zarr: another run is writing here; wait for it to end" in capsys.readouterr().err


@pytest.mark.parametrize("modality", ["LULC", "NDVI"])
def test_missing_values_are_nan(tmp_path, modality):
    name, fill = ("ndvi", -32768) if modality == "NDVI" else ("lulc", 255)
    hole = np.full((1, 1, 32, 32), fill, np.int16 if modality == "NDVI" else np.uint8)
    hole[..., 0, 0] = 1
    store = make_store(tmp_path / "s", chips=1, spec=make_spec(modality), given={"scene0_r0c0": {name: hole}})
    assert export(store, tmp_path / "out") == 0
    found = xr.open_zarr(tmp_path / "out" / "s.zarr" / "scene0_r0c0")[name]
    assert int(found.notnull().sum()) == 1
