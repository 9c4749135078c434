"""Headless Chromium for tests of our pages: no console message, and nothing asked for from outside.

A test module gives the fixture `html`, the path of its page, and uses `page`.
"""

import contextlib
import json
import os
import shutil

import pytest

SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not (browser and driver):
        assert os.environ.get("CI") != "true", "CI must have chromium and chromedriver"
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    session = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield session
    session.quit()


@pytest.fixture
def page(chromium, html):
    chromium.get_log("browser")
    chromium.get_log("performance")
    chromium.get(html.as_uri())
    yield chromium
    assert chromium.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    own = ("file:", "data:", "chrome:")  # the browser's own new tab may still be loading
    assert [url for url in asked if not url.startswith(own)] == []
    assert any(url.startswith("file:") for url in asked)


def by_id(page, name):
    return page.find_element("id", name)


@contextlib.contextmanager
def phone(page):
    """The page on the screen of a phone."""
    screen = {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        yield
    finally:  # the browser is the module's: the next test wants its own screen
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def assert_other_ground(page):
    """The page's own switch of themes gives it another ground."""
    ground = "return getComputedStyle(document.body).backgroundColor"
    before = page.execute_script(ground)
    by_id(page, "theme").click()
    assert page.execute_script(ground) != before
