"""Rules of the input audit on drawn scenes, without files."""

import re

import numpy as np
import pytest

from augment_store.chips.units import Units
from augment_store.modalities.definitions import DEM, S1RTC, S2L1C, S2L2A
from generate.audit.rules import IMAGE_RULES, RULES


def drawn(levels, contrast=0.0, noise=0.0, images=4):
    """Draws ``[images, C, pixels]`` of one scene: brightness common to all bands, and noise of each band's own."""
    rng, shape = np.random.default_rng(0), (images, 1, 1024)
    common = 1 + contrast * rng.standard_normal(shape)
    own = noise * rng.standard_normal((images, len(levels), 1024))
    return (np.array(levels)[:, None] * (common + own)).astype(np.float32)


def radar(vv, vh, spread=1.0):
    return drawn([1, 1], spread, 0.2) + np.array([vv, vh], np.float32)[:, None] - 1


LAND = drawn([400, 480, 620, 610, 1100, 2170, 2480, 2640, 2720, 2770, 1890, 1150], 0.3, 0.03)
SEA = drawn([300, 250, 180, 90, 80, 70, 65, 60, 48, 40, 12, 14], 0.08, 0.15).round().clip(1)
SCENES = {
    "desert": (
        drawn([1300, 1700, 2400, 3300, 3600, 3800, 3900, 4000, 4100, 4200, 5000, 4500], 0.02, 0.02),
        radar(-19.5, -21.5, 2.0),
    ),
    "sea": (SEA, radar(-22.5, -22.3)),
    "salt": (
        drawn([4200, 4700, 5200, 5600, 5700, 5800, 5850, 5900, 5950, 6000, 3500, 2600], 0.02, 0.016),
        radar(-14.0, -22.0),
    ),
    "cloud": (
        drawn([6800, 6900, 7000, 7200, 7300, 7400, 7500, 7600, 7500, 7400, 5500, 4500], 0.1, 0.01),
        radar(-11.0, -17.0, 3.0),
    ),
    "snow": (
        drawn([9000, 9000, 8800, 8600, 8400, 8200, 8000, 7800, 7500, 7000, 1137, 1200], 0.05, 0.01),
        radar(-12.0, -18.0, 2.0),
    ),
}


def stopped(modality, pixels):
    """Names the rules that stop a run for all images together."""
    found = [rule(modality, pixels, Units()) for rule in RULES]
    return {finding.rule for finding in found if finding is not None and finding.level == "stop"}


@pytest.mark.parametrize("scene", SCENES)
def test_clean_scenes_of_one_kind_stop_nothing(scene):
    optical, backscatter = SCENES[scene]
    assert stopped(S2L2A, optical) == set()
    assert stopped(S1RTC, backscatter) == set()
    for modality, pixels in ((S2L2A, optical), (S1RTC, backscatter)):
        # all images are of the same scene, so that one of them says enough
        odd = [rule(modality, pixels[:1], Units()) for rule in IMAGE_RULES]
        assert [finding for finding in odd if finding is not None] == []


def swapped(pixels, first, second):
    order = np.arange(pixels.shape[1])
    order[[first, second]] = second, first
    return pixels[:, order]


@pytest.mark.parametrize(
    ("modality", "pixels", "rule"),
    [
        (S2L2A, swapped(LAND, S2L2A.bands.index("RED"), S2L2A.bands.index("NIR_BROAD")), "band_order"),
        (S2L2A, swapped(LAND, S2L2A.bands.index("SWIR_1"), S2L2A.bands.index("SWIR_2")), "band_order"),
        (S2L2A, LAND.clip(max=2700), "common_value"),  # half of the near infrared
        (S2L2A, LAND.clip(0) + 1000, "s2_offset"),
        (S2L2A, SEA + 1000, "s2_offset"),
        (S1RTC, radar(-17.0, -11.0, 4.0), "band_order"),
        (S1RTC, np.concatenate([radar(-11.0, -17.0), radar(-17.0, -11.0)]), "band_order"),
        (S1RTC, 10 ** (radar(-11.0, -17.0) / 10), "linear_power"),
    ],
)
def test_faults_are_found_beside_what_dark_and_flat_scenes_may_have(modality, pixels, rule):
    assert rule in stopped(modality, pixels)


def test_a_quiet_cirrus_band_has_no_common_value():
    levels = np.insert(np.array([400, 480, 620, 610, 1100, 2170, 2480, 2640, 2720, 2770, 1890, 1150]), 10, 0)
    pixels = drawn(levels, 0.3, 0.03)
    pixels[:, 10] = np.random.default_rng(0).normal(12, 1.2, (4, 1024)).round()
    assert [rule(S2L1C, pixels, Units()) for rule in RULES] == [None] * len(RULES)
    pixels[:, 10] += 88
    assert "CIRRUS is exactly 100" in next(f.message for rule in RULES if (f := rule(S2L1C, pixels, Units())))


@pytest.mark.parametrize(
    ("vv", "said"),
    [(np.nan, r"around -17.329 \(VH\)\. Convert with --s1-unit linear"), (0, "Most values are 0: check how")],
)
def test_radar_with_one_band_alone_still_names_a_remedy(vv, said):
    pixels = 10 ** (radar(-11.0, -17.0) / 10)
    pixels[:, 0] = vv
    if vv == 0:
        pixels[:, 1, :600] = 0
    assert re.search(said, next(f.message for rule in IMAGE_RULES if (f := rule(S1RTC, pixels, Units()))))


@pytest.mark.parametrize(("sea", "found"), [(4090, None), (6, "void")])
def test_an_islet_in_the_sea_is_no_ground_with_voids(sea, found):
    pixels = np.full((1, 1, 4096), 120, np.float32)
    pixels[..., :sea] = 0
    notes = [finding.rule for rule in IMAGE_RULES if (finding := rule(DEM, pixels, Units()))]
    assert notes == ([] if found is None else [found])
