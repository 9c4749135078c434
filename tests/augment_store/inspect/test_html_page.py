"""The page, driven in headless Chromium: filter, sort, swipe, token grid, keyboard; nothing from outside."""

from __future__ import annotations

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from augment_store.cli.main import main
from tests.browser import assert_other_ground, by_id, phone
from tests.worlds import make_spec, make_store

pytestmark = pytest.mark.slow

SIZE = 32


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """Six chips: one all water and unsure, the others mixed; sample 1 differs from sample 0."""
    folder = tmp_path_factory.mktemp("page")
    shape = (2, 1, SIZE, SIZE)
    water = {"lulc": np.ones(shape, np.uint8), "confidence": np.full(shape, 90, np.uint8)}
    tokens = {"tokens": np.arange(8, dtype=np.uint16).reshape(2, 1, 2, 2) + 100}
    given = {"scene0_r0c1": water, "scene0_r0c0": tokens}
    make_store(folder / "s", chips=6, size=SIZE, spec=make_spec(samples=2), given=given)
    assert main(["inspect", str(folder / "s"), "--html", str(folder / "p.html")]) == 0
    return folder / "p.html"


def shown(page):
    return [card.get_attribute("data-id") for card in page.find_elements(By.CSS_SELECTOR, ".card")]


def put(page, name, value):
    """Sets an input as a user would: its value, then the event."""
    page.execute_script(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}));"
        "arguments[0].dispatchEvent(new Event('change', {bubbles: true}))",
        by_id(page, name),
        value,
    )


def swipe_at(page):
    return page.execute_script(
        "return getComputedStyle(document.getElementById('stage')).getPropertyValue('--at')"
    )


def focused(page, attribute):
    return page.switch_to.active_element.get_attribute(attribute)


def press(page, *keys):
    ActionChains(page).send_keys(*keys).perform()


def test_filters(page):
    assert len(shown(page)) == 6
    put(page, "find", "R1C")
    assert shown(page) == ["scene1_r1c0", "scene1_r1c1"]
    put(page, "find", "")
    put(page, "share", 95)  # the first class there is: water
    assert shown(page) == ["scene0_r0c1"]
    put(page, "share", 0)
    put(page, "confidence-high", 0.5)
    assert shown(page) == ["scene0_r0c1"]
    put(page, "confidence-low", 0.4)
    assert shown(page) == []
    assert by_id(page, "none").is_displayed()
    page.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    WebDriverWait(page, 5).until(lambda page: len(shown(page)) == 6)
    put(page, "samples-low", 0.99)
    assert shown(page) == ["scene0_r0c1"]
    assert by_id(page, "count").text == "1 of 6 chips"


def test_a_chip_says_which_dates_it_is_of(page, tmp_path):
    page.find_element(By.CSS_SELECTOR, ".card").click()
    assert "position" not in by_id(page, "subtitle").text  # files of one timestep
    taken = {"series_index": np.array([[0, 11], [0, 20], [0, 0]], np.int32)}
    make_store(tmp_path / "s", 1, size=SIZE, timesteps=2, given={"scene0_r0c0": taken})
    assert main(["inspect", str(tmp_path / "s"), "--timestep", "1", "--html", str(tmp_path / "p.html")]) == 0
    page.get((tmp_path / "p.html").as_uri())
    page.find_element(By.CSS_SELECTOR, ".card").click()
    assert "· positions in the series: S2L2A 11, S1RTC 20, DEM 0 ·" in by_id(page, "subtitle").text


def test_sorting(page):
    put(page, "sort", "confidence")
    assert shown(page)[0] == "scene0_r0c1"
    by_id(page, "direction").click()
    assert shown(page)[-1] == "scene0_r0c1"
    put(page, "sort", "class-1")
    assert shown(page)[0] == "scene0_r0c1"
    put(page, "sort", "id")
    assert shown(page) == sorted(shown(page), reverse=True)


def test_footprints_follow_the_filter_and_open_chips(page):
    assert len(page.find_elements(By.CSS_SELECTOR, "#map .chip")) == 6
    put(page, "find", "r0c2")
    assert len(page.find_elements(By.CSS_SELECTOR, "#map .chip.out")) == 5
    put(page, "map-colour", "confidence")
    page.find_element(By.CSS_SELECTOR, "#map .chip:not(.out)").click()
    assert by_id(page, "title").text == "scene0_r0c2"


def test_swipe(page):
    page.find_element(By.CSS_SELECTOR, ".card").click()
    stage = by_id(page, "stage")
    assert swipe_at(page) == "50%"
    quarter = round(stage.size["width"] / 4)
    ActionChains(page).move_to_element(stage).click_and_hold().move_by_offset(-quarter, 0).release().perform()
    assert float(swipe_at(page).rstrip("%")) == pytest.approx(25, abs=1)
    put(page, "swipe", 80)
    assert swipe_at(page) == "80%"
    assert page.execute_script("return getComputedStyle(document.getElementById('over')).clipPath") != "none"


def test_token_under_the_pointer(page):
    page.find_element(By.CSS_SELECTOR, ".card").click()
    by_id(page, "tokens").click()
    stage = by_id(page, "stage")
    eighth = stage.size["width"] / 8
    ActionChains(page).move_to_element_with_offset(stage, round(eighth), round(-eighth)).perform()
    assert by_id(page, "readout").text.startswith("token 101 · row 0, column 1")
    press(page, "s")  # sample 1
    assert by_id(page, "readout").text.startswith("token 105")
    WebDriverWait(page, 5).until(lambda page: "map " in by_id(page, "readout").text)


def test_keyboard(page):
    press(page, Keys.ARROW_DOWN)
    press(page, Keys.ARROW_RIGHT)
    assert focused(page, "data-id") == "scene0_r0c1"
    press(page, Keys.ENTER)
    assert by_id(page, "title").text == "scene0_r0c1"
    press(page, "]")
    assert swipe_at(page) == "55%"
    press(page, Keys.ARROW_RIGHT)
    assert by_id(page, "title").text == "scene0_r0c2"
    press(page, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert by_id(page, "title").text == "scene0_r0c0"
    press(page, "g")
    ActionChains(page).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT).key_up(
        Keys.SHIFT
    ).perform()
    assert by_id(page, "readout").text.startswith("token 101")
    left = by_id(page, "left-name").text
    press(page, "x")
    assert by_id(page, "right-name").text == left
    press(page, Keys.ESCAPE)
    WebDriverWait(page, 5).until(lambda page: focused(page, "data-id") == "scene0_r0c0")
    press(page, "/")
    assert focused(page, "id") == "find"


def test_phone_and_dark(page):
    with phone(page):
        wide = page.execute_script(
            "return [...document.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > 391)"
            ".map((e) => `${e.tagName} ${e.id} ${e.className}`)"
        )
        assert wide == []
        assert_other_ground(page)
