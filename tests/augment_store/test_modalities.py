import pytest

from augment_store.maps.registry import MAPS
from augment_store.modalities import LULC_LEGEND, S1GRD, S1RTC, S2L2A

UPSTREAM_KEYS = {
    "S2L2A": "untok_sen2l2a@224",
    "S1RTC": "untok_sen1rtc@224",
    "S1GRD": "untok_sen1grd@224",
    "DEM": "untok_dem@224",
    "LULC": "tok_lulc@224",
    "NDVI": "tok_ndvi@224",
}


@pytest.mark.parametrize("name", UPSTREAM_KEYS)
def test_statistics_and_bands_are_those_of_the_installed_terratorch(name):
    from terratorch.models.backbones.terramind.model import terramind_register as upstream

    modality, key = MAPS[name].modality, UPSTREAM_KEYS[name]
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


def test_band_counts():
    assert (len(S2L2A.bands), len(S1RTC.bands), len(S1GRD.bands)) == (12, 2, 2)
