"""Planes against values computed by hand."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augment_store.modalities.definitions import LULC, LULC_LEGEND
from augment_store.modalities.registry import CONTINUOUS, MAPS
from finetune.augment import encodings
from finetune.augment.encodings import Placement, carrier_of, named_in_full, plan_encoding
from finetune.augment.planes import make_planes, make_token_grid
from finetune.errors import ConfigError

CLASSES = len(LULC_LEGEND)
FILL = -32768


def planes_of(name, values, dtype):
    array = plan_encoding([name]).arrays[0]
    return make_planes(plan_encoding([name]), {array: torch.tensor(values, dtype=dtype)})


def test_onehot_has_a_one_in_the_plane_of_the_class():
    planes = planes_of("onehot", [[[[1, 9], [0, 255]]]], torch.uint8)  # B, T, H, W = 1, 1, 2, 2
    assert planes.shape == (1, 10, 1, 2, 2)
    assert planes[0, :, 0, 0, 0].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert planes[0, :, 0, 0, 1].tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert planes[0, :, 0, 1, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert planes[0, :, 0, 1, 1].sum() == 0  # 255: nothing was generated


def test_index_is_the_class_over_nine():
    assert planes_of("index", [[[[9, 3, 255]]]], torch.uint8).flatten().tolist() == pytest.approx(
        [1, 1 / 3, 0]
    )


def test_ndvi_is_standardised_and_the_fill_value_is_the_mean():
    found = planes_of("ndvi", [[[[3270, 6490, -32768]]]], torch.int16).flatten().tolist()
    assert found == pytest.approx([0, 1, 0], abs=1e-6)  # (0.327 − 0.327) / 0.322, (0.649 − 0.327) / 0.322


def test_values_of_several_bands_are_standardised_band_by_band():
    raw = torch.tensor([-1093, -1732, FILL, -1286], dtype=torch.int16)  # VV and VH, by pixel
    maps = {"s1rtc": raw.view(1, 1, 2, 2).transpose(2, 3).reshape(1, 1, 2, 1, 2)}  # B, T, band, H, W
    planes = make_planes(plan_encoding(["s1rtc"]), maps)
    assert planes.shape == (1, 2, 1, 1, 2)
    # VV −10.93 dB is the mean; VH −17.32 is (−17.32 + 17.329) / 4.459, −12.86 one deviation above its mean
    assert planes.flatten().tolist() == pytest.approx([0, 0, 0.009 / 4.459, 4.469 / 4.459], abs=1e-5)
    assert plan_encoding(["s1rtc"]).plane_names == ("GENERATED_VV", "GENERATED_VH")


@pytest.mark.parametrize("modality", CONTINUOUS)
def test_the_constant_of_values_is_their_mean(modality):
    kind = CONTINUOUS[modality]
    plan = plan_encoding([kind.array])
    constant = torch.from_numpy(plan.constants[kind.array])[0].unsqueeze(0)
    planes = make_planes(plan, {kind.array: constant})
    assert planes.shape == (1, len(kind.modality.bands), 1, 1, 1)
    assert planes.abs().max() < 0.002  # half a step of the stored values


def test_value_is_what_the_stores_modality_calls_it():
    assert named_in_full(["value"], MAPS["DEM"]) == ("dem",)
    assert named_in_full(["modality", "value", "token_probability"], MAPS["NDVI"]) == (
        *("modality", "ndvi", "token_probability"),
    )
    assert named_in_full(["onehot", "index"], MAPS["LULC"]) == ("onehot", "index")
    with pytest.raises(
        ConfigError, match=r"encoding value is for maps of NDVI, DEM.*LULC has classes; use onehot"
    ):
        named_in_full(["value"], MAPS["LULC"])
    with pytest.raises(ConfigError, match="there is no store to say which"):
        named_in_full(["value"], None)


def test_another_map_of_classes_has_encodings_of_its_own_name():
    crops = dataclasses.replace(MAPS["LULC"], modality=dataclasses.replace(LULC, name="CROPS"))
    made = {entry.name: entry for entry in encodings._of_classes(crops)}
    assert set(made) == {"crops_onehot", "crops_probabilities", "crops_index", "crops_confidence"}
    assert made["crops_index"].planes == ("CROPS_INDEX",)


def test_confidence_and_probabilities_are_shares_of_255():
    assert planes_of("confidence", [[[[0, 51, 255]]]], torch.uint8).flatten().tolist() == pytest.approx(
        [0, 0.2, 1]
    )
    shares = torch.arange(20, dtype=torch.uint8).view(1, 2, 10, 1, 1)  # B, T, class, H, W
    planes = make_planes(plan_encoding(["probabilities"]), {"probabilities": shares})
    assert planes.shape == (1, 10, 2, 1, 1)
    assert planes[0, 3, 1, 0, 0] == pytest.approx(13 / 255)


def test_encodings_combine_in_the_order_named():
    plan = plan_encoding(["confidence", "onehot"])
    maps = {"lulc": torch.full((1, 1, 1, 1), 4, dtype=torch.uint8)}
    maps["confidence"] = torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)
    assert make_planes(plan, maps).flatten().tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert plan.plane_names[0] == "LULC_CONFIDENCE"
    assert plan.arrays == ("confidence", "lulc")


@settings(deadline=None)  # a machine under load is no failure
@given(st.lists(st.integers(0, 255), min_size=4, max_size=4))
def test_planes_are_finite_whatever_the_maps_hold(values):
    lulc = torch.tensor(values, dtype=torch.uint8).view(1, 1, 2, 2)
    planes = make_planes(plan_encoding(["onehot", "index"]), {"lulc": lulc})
    assert torch.isfinite(planes).all()
    generated = lulc.flatten() < CLASSES
    assert torch.equal(planes[:, :CLASSES].sum(dim=1).flatten() == 1, generated)


def test_a_token_grid_repeats_each_index_over_its_patch():
    grid = make_token_grid(torch.tensor([[[[7, 8], [9, 10]]]], dtype=torch.int32))
    assert grid.shape == (1, 1, 1, 32, 32)
    assert grid[0, 0, 0, ::16, ::16].tolist() == [[7, 8], [9, 10]]
    assert (grid[0, 0, 0, :16, 16:] == 8).all()


def test_placements():
    assert plan_encoding([]).placement is Placement.NOWHERE
    assert plan_encoding(["onehot", "confidence"]).placement is Placement.BANDS
    assert plan_encoding(["late", "confidence"]).placement is Placement.LATE
    assert plan_encoding(["late"]).plane_names == plan_encoding(["onehot"]).plane_names
    assert plan_encoding(["modality"]).plane_names == plan_encoding(["onehot"]).plane_names
    assert plan_encoding(["modality", "ndvi"]).channels == 1
    assert plan_encoding(["tokens"]).arrays == ("tokens",)
    assert carrier_of(("S1RTC", "S2L2A")) == "S2L2A"
    assert carrier_of(("S1RTC", "DEM")) == "S1RTC"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["tokens", "onehot"], "tokens are not planes, so nothing combines"),
        (["onehot", "onehot"], "appears twice"),
        (["one-hot"], "unknown encoding 'one-hot'; expected onehot, probabilities"),
    ],
)
def test_impossible_encodings(names, message):
    with pytest.raises(ConfigError, match=message):
        plan_encoding(names)
