"""Inputs made visible: what a picture is stretched over, and what it takes for no data."""

import numpy as np

from augment_store.modalities.pictures import draw_input
from augment_store.modalities.rendering import draw_rgb


def ramp(clouds):
    """Twelve bands of 10 × 10 pixels of 0 to 990, the last rows white clouds."""
    bands = np.broadcast_to(np.arange(0, 1000, 10.0).reshape(10, 10), (12, 10, 10)).copy()
    bands[:, 10 - clouds :] = 9000
    return bands


def test_clouds_are_white_and_do_not_darken_the_land():
    clear, cloudy = draw_rgb(ramp(0)), draw_rgb(ramp(3))
    assert (cloudy[7:] == 255).all()
    assert (cloudy[:7].astype(int) >= clear[:7]).all()
    assert cloudy[6, -1].tolist() == [255, 255, 255]  # the brightest of the land


def test_a_chip_of_nothing_but_clouds_is_stretched_as_it_is():
    bands = ramp(10) + np.arange(100.0).reshape(10, 10)
    assert draw_rgb(bands)[0, 0].tolist() == [0, 0, 0]
    assert draw_rgb(bands)[9, 9].tolist() == [255, 255, 255]


def test_missing_radar_is_black_also_where_float16_rounded_it():
    values = np.stack([np.full((2, 2), -12.0), np.full((2, 2), -18.0)]).astype(np.float16)
    values[:, 0] = -9999  # which float16 rounds to −10000
    values[:, 1, 1] = -10, -16
    picture = draw_input(values, "S1RTC")
    assert picture[0].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert picture[1, 1].tolist() == [255, 255, 255]


def test_linear_radar_is_drawn_as_its_decibels():
    power = np.broadcast_to(10.0 ** np.linspace(-2, 0, 16).reshape(4, 4), (2, 4, 4)).astype(np.float32)
    decibels = 10 * np.log10(power)
    drawn = draw_input(power, "S1RTC", unit="linear")
    assert np.array_equal(drawn, draw_input(decibels, "S1RTC"))
    assert not np.array_equal(drawn, draw_input(power, "S1RTC"))
