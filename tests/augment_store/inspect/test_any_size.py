"""The page of chips that are not square, whose last patches reach beyond them."""

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from augment_store.cli.main import main
from tests.augment_store.inspect.test_html_page import by_id, press
from tests.worlds import make_spec, make_store

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 24, 40


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """One chip of 24 × 40 px: tokens 100 to 105."""
    folder, shape = tmp_path_factory.mktemp("page"), (1, 1, 2, 3)
    given = {
        "tokens": np.arange(6, dtype=np.uint16).reshape(shape) + 100,
        "token_probability": np.full(shape, 0.5, np.float32),
    }
    make_store(folder / "s", chips=1, size=(HEIGHT, WIDTH), spec=make_spec(), given={"scene0_r0c0": given})
    assert main(["inspect", str(folder / "s"), "--html", str(folder / "p.html")]) == 0
    return folder / "p.html"


def test_the_token_under_the_pointer_and_by_keyboard(page):
    page.find_element(By.CSS_SELECTOR, ".card").click()
    by_id(page, "tokens").click()
    stage = by_id(page, "stage")
    width, height = stage.size["width"], stage.size["height"]
    assert height / width == pytest.approx(HEIGHT / WIDTH, abs=0.01)
    # 35 of 40 px from the left is in the third column, 14 of 24 px in the first row, although beyond half the height
    offset = round((35 / WIDTH - 0.5) * width), round((14 / HEIGHT - 0.5) * height)
    ActionChains(page).move_to_element_with_offset(stage, *offset).perform()
    assert by_id(page, "readout").text.startswith("token 102 · row 0, column 2")
    down = ActionChains(page).key_down(Keys.SHIFT)
    down.send_keys(*[Keys.ARROW_DOWN] * 5).key_up(Keys.SHIFT).perform()
    assert by_id(page, "readout").text.startswith("token 105 · row 1, column 2")
    cell = by_id(page, "cell").rect
    assert cell["width"] == pytest.approx(16 / WIDTH * width, abs=1)
    assert cell["height"] == pytest.approx(16 / HEIGHT * height, abs=1)
    press(page, Keys.ESCAPE)
