import numpy as np
import pytest

from augment_store.chips.chip import Chip
from augment_store.chips.units import Units
from augment_store.errors import ChipDataError
from generate.data.datamodule import find_sources
from generate.data.preprocessing import native_images, to_native

pytestmark = pytest.mark.slow


def test_linear_power_becomes_decibel_and_what_is_not_positive_is_missing():
    power = np.array([1.0, 0.1, 100.0, 0.0, -2.0, np.nan]).reshape(1, 1, 6)
    found = to_native(power, "S1RTC", Units(s1_unit="linear")).ravel()
    np.testing.assert_allclose(found[:3], [0, -10, 20], atol=1e-5)
    assert np.isnan(found[3:]).all()


def test_decibel_is_left_alone_and_units_of_other_modalities_too():
    values = np.array([[[-12.5, 3.0]]], np.float16)
    assert to_native(values, "S1RTC", Units()).ravel().tolist() == [-12.5, 3.0]
    assert to_native(values, "DEM", Units(s1_unit="linear", s2_offset=1000)).ravel().tolist() == [-12.5, 3.0]


def test_offset_is_subtracted_from_valid_s2_only():
    raster = np.full((12, 1, 3), 1500, np.int16)
    raster[:, 0, 1] = 0  # NO_DATA in every band
    raster[0, 0, 2] = 0  # and 0 in one band is that band's: with the offset, no reflectance is stored as 0
    raster[1, 0, 2] = -9999
    found = to_native(raster, "S2L2A", Units(s2_offset=1000))
    assert found[:, 0, 0].tolist() == [500] * 12
    assert np.isnan(found[:, 0, 1]).all()
    assert np.isnan(found[0, 0, 2])
    assert np.isnan(found[1, 0, 2])


def test_no_data_survives_the_types_it_comes_in():
    nodata = np.array([-9999.0, -11.0], np.float16).reshape(1, 1, 2)
    assert nodata[0, 0, 0] == -10000  # float16 has no −9999
    assert np.isnan(to_native(nodata, "S1RTC", Units())[0, 0]).tolist() == [True, False]
    dem = np.array([-3.4028235e38, -32768, 12, np.inf], np.float64).reshape(1, 1, 4)
    assert np.isnan(to_native(dem, "DEM", Units())[0, 0]).tolist() == [True, True, False, True]


def test_a_timestep_without_any_valid_value_is_refused():
    radar = np.full((2, 2, 16, 16), -10, np.float16)
    radar[1] = np.nan
    chip = Chip("a", {"S1RTC": radar})
    assert native_images(chip, [0], Units())["S1RTC"].shape == (1, 2, 16, 16)
    with pytest.raises(ChipDataError, match=r"S1RTC has no valid value at timestep 1 .*--inputs"):
        native_images(chip, [0, 1], Units())


def test_sources_are_the_first_timestep_of_each_input():
    digests = np.array([[5], [2], [5], [9], [2]], np.uint8)
    assert find_sources(digests).tolist() == [0, 1, 0, 3, 1]


def test_a_pixel_that_is_0_in_every_band_there_is_is_missing_where_other_bands_are_absent():
    raster = np.full((12, 1, 2), 100, np.int16)
    raster[0] = -9999
    raster[1:, 0, 0] = 0
    native = to_native(raster, "S2L2A", Units())
    assert np.isnan(native[:, 0, 0]).all()
    assert np.isnan(native[:, 0, 1]).tolist() == [True] + [False] * 11
