"""Numbers about chips, checked by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from augment_store.chips.chip_set import ChipSet
from augment_store.errors import ChipDataError
from augment_store.inspect.references import References
from augment_store.inspect.statistics import (
    ChipMaps,
    agreement,
    chip_measures,
    class_shares,
    entropy,
    find_flags,
)
from augment_store.inspect.store_inspector import StoreInspector, average_by_split
from augment_store.modalities.legend_table import LegendTable
from augment_store.modalities.registry import MAPS
from augment_store.modalities.rendering import NO_CODE
from augment_store.store.spec import InputSpec
from tests.worlds import class_map, make_store, write_folder_chips, write_tif

LULC, NDVI = MAPS["LULC"], MAPS["NDVI"]

SURE = np.full((1, 4, 2, 2), 0.5, np.float32)


def test_shares_count_what_has_a_value():
    values = np.array([[1, 1, 5, 255]], np.uint8)
    assert class_shares(values, LULC).tolist() == [0, 2 / 3, 0, 0, 0, 1 / 3, 0, 0, 0, 0]
    assert class_shares(np.full((2, 2), 255, np.uint8), LULC).sum() == 0


@pytest.mark.parametrize(
    ("shares", "bits"), [([1.0, 0.0], 0.0), ([0.5, 0.5], 1.0), ([0.25] * 4, 2.0), ([0.5, 0.25, 0.25], 1.5)]
)
def test_entropy_in_bits(shares, bits):
    assert entropy(np.array(shares)) == pytest.approx(bits)


def test_agreement_is_the_mean_over_pairs():
    # pairs: (a, b) 1/2, (a, c) 0/2, (b, c) 1/2
    samples = np.array([[[1, 2]], [[1, 5]], [[4, 5]]], np.uint8)
    assert agreement(samples, LULC) == pytest.approx(1 / 3)
    assert math.isnan(agreement(samples[:1], LULC))


def test_ndvi_agrees_within_a_tenth():
    values = np.array([[1000, 1000, -32768], [2000, 2001, 1000]], np.int16)
    assert NDVI.same(values[0], values[1]).tolist() == [True, False, False]


def test_ndvi_bins_and_mean():
    values = np.array([-10000, -9001, -9000, 0, 9999, 10000, -32768], np.int16)
    assert NDVI.codes(values).tolist() == [0, 0, 1, 10, 19, 19, NO_CODE]
    assert NDVI.mean(np.array([2000, 4000, -32768], np.int16)) == pytest.approx(0.3)


def test_only_timesteps_with_input_of_their_own_are_compared():
    values = np.zeros((1, 4, 16, 16), np.uint8)
    values[:, 2] = 1
    same = chip_measures(ChipMaps(values[:, [0, 0, 0, 0]], SURE, None, np.zeros(4, np.int16)), LULC, None)
    assert math.isnan(same["timesteps"])
    two = chip_measures(
        ChipMaps(values[:, [0, 0, 2, 2]], SURE, None, np.array([0, 0, 2, 2], np.int16)), LULC, None
    )
    assert two["timesteps"] == 0.0


def test_flags_say_what_is_wrong():
    shares = np.zeros(10)
    shares[1] = 1.0
    measures = {"confidence": 0.4, "entropy": 0.0, "samples": 0.3, "timesteps": 0.9, "reference": 0.1}
    expected = ("only water", "low confidence", "samples disagree", "differs from reference")
    assert find_flags(shares, measures, LULC) == expected
    fine = dict.fromkeys(measures, math.nan)
    assert find_flags(np.full(10, 0.1), fine, LULC) == ()


@given(arrays(np.uint8, (2, 2, 16, 16), elements=st.integers(0, 9)))
def test_shares_sum_to_one_and_agreement_is_a_share(values):
    assert class_shares(values, LULC).sum() == pytest.approx(1)
    assert 0 <= agreement(values, LULC) <= 1
    assert agreement(values[[0, 0]], LULC) == 1


def references(root, mask, kind=LULC):
    write_folder_chips(root, ["a"], size=32)
    if mask is not None:
        write_tif(root / "MASK" / "a.tif", mask[None].astype(np.int8))
    return References(ChipSet.open(root), kind, LegendTable.load())


def test_mask_is_compared_through_the_legend(tmp_path):
    mask = np.full((32, 32), -1)
    mask[0, :4] = [0, 1, 3, 4]
    maps = np.full((1, 1, 32, 32), 2, np.uint8)
    maps[..., 0, :4] = [1, 5, 9, 8]  # water, developed and herbaceous are right; clouds have no counterpart
    found = references(tmp_path, mask).read("a", (32, 32))
    assert found.agreement(maps) == pytest.approx(3 / 4)
    assert found.picture.codes[0, :5].tolist() == [0, 1, 3, 4, NO_CODE]


def test_mask_of_ignored_pixels_alone_says_nothing(tmp_path):
    found = references(tmp_path, np.full((32, 32), -1)).read("a", (32, 32))
    assert math.isnan(found.agreement(np.zeros((1, 1, 32, 32), np.uint8)))


def test_lulc_raster_stands_in_where_there_is_no_mask(tmp_path):
    table = references(tmp_path, None)
    assert table.read("a", (32, 32)) is None
    truth = class_map(np.random.default_rng(0), (1, 32, 32))
    write_tif(tmp_path / "LULC" / "a.tif", truth)
    assert table.read("a", (32, 32)).agreement(truth[None]) == 1.0


def test_ndvi_is_compared_with_the_bands(tmp_path):
    table = references(tmp_path, None, NDVI)
    red, nir = (table.chips.read("a", ["S2L2A"]).rasters["S2L2A"][:, band].astype(float) for band in (3, 7))
    stored = np.round((nir - red) / (nir + red) * 1e4).astype(np.int16)
    assert table.read("a", (32, 32)).agreement(stored[None]) == 1.0
    assert table.read("a", (32, 32)).agreement(stored[None] - np.int16(2000)) == 0.0


def test_ndvi_of_the_bands_is_free_of_the_offset_that_the_generator_removed(tmp_path):
    table = references(tmp_path, None, NDVI)
    values = np.zeros((12, 32, 32), np.int16)
    values[3], values[7] = (
        2000,
        4000,
    )  # less 1000 each: (3000 − 1000) / 4000 = 0.5, and 0.3333 with the offset left in
    write_tif(tmp_path / "S2L2A" / "a.tif", values)
    for offset, expected in ((1000.0, 5000), (0.0, 3333)):
        taken = InputSpec("S2L2A", "native", offset, (), ())
        found = dataclasses.replace(table, inputs=(taken,)).read("a", (32, 32))
        assert found.agreement(np.full((1, 1, 32, 32), expected, np.int16)) == 1.0
        assert found.agreement(np.full((1, 1, 32, 32), expected + 1500, np.int16)) == 0.0


def test_reference_of_another_size_is_refused(tmp_path):
    with pytest.raises(ChipDataError, match="chip a: the reference has 16 px, the store's maps 32 px"):
        references(tmp_path, np.zeros((16, 16))).read("a", (32, 32))


def test_summary_groups_by_split(tmp_path):
    chips = tmp_path / "chips"
    write_folder_chips(chips, ["scene0_r0c0", "scene0_r0c1"], size=32)
    (chips / "split").mkdir()
    (chips / "split" / "train.txt").write_text("scene0_r0c0\n")
    store = make_store(tmp_path / "store", chips=3)
    survey = StoreInspector(store, ChipSet.open(chips), LegendTable.load())
    seen = list(survey.measure(survey.progress.complete))
    groups = average_by_split(seen)
    assert [(group.name, group.chips) for group in groups] == [("all", 3), ("train", 1), ("", 2)]
    np.testing.assert_allclose(groups[0].shares, np.mean([entry.shares for entry in seen], axis=0))
    assert groups[1].measures["confidence"] == seen[0].measures["confidence"]


def test_doubt_puts_flags_first(tmp_path):
    water = {"lulc": np.ones((1, 1, 32, 32), np.uint8), "confidence": np.full((1, 1, 32, 32), 255, np.uint8)}
    store = make_store(tmp_path / "store", chips=3, given={"scene0_r0c1": water})
    survey = StoreInspector(store, None, LegendTable.load())
    worst = max(survey.measure(survey.progress.complete), key=lambda entry: entry.doubt)
    assert (worst.chip_id, worst.flags) == ("scene0_r0c1", ("only water",))
