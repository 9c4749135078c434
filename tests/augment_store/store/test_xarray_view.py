"""xarray's view: a chip with coordinates and units, and a whole store by id, each as netCDF and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rioxarray  # noqa: F401 - gives xarray's objects .rio
import xarray as xr

from augment_store.errors import ChipNotFoundError, StoreError
from augment_store.modalities.continuous import VALUE_FILL
from augment_store.modalities.definitions import LULC_LEGEND
from augment_store.store.chip_index import ChipEntry
from tests.worlds import make_spec, make_store

CHIP = "scene0_r0c1"  # west 580,000 + 320 m, north 4,510,000 m, pixels of 10 m


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    spec = make_spec(samples=2, probabilities=True)
    return make_store(tmp_path_factory.mktemp("made") / "s", chips=3, timesteps=2, spec=spec, pending=1)


def test_a_chip_has_coordinates_and_lies_where_it_lies(store):
    chip = store.to_xarray(CHIP)
    assert chip.lulc.dims == ("sample", "time", "y", "x")
    np.testing.assert_array_equal(chip.x, 580_325 + 10 * np.arange(32))
    np.testing.assert_array_equal(chip.y, 4_509_995 - 10 * np.arange(32))
    np.testing.assert_array_equal(chip.tx, [580_400, 580_560])  # centres of 160 m
    np.testing.assert_array_equal(chip.ty, [4_509_920, 4_509_760])
    assert chip.rio.crs.to_epsg() == 32618
    assert chip.lulc.rio.bounds() == (580_320, 4_509_680, 580_640, 4_510_000)
    assert (chip.chip_id.item(), chip.scene_id.item()) == (CHIP, "scene0")
    assert chip["class"].values.tolist() == [entry.name for entry in LULC_LEGEND]
    assert chip.timestep_source.values.tolist() == [0, 1]
    assert chip.series_index.sel(input="S1RTC").values.tolist() == [0, 1]
    assert json.loads(chip.attrs["spec"]) == store.spec.to_dict()


def test_classes_are_classes_and_shares_are_shares(store):
    chip = store.to_xarray(CHIP)
    assert (chip.lulc.dtype, chip.tokens.dtype) == (np.uint8, np.uint16)
    np.testing.assert_array_equal(chip.lulc, store.read(CHIP, "lulc"))
    np.testing.assert_allclose(chip.confidence, store.read(CHIP, "confidence") / 255, rtol=1e-6)
    water = chip.probabilities.sel({"class": "water"})
    np.testing.assert_allclose(water, store.read(CHIP, "probabilities")[:, 1] / 255, rtol=1e-6)


def test_values_have_their_unit_and_a_hole_is_nan(tmp_path):
    hole = np.full((1, 1, 32, 32), 2500, np.int16)
    hole[..., 0, 0] = VALUE_FILL
    store = make_store(tmp_path / "s", chips=1, spec=make_spec("NDVI"), given={"scene0_r0c0": {"ndvi": hole}})
    chip = store.to_xarray("scene0_r0c0")
    chip.to_netcdf(tmp_path / "chip.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "chip.nc", engine="h5netcdf", mask_and_scale=False) as packed:
        np.testing.assert_array_equal(packed.ndvi, hole)
    ndvi = chip.ndvi
    assert np.isnan(ndvi[0, 0, 0, 0])
    assert ndvi[0, 0, 0, 1].item() == pytest.approx(0.25)
    assert "valid_range" not in ndvi.attrs


def test_bands_have_names(tmp_path):
    store = make_store(tmp_path / "s", chips=1, spec=make_spec("S1RTC"))
    chip = store.to_xarray("scene0_r0c0")
    vh = store.read("scene0_r0c0", "s1rtc")[:, :, 1] * 0.01
    np.testing.assert_allclose(chip.s1rtc.sel(band="VH"), vh, rtol=1e-5)


def test_a_chip_as_netcdf_and_back(store, tmp_path):
    chip = store.to_xarray(CHIP)
    chip.to_netcdf(tmp_path / "chip.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "chip.nc", engine="h5netcdf", mask_and_scale=False) as packed:
        np.testing.assert_array_equal(packed.lulc, chip.lulc)
    with xr.open_dataset(tmp_path / "chip.nc", engine="h5netcdf", decode_coords="all") as found:
        assert found.rio.crs.to_epsg() == 32618
        np.testing.assert_allclose(found.confidence, chip.confidence, rtol=1e-6)


def test_a_chip_that_lies_nowhere_has_no_place(tmp_path):
    store = make_store(tmp_path / "s", chips=1, entries=[ChipEntry("a", "b")])
    assert not {"x", "y", "tx", "ty", "spatial_ref"} & set(store.to_xarray("a").coords)


def test_a_chip_without_maps_is_refused(store):
    with pytest.raises(StoreError, match="chip 'scene0_r0c2' is pending; only complete chips have maps"):
        store.to_xarray(store.chip_ids[2])
    with pytest.raises(ChipNotFoundError, match="no chip 'nowhere'"):
        store.to_xarray("nowhere")


def test_a_whole_store_is_read_by_id(store):
    whole = xr.open_zarr(store.path, mask_and_scale=False)
    assert set(whole.coords) == {"chip_id", "scene_id"}
    one = whole.set_xindex("chip_id").sel(chip_id=CHIP)
    np.testing.assert_array_equal(one.lulc, store.read(CHIP, "lulc"))


def test_a_whole_store_as_netcdf_and_back(store, tmp_path):
    whole = xr.open_zarr(store.path, mask_and_scale=False)
    whole.to_netcdf(tmp_path / "store.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "store.nc", engine="h5netcdf", mask_and_scale=False) as found:
        assert json.loads(found.attrs["spec"]) == store.spec.to_dict()
        assert json.loads(found.attrs["extent"]) == {"timesteps": 2, "height": 32, "width": 32}
        np.testing.assert_array_equal(found.lulc[1], store.read(CHIP, "lulc"))
        assert found.chip_id.values.tolist() == list(store.chip_ids)
