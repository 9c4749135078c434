"""The report's page, driven in headless Chromium: verdict, sorting, chips, keyboard; nothing from outside."""

from __future__ import annotations

import json
import re

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from eval.cli.main import main
from eval.score.metrics import INTERVALS
from tests.browser import assert_other_ground, by_id, phone
from tests.eval.scores import predict_world
from tests.worlds import lulc_of_labels, make_spec, make_world, store_of

pytestmark = pytest.mark.slow

SPLITS = {"train": ("a_0_0",), "val": ("b_0_0",), "test": tuple(f"scene{n // 2}_0_{n % 2}" for n in range(8))}

STANDS_FOR = (1, 5, 2, 9, 6, 0)
"""Classes that the shipped legend table takes to the masks: water, built area, trees, rangeland, bare ground."""


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """Eight chips in four scenes; the candidate is better, a random-weights control as good, shuffling no help."""
    folder = tmp_path_factory.mktemp("report")
    world = make_world(folder / "world", splits=SPLITS)
    store_of(world.chips, folder / "store", make_spec(), given=lulc_of_labels(world, STANDS_FOR))
    predict_world(world, folder / "phase2", 0.6, 1)
    write_log(folder / "phase2", [0.2, 0.4, 0.6])
    predict_world(world, folder / "tim_lulc", 0.75, 2, store=str(folder / "store"), fingerprint="f" * 64)
    predict_world(world, folder / "random", 0.8, 3)
    predict_world(world, folder / "shuffle", 0.6, 4)
    words = ["compare", "--baseline", folder / "phase2", "--candidate", folder / "tim_lulc"]
    words += ["--control", f"random={folder / 'random'}", f"shuffle={folder / 'shuffle'}", "--pictures", 2]
    assert main([str(word) for word in (*words, "--out", folder / "out")]) == 0
    return folder / "out/report.html"


def write_log(run, mious):
    """A log as TerraTorch's CSV logger leaves it."""
    (run / "logs/fit_0").mkdir(parents=True)
    rows = "".join(f"{epoch},{3 * epoch},{miou}\n" for epoch, miou in enumerate(mious))
    (run / "logs/fit_0/metrics.csv").write_text(f"epoch,step,val/mIoU\n{rows}")


def names(page):
    return [row.text.split()[0] for row in page.find_elements(By.CSS_SELECTOR, "#arms tbody tr")]


def head(page, name):
    heads = page.find_elements(By.CSS_SELECTOR, "#arms th")
    return next(entry for entry in heads if entry.text.rstrip(" ↑↓") == name)


def captions(page):
    return [entry.text for entry in page.find_elements(By.CSS_SELECTOR, "#layers figcaption")]


def test_verdict_and_interval_come_first(page, html):
    report = json.loads((html.parent / "report.json").read_text())
    assert by_id(page, "headline").text.lower() == "one run is not evidence"
    span = report["verdict"]["headline"].removeprefix("One run is not evidence: mIoU ").split(",")
    assert page.title == f"One run is not evidence: tim_lulc against phase2, mIoU {span[0]},{span[1]}"
    assert by_id(page, "names").text == "tim_lulc against phase2"
    assert by_id(page, "facts").text.startswith("8 test chips of 4 scenes")
    difference = 100 * report["difference"]["difference"]
    assert by_id(page, "difference").text == f"+{difference:.2f} pp of mIoU"
    assert by_id(page, "interval").text.startswith("95 % interval +")
    assert "A claim lacks: being better than control random" in by_id(page, "words").text
    assert by_id(page, "verdict").location["y"] < by_id(page, "arms").location["y"]


def test_the_table_of_arms_sorts(page):
    assert names(page) == ["baseline", "candidate", "random", "shuffle"]
    head(page, "mIoU").find_element(By.TAG_NAME, "button").click()
    assert head(page, "mIoU").get_attribute("aria-sort") == "descending"
    assert names(page)[:2] == ["random", "candidate"]
    head(page, "mIoU").find_element(By.TAG_NAME, "button").click()
    assert names(page)[2:] == ["candidate", "random"]
    head(page, "arm").find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert names(page) == ["shuffle", "random", "candidate", "baseline"]
    head(page, "to the baseline").find_element(By.TAG_NAME, "button").click()
    assert names(page)[-1] == "baseline"  # it has no difference to itself


def test_seeds_and_classes(page):
    rows = page.find_elements(By.CSS_SELECTOR, "#without tbody tr")
    assert [row.text.split()[0] for row in rows] == ["water", "developed", "forest", "herbaceous", "other"]
    assert by_id(page, "family").text.startswith("No comparison was declared beforehand")


def test_plots(page):
    words = [entry.text for entry in page.find_elements(By.CSS_SELECTOR, "#forest text")]
    for expected in ("tim_lulc − phase2", "IoU water", "random − phase2", "tim_lulc − random"):
        assert expected in words
    by_class = sum(metric.by_class for metric in INTERVALS)
    overall = len(INTERVALS) - by_class
    assert len(page.find_elements(By.CSS_SELECTOR, "#forest circle")) == overall * (1 + 2 * 2) + by_class * 5
    assert len(page.find_elements(By.CSS_SELECTOR, "#classes .bars")) == by_class * 5


