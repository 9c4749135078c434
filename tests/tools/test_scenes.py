import numpy as np
import pytest

from augment_store.modalities.legend_table import LegendTable
from demo.world.fields import draw_cells, smooth_field
from demo.world.landcover import PIXEL_SIZE, WATER, draw_landcover
from demo.world.scenes import (
    CHIP_SIDE,
    FINETUNE_SCENES,
    GENERATOR_HELD_OUT,
    GENERATOR_SCENES,
    MACRO_CLASS,
    Raster,
    draw_scene,
)
from demo.world.spectra import SIGNATURES
from tools.demo_generator.score import agreement, most_frequent, nearest_spectrum, optical_rule, radar_rule

pytestmark = pytest.mark.slow

ARRAYS = ("s2l2a", "s1rtc", "dem", "mask", "lulc", "ndvi", "cloud")


@pytest.fixture(scope="module")
def scenes() -> list[Raster]:
    return [draw_scene(number) for number in range(10)]


def test_same_seed_same_scene() -> None:
    first, second = draw_scene(5, seed=3, rows=1, columns=1), draw_scene(5, seed=3, rows=1, columns=1)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


@pytest.mark.parametrize(("number", "seed"), [(6, 3), (5, 4)])
def test_another_number_or_seed_is_another_scene(number: int, seed: int) -> None:
    first, other = draw_scene(5, seed=3, rows=1, columns=1), draw_scene(number, seed=seed, rows=1, columns=1)
    assert (first.s2l2a != other.s2l2a).mean() > 0.9


def test_drawing_leaves_global_randomness_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - that global state is what is looked at
    draw_scene(5, rows=1, columns=1)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_shapes_and_types() -> None:
    scene = draw_scene(1, rows=1, columns=2, side=64, timesteps=3)
    expected = {
        "s2l2a": ((3, 12, 64, 128), np.int16),
        "s1rtc": ((3, 2, 64, 128), np.float16),
        "dem": ((64, 128), np.int16),
        "mask": ((64, 128), np.int8),
        "lulc": ((64, 128), np.uint8),
        "ndvi": ((3, 64, 128), np.float32),
        "cloud": ((3, 64, 128), np.bool_),
    }
    for name, (shape, dtype) in expected.items():
        values = getattr(scene, name)
        assert (values.shape, values.dtype) == (shape, dtype), name


def test_impossible_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 1024 pixels a side"):
        draw_scene(1, rows=9)
    with pytest.raises(ValueError, match="even side"):
        draw_scene(1, side=33)


def test_chips_adjoin_on_the_ground() -> None:
    scene = draw_scene(2, rows=2, columns=2)
    chips = {chip.name: chip for chip in scene.chips()}
    assert list(chips) == [f"{scene.name}_r{row}c{column}" for row in (0, 1) for column in (0, 1)]
    corner, right, below = (chips[f"{scene.name}_{place}"] for place in ("r0c0", "r0c1", "r1c0"))
    assert (right.west, right.north) == (corner.west + CHIP_SIDE * PIXEL_SIZE, corner.north)
    assert (below.west, below.north) == (corner.west, corner.north - CHIP_SIDE * PIXEL_SIZE)
    np.testing.assert_array_equal(np.hstack([corner.lulc, right.lulc]), scene.lulc[:CHIP_SIDE])


def test_scene_ranges_are_disjoint() -> None:
    ranges = (FINETUNE_SCENES, GENERATOR_SCENES, GENERATOR_HELD_OUT)
    assert sum(map(len, ranges)) == len(set().union(*ranges))


