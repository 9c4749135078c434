import numpy as np
import pytest

from augment_store.modalities.definitions import (
    DEM,
    INPUT_MODALITIES,
    LULC_LEGEND,
    REFERENCE_MODALITIES,
    S1GRD,
    S1RTC,
    S2L2A,
    LegendClass,
)
from augment_store.modalities.values import missing, native, ndvi_of

UPSTREAM_KEYS = {
    "S2L2A": "untok_sen2l2a@224",
    "S2L1C": "untok_sen2l1c@224",
    "S1RTC": "untok_sen1rtc@224",
    "S1GRD": "untok_sen1grd@224",
    "DEM": "untok_dem@224",
    "LULC": "tok_lulc@224",
    "NDVI": "tok_ndvi@224",
}


@pytest.mark.parametrize("name", UPSTREAM_KEYS)
def test_statistics_and_bands_are_those_of_the_installed_terratorch(name):
    # absent where the store is tested alone
    upstream = pytest.importorskip("terratorch.models.backbones.terramind.model.terramind_register")

    modality, key = {**INPUT_MODALITIES, **REFERENCE_MODALITIES}[name], UPSTREAM_KEYS[name]
    assert list(modality.mean) == upstream.v1_pretraining_mean[key]
    assert list(modality.std) == upstream.v1_pretraining_std[key]
    if key in upstream.PRETRAINED_BANDS:
        assert list(modality.bands) == upstream.PRETRAINED_BANDS[key]


def test_legend_has_ten_classes_in_order_with_the_published_palette():
    palette = [
        "000000",
        "3171AD",
        "469C76",
        "83CA70",
        "EAE159",
        "C07CB8",
        "C19368",
        "6FB2E4",
        "F1F1F1",
        "C66526",
    ]
    assert [entry.value for entry in LULC_LEGEND] == list(range(10))
    assert ["{:02X}{:02X}{:02X}".format(*entry.rgb) for entry in LULC_LEGEND] == palette
    assert LULC_LEGEND[7].flag == "snow_or_ice"


def test_a_class_has_its_colour_as_css_writes_it():
    assert LegendClass(1, "water", (0, 10, 255)).hex == "#000aff"


def test_band_counts():
    assert (len(S2L2A.bands), len(S1RTC.bands), len(S1GRD.bands)) == (12, 2, 2)


def test_missing_is_said_by_one_rule():
    radar = np.array([-9999, np.nan, np.inf, -3.4e38, -12.5, 0], np.float32).reshape(1, 1, -1)
    assert missing(radar, S1RTC).ravel().tolist() == [True, True, True, True, False, False]
    assert missing(np.full((1, 1, 1), -9999, np.float16), S1RTC).all()  # −9999 is −10000 in float16
    height = np.array([-9999, -32768, 0, 12], np.int16).reshape(1, 1, -1)
    assert missing(height, DEM).ravel().tolist() == [True, True, False, False]
    assert (
        missing(height.astype(np.uint16), DEM).ravel().tolist() == [False] * 4
    )  # −9999 is no number of this type
    wide = np.array([-9999, 1_000_000, 999_999, 0], np.int32).reshape(1, 1, -1)
    assert missing(wide, DEM).ravel().tolist() == [True, True, False, False]
    optical = np.zeros((12, 1, 4), np.int16)
    optical[4, 0, 1] = optical[4, 0, 3] = 1
    optical[5, 0, 2] = optical[5, 0, 3] = -9999
    found = missing(optical, S2L2A)
    assert found[:, 0, 0].all()  # Sentinel-2's NO_DATA
    assert not found[:, 0, 1].any()  # a dark surface
    assert found[:, 0, 2].all()  # NO_DATA, in a product that lacks a band
    assert found[:, 0, 3].tolist() == [band == 5 for band in range(12)]


def test_linear_power_becomes_decibel_and_an_offset_is_subtracted():
    power = np.array([0.1, 1.0, 0.0, -9999], np.float32).reshape(1, 1, -1)
    found = native(power, S1RTC, unit="linear").ravel()
    assert found[:2].tolist() == pytest.approx([-10.0, 0.0])
    assert np.isnan(found[2:]).all()
    assert native(np.full((12, 1, 1), 1800, np.int16), S2L2A, offset=1000.0)[0, 0, 0] == 800


def test_ndvi_needs_two_bands_that_are_there_and_not_negative():
    bands = np.full((12, 1, 5), 500, np.float32)
    red, nir = S2L2A.bands.index("RED"), S2L2A.bands.index("NIR_BROAD")
    bands[red, 0], bands[nir, 0] = [1000, -50, 0, np.nan, 0], [3000, 100, 0, 100, 100]
    found = ndvi_of(bands)[0, 0]
    assert found[0] == pytest.approx(0.5)  # (3000 − 1000) / 4000
    assert np.isnan(found[1:4]).all()
    assert found[4] == 1.0