def test_scenes(page, html):
    dots = page.find_elements(By.CSS_SELECTOR, "#scenes circle")
    rows = json.loads((html.parent / "report.json").read_text())["scenes"]
    told = [dot.find_element(By.TAG_NAME, "title").get_attribute("textContent") for dot in dots]
    assert [words.split(",")[0] for words in told] == [row["scene"] for row in rows]
    line = page.find_element(By.CSS_SELECTOR, "#scenes line.mark")
    ends = [float(line.get_attribute(name)) for name in ("x1", "y1", "x2", "y2")]
    for dot, row in zip(dots, rows, strict=True):  # above the diagonal where the candidate is ahead
        across, down = (float(dot.get_attribute(name)) for name in ("cx", "cy"))
        even = ends[1] + (across - ends[0]) / (ends[2] - ends[0]) * (ends[3] - ends[1])
        assert (down < even) == (row["candidate"] > row["baseline"])
    ahead = sum(row["difference"] > 0 for row in rows)
    assert by_id(page, "ahead").text == f"tim_lulc is ahead in {ahead} of 4 scenes."


def test_training(page):
    assert (
        page.execute_script("return document.querySelector('#curves path').getAttribute('d')").count("L") == 2
    )
    titles = page.find_elements(By.CSS_SELECTOR, "#curves path title")
    assert all(
        re.fullmatch(r"(phase2|tim_lulc), seed \d", one.get_attribute("textContent")) for one in titles
    )
    # percentages of round numbers, not of the ends of the curves
    marks = page.find_elements(By.CSS_SELECTOR, "#scenes line.axis + text")
    assert marks
    assert all(re.fullmatch(r"\d+\.[05] %", mark.text) for mark in marks)
    rows = page.find_elements(By.CSS_SELECTOR, "#costs tbody tr")
    assert [row.text for row in rows[:2]] == [
        "phase2 1,000 900 3 30 60 s cpu, 32-true",
        "tim_lulc 1,000 900 3 30 60 s cpu, 32-true",
    ]


def test_a_map_that_is_right_is_drawn_as_the_reference(page):
    layers = page.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('#layers img')]"
        ".map((i) => [i.alt.split(' of ')[0], i.src]))"
    )
    assert layers["generated map"] == layers["reference"]
    legends = [entry.text for entry in page.find_elements(By.CSS_SELECTOR, "#legends p")]
    assert [text.split(":")[0] for text in legends] == ["maps, reference, predictions", "where they differ"]


def test_confusion(page):
    cell = "#confusion tbody tr:first-child td:nth-child(2)"
    shares = page.find_element(By.CSS_SELECTOR, cell)
    assert shares.text.endswith(" %")
    by_id(page, "confusion-raw").click()
    assert page.find_element(By.CSS_SELECTOR, cell).text.replace(",", "").isdigit()
    before = page.find_element(By.CSS_SELECTOR, cell).text
    by_id(page, "confusion-arm").send_keys("baseline")
    assert page.find_element(By.CSS_SELECTOR, cell).text != before


def test_chips_are_flipped_through(page):
    assert captions(page) == [
        *("RGB", "radar (VV, VH)", "generated map", "reference"),
        *("prediction of phase2", "prediction of tim_lulc", "where they differ"),
    ]
    loaded = page.execute_script(
        "return [...document.querySelectorAll('#layers img')].map((i) => i.naturalWidth)"
    )
    assert loaded == [32] * 7
    first = by_id(page, "chip-name").text
    seen = [first]
    for _ in range(3):
        by_id(page, "next").click()
        seen.append(by_id(page, "chip-name").text)
    assert len(set(seen)) == 4
    ActionChains(page).send_keys(Keys.ARROW_RIGHT).perform()
    assert by_id(page, "chip-name").text == first
    ActionChains(page).send_keys(Keys.ARROW_LEFT).perform()
    assert by_id(page, "chip-name").text == seen[-1]


def test_all_chips_together(page):
    alone = by_id(page, "chip-name").text
    by_id(page, "together").click()
    rows = page.find_elements(By.CSS_SELECTOR, "#grid tbody tr")
    assert not by_id(page, "layers").is_displayed()
    assert [len(row.find_elements(By.TAG_NAME, "img")) for row in rows] == [7] * 4
    names = [row.find_element(By.TAG_NAME, "button") for row in rows]
    other = next(name.text for name in names if name.text != alone)
    next(name for name in names if name.text == other).click()
    assert by_id(page, "chip-name").text == other
    assert not by_id(page, "grid").is_displayed()
    assert len(captions(page)) == 7


def test_provenance_opens_by_keyboard(page):
    summary = page.find_element(By.CSS_SELECTOR, "#origins summary")
    summary.send_keys(Keys.ENTER)
    assert "checkpoint sha256" in page.find_element(By.CSS_SELECTOR, "#origins details[open]").text


def test_phone_and_dark(page):
    with phone(page):
        page.execute_script("dispatchEvent(new Event('resize'))")
        wide = page.execute_script(
            "return [...document.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > 391 && "
            "!e.closest('.scroll')).map((e) => `${e.tagName} ${e.id} ${e.textContent}`)"
        )
        assert wide == []
        crossed = page.execute_script(
            "const box = (e) => e.getBoundingClientRect();"
            "const lines = [...document.querySelectorAll('#forest line.mark, #forest line.zero')].map(box);"
            "return [...document.querySelectorAll('#forest text')].filter((text) => lines.some((line) => "
            "line.left < box(text).right && line.right > box(text).left && line.top < box(text).bottom - 3 && "
            "line.bottom > box(text).top + 3)).map((text) => text.textContent)"
        )
        assert crossed == []
        assert_other_ground(page)