@pytest.mark.nightly
def test_class_medians_are_those_measured(scenes: list[Raster]) -> None:
    lulc = np.stack([np.broadcast_to(scene.lulc, (4, *scene.lulc.shape)) for scene in scenes])
    optical = np.stack([scene.s2l2a for scene in scenes]).transpose(2, 0, 1, 3, 4)
    radar = np.stack([scene.s1rtc for scene in scenes]).astype(np.float32).transpose(2, 0, 1, 3, 4)
    for value, signature in SIGNATURES.items():
        here = lulc == value
        assert here.sum() > 10_000, value
        spectrum = np.median(optical[:, here], axis=1)
        np.testing.assert_allclose(spectrum, signature.reflectance, rtol=0.15, atol=100.0, err_msg=str(value))
        backscatter = np.median(radar[:, here], axis=1)
        np.testing.assert_allclose(backscatter, signature.backscatter, atol=1.2, err_msg=str(value))


def test_series_look_like_what_terramind_was_pretrained_on(scenes: list[Raster]) -> None:
    optical = np.stack([scene.s2l2a for scene in scenes]).transpose(2, 0, 1, 3, 4).reshape(12, -1)
    radar = (
        np.stack([scene.s1rtc for scene in scenes]).astype(np.float32).transpose(2, 0, 1, 3, 4).reshape(2, -1)
    )
    assert np.median(optical[10]) >= np.median(optical[11])  # SWIR_1, SWIR_2
    assert np.corrcoef(optical[7], optical[8])[0, 1] > 0.95  # NIR_BROAD, NIR_NARROW
    assert np.median(radar[0]) > np.median(radar[1])  # VV, VH
    assert -45.0 < radar.min() < radar.max() < 15.0
    assert np.isfinite(radar).all()
    assert all(np.ptp(scene.dem) > 0 for scene in scenes)


def test_water_lies_low_and_flat() -> None:
    cover = draw_landcover(np.random.default_rng(0), (160, 160))
    water = cover.lulc == WATER
    assert 0.02 < water.mean() < 0.9
    assert cover.relief.elevation[water].mean() < cover.relief.elevation[~water].mean()
    assert (cover.relief.elevation >= 0).all()


def test_labels_are_macro_classes_with_boundary_noise(scenes: list[Raster]) -> None:
    for scene in scenes:
        macro = np.vectorize(MACRO_CLASS.get)(scene.lulc)
        known = scene.mask >= 0
        assert set(np.unique(scene.mask)) <= {-1, *range(len(LegendTable.load().classes))}
        assert 0.85 < (scene.mask == macro)[known].mean() < 1.0
        np.testing.assert_array_equal(known, scene.cloud.mean(axis=0) < 0.5)


def test_no_pixel_rule_solves_the_task(scenes: list[Raster]) -> None:
    windows = [(scene, index % 4) for index, scene in enumerate(scenes)]
    truth = np.stack([scene.lulc for scene in scenes])
    frequent, radar, optical = (
        agreement(rule(windows), truth) for rule in (most_frequent, radar_rule, optical_rule)
    )
    assert frequent.classes < radar.classes < 0.5
    assert radar.classes < optical.classes < 0.72
    assert optical.macro < 0.8


def test_nearest_spectrum_by_hand() -> None:
    values = list(SIGNATURES)
    medians = np.arange(2 * len(values), dtype=np.float32).reshape(-1, 2)  # (0, 1), (2, 3), (4, 5), ...
    pixels = np.array([[[[0.4, 4.9]], [[0.9, 4.1]]]], dtype=np.float32)  # (0.4, 0.9) and (4.9, 4.1)
    np.testing.assert_array_equal(nearest_spectrum(pixels, medians), [[[values[0], values[2]]]])


def test_random_fields_have_unit_variance_and_memory() -> None:
    field = smooth_field(np.random.default_rng(0), (96, 96), length=4.0)
    assert field.dtype == np.float32
    np.testing.assert_allclose([field.mean(), field.std()], [0.0, 1.0], atol=1e-4)
    assert np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1] > 0.95


def test_cells_tile_the_plane() -> None:
    cells = draw_cells(np.random.default_rng(0), (120, 120), spacing=12.0)
    found, sizes = np.unique(cells.index, return_counts=True)
    assert found.max() < cells.count
    assert 50 < np.median(sizes) < 300  # 12 x 12 pixels on average
    assert (cells.edge >= 0).all()
