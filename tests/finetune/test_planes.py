"""Planes against values computed by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from augment_store.modalities import LULC_LEGEND
from finetune.augment.encodings import Placement, carrier_of, plan_encoding
from finetune.augment.planes import make_planes, make_token_grid
from finetune.errors import EncodingError

CLASSES = len(LULC_LEGEND)


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
    with pytest.raises(EncodingError, match=message):
        plan_encoding(names)
