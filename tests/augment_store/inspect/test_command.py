"""`inspect` as users run it: what it prints and writes, and what it answers to bad input."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.rasters import read_raster
from augment_store.cli.main import main
from augment_store.modalities.pictures import draw_input
from augment_store.modalities.rendering import draw_hillshade, draw_rgb
from augment_store.store.chip_index import ChipEntry
from augment_store.store.writer import AugmentStore
from tests.worlds import make_spec, make_store, store_of, write_folder_chips, write_tif


def inspect(*arguments) -> int:
    return main(["inspect", *map(str, arguments)])


def page_data(path, name):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(rf'id="{name}">(.*?)</script>', text, re.S).group(1))


def test_store_still_being_written_shows_what_is_complete(tmp_path, capsys):
    make_store(tmp_path / "s", chips=8, pending=3, failed={"scene0_r0c1": "no valid value"})
    assert inspect(tmp_path / "s", "--html", tmp_path / "p.html") == 0
    assert "4 of 8 chips complete, 3 pending, 1 failed" in capsys.readouterr().out
    assert len(page_data(tmp_path / "p.html", "chips")) == 4


def test_a_chip_says_where_in_its_files_the_timestep_is(tmp_path):
    taken = np.array([[0, 11, 22], [0, 20, 40], [0, 0, 0]], np.int32)
    make_store(tmp_path / "s", 1, timesteps=3, given={"scene0_r0c0": {"series_index": taken}})
    assert inspect(tmp_path / "s", "--timestep", 2, "--html", tmp_path / "p.html") == 0
    [chip] = page_data(tmp_path / "p.html", "chips")
    assert chip["series"] == {"S2L2A": 22, "S1RTC": 40, "DEM": 0}


def test_numbers_from_a_sample_say_so(tmp_path, capsys):
    make_store(tmp_path / "s", chips=8)
    assert inspect(tmp_path / "s", "--summary-chips", 3, "--worst", 2) == 0
    out = capsys.readouterr().out
    assert "seeded sample of 3 chips" in out
    first = out[out.index("chips asked for") :]
    assert inspect(tmp_path / "s", "--summary-chips", 3, "--worst", 2) == 0
    assert capsys.readouterr().out.endswith(first)


def test_no_more_chips_are_read_than_the_sample(tmp_path, monkeypatch):
    make_store(tmp_path / "s", chips=40, shard_chips=8)
    asked, read = [], AugmentStore.read
    monkeypatch.setattr(AugmentStore, "read", lambda store, *what: asked.append(what) or read(store, *what))
    assert inspect(tmp_path / "s", "--summary-chips", 5) == 0
    assert len({chip_id for chip_id, _ in asked}) <= 5 + 8  # the sample, and the chips a sheet would show


def test_ids_are_shown_in_the_order_given(tmp_path):
    make_store(tmp_path / "s", chips=8)
    assert inspect(tmp_path / "s", "--ids", "scene1_r1c2", "scene0_r0c0", "--html", tmp_path / "p.html") == 0
    assert [chip["id"] for chip in page_data(tmp_path / "p.html", "chips")] == ["scene1_r1c2", "scene0_r0c0"]


@pytest.mark.slow
def test_contact_sheet_has_a_row_per_chip(tmp_path):
    make_store(tmp_path / "s", chips=6)
    heights = []
    for count in (1, 3):
        assert inspect(tmp_path / "s", "--random", count, "--png", tmp_path / "sheet.png") == 0
        with Image.open(tmp_path / "sheet.png") as image:
            heights.append(image.height)
    assert heights[1] - heights[0] == 2 * 1.75 * 120  # two more rows of 1.75 inches at 120 dots


@pytest.mark.slow
def test_ndvi_store(tmp_path, capsys):
    make_store(tmp_path / "s", chips=2, spec=make_spec("NDVI", samples=2))
    assert inspect(tmp_path / "s", "--png", tmp_path / "s.png", "--html", tmp_path / "p.html") == 0
    assert "mean NDVI" in capsys.readouterr().out
    assert page_data(tmp_path / "p.html", "store")["continuous"]
    assert "confidence" not in page_data(tmp_path / "p.html", "chips")[0]["layers"]


def test_a_map_of_several_bands_is_a_picture_of_its_own(tmp_path):
    make_store(tmp_path / "s", chips=2, spec=make_spec("S1RTC", samples=2))
    assert inspect(tmp_path / "s", "--html", tmp_path / "p.html") == 0
    assert not page_data(tmp_path / "p.html", "store")["drawnByLegend"]
    drawn = page_data(tmp_path / "p.html", "chips")[0]["layers"]["map"]
    assert [uri.split(";")[0] for uri in drawn] == ["data:image/webp"] * 2


def test_text_of_the_store_cannot_break_the_page(tmp_path):
    evil = "</script><script>alert(1)</script>"
    make_store(tmp_path / "s", chips=1, entries=[ChipEntry("a", evil)])
    assert inspect(tmp_path / "s", "--html", tmp_path / "p.html") == 0
    assert evil not in (tmp_path / "p.html").read_text()
    assert page_data(tmp_path / "p.html", "chips")[0]["scene"] == evil


def test_pictures_have_one_quality_however_many_chips_there_are(tmp_path):
    """Maps keep every pixel, probabilities 96 px of the longer side."""
    make_store(tmp_path / "s", chips=9, size=224, spec=make_spec(samples=2), shard_chips=9)
    pages = []
    for count in (1, 9):
        assert (
            inspect(tmp_path / "s", "--ids", *ids_of(tmp_path / "s", count), "--html", tmp_path / "p.html")
            == 0
        )
        pages.append(page_data(tmp_path / "p.html", "chips"))
    assert pages[0][0]["layers"] == pages[1][0]["layers"]
    sizes = {name: [decoded(uri).size for uri in uris] for name, uris in pages[0][0]["layers"].items()}
    assert sizes == {"map": [(224, 224)] * 2, "token": [(96, 96)] * 2, "confidence": [(96, 96)] * 2}


def ids_of(store, count):
    return list(AugmentStore.open(store).chip_ids)[:count]


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.slow
def test_ids_are_shown_as_they_are(tmp_path, capsys, monkeypatch):
    """Square brackets are rich's markup, a dollar sign begins a formula in matplotlib."""
    monkeypatch.setenv("COLUMNS", "200")
    ids = ["a[", "b[bold red]x", "c[link=http:evil.example]y", "d$^$", "e[-]", "f<b>&amp;"]
    make_store(tmp_path / "s", chips=6, entries=[ChipEntry(chip_id, chip_id) for chip_id in ids])
    files = ("--png", tmp_path / "sheet.png", "--html", tmp_path / "p.html")
    assert inspect(tmp_path / "s", "--ids", *ids, *files) == 0
    told = capsys.readouterr().out
    assert [chip_id for chip_id in ids if chip_id not in told] == []
    assert [chip["id"] for chip in page_data(tmp_path / "p.html", "chips")] == ids


def test_a_folder_called_like_markup(tmp_path, capsys):
    folder = tmp_path / "s[/x]"
    make_store(folder, chips=1)
    page = tmp_path / "[red]" / "p[/b].html"
    assert inspect(folder, "--html", page) == 0
    out = capsys.readouterr().out
    assert str(folder) in out
    assert f"{page}: page of 1 chip" in out


def chips_with_masks(root):
    """A chip with a mask of labels 0 and 1, and a store that says water (1) everywhere."""
    write_folder_chips(root, ["a_r0c0"])
    labels = np.zeros((1, 32, 32), np.int16)
    labels[:, :8] = 1
    write_tif(root / "MASK" / "a_r0c0.tif", labels)
    water = {"a_r0c0": {"lulc": np.ones((1, 1, 32, 32), np.uint8)}}
    return store_of(ChipSet.open(root), root.parent / "s", make_spec(), given=water).path


def test_masks_of_unknown_classes_are_compared_with_nothing(tmp_path, capsys):
    store = chips_with_masks(tmp_path / "chips")
    assert inspect(store, "--chips", tmp_path / "chips") == 0
    out = capsys.readouterr().out
    assert "references: masks found; give --legend to compare the maps with them" in out
    assert "agreement with reference" not in out
    assert "differs from reference" not in out


@pytest.mark.parametrize("said_by", ["option", "layout"])
def test_masks_are_compared_by_the_legend_that_option_or_layout_names(tmp_path, capsys, said_by):
    store = chips_with_masks(tmp_path / "chips")
    layout = tmp_path / "mine.yaml"
    legend = "\nlegend: flood" if said_by == "layout" else ""
    images = "".join(f"  {name}: {{files: '{name}/{{id}}.tif'}}\n" for name in ("S2L2A", "S1RTC", "DEM"))
    layout.write_text(f"name: mine\nimages:\n{images}mask: 'MASK/{{id}}.tif'{legend}\n")
    option = ["--legend", "flood"] if said_by == "option" else []
    assert inspect(store, "--chips", tmp_path / "chips", "--layout", layout, *option) == 0
    out = capsys.readouterr().out
    assert "references: masks by the legend flood" in out
    assert re.search(r"agreement with reference +0\.250", out)  # 8 of 32 rows are water


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ids", "scene0_r0c9"], r"no chip 'scene0_r0c9'; the nearest are scene0_r0c\d"),
        (["--ids", "zzz"], "no chip 'zzz'; the first is 'scene0_r0c0'"),
        (["--ids", "scene1_r1c3"], "chip 'scene1_r1c3' is pending; only complete chips have maps"),
        (["--timestep", "1"], "--timestep 1: the store has 0 to 0"),
        (["--timestep", "-1"], "--timestep -1: the store has 0 to 0"),
        (["--random", "7", "--html", "blocked/p.html"], "cannot be written"),
        (["--random", "7", "--png", "blocked/p.png"], "cannot be written"),
        (["--legend", "blocked"], "cannot be read as a legend table"),
        (["--chips", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path / "s", chips=8, pending=1)
    (tmp_path / "blocked").write_text("a file where a folder is needed")
    assert inspect("s", *arguments) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("**/.draft*"))


def test_too_many_chips_for_a_sheet(tmp_path, capsys):
    make_store(tmp_path / "s", chips=41, shard_chips=41)
    assert inspect(tmp_path / "s", "--random", 41, "--png", tmp_path / "s.png") == 2
    assert "a contact sheet holds at most 40 chips, 41 asked for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("chips", "words"), [(0, "0 of 0 chips complete"), (4, "0 of 4 chips complete, 4 pending")]
)
def test_empty_store(tmp_path, capsys, chips, words):
    make_store(tmp_path / "s", chips=chips, pending=chips)
    assert inspect(tmp_path / "s") == 2
    assert words in capsys.readouterr().err


def test_chips_of_another_set(tmp_path, capsys):
    make_store(tmp_path / "s", chips=2)
    write_folder_chips(tmp_path / "other", ["elsewhere"])
    assert inspect(tmp_path / "s", "--chips", tmp_path / "other") == 2
    assert "holds none of the store's chips (it has 'elsewhere' …" in capsys.readouterr().err
    write_folder_chips(tmp_path / "same_ids", ["scene0_r0c0", "scene0_r0c1"])
    assert inspect(tmp_path / "s", "--chips", tmp_path / "same_ids") == 2
    assert (
        "2 chips (scene0_r0c0, scene0_r0c1): content differs from what the store" in capsys.readouterr().err
    )


def test_damaged_chunk_is_named(tmp_path, capsys):
    store = make_store(tmp_path / "s", chips=2)
    chunk = next(path for path in (store.path / "lulc" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-7])
    assert inspect(tmp_path / "s") == 2
    assert "lulc of chip scene0_r0c0 cannot be read" in capsys.readouterr().err


def test_inputs_without_values_are_drawn_dark_or_flat():
    nothing = np.full((12, 16, 16), np.nan)
    assert draw_rgb(nothing).max() == 0
    assert draw_input(np.zeros((2, 16, 16)), "S1RTC", unit="linear").max() == 0
    assert np.ptp(draw_hillshade(np.zeros((1, 16, 16)))[..., 0]) == 0
    assert draw_hillshade(np.full((1, 16, 16), np.nan)).shape == (16, 16, 3)


@pytest.mark.shared_data
@pytest.mark.parametrize("layout", ["impactmesh_layout", "terramesh_examples"])
def test_real_chips(tmp_path, shared_data, capsys, layout):
    chips = ChipSet.open(shared_data / layout)
    references = {i: read_raster(shared_data / "terramesh_examples/LULC" / f"{i}.tif") for i in chips.ids}
    timesteps = chips.read(chips.ids[0], ["S2L2A"]).timesteps
    given = {i: {"lulc": np.tile(lulc[None, :, 0], (2, timesteps, 1, 1))} for i, lulc in references.items()}
    store = store_of(chips, tmp_path / "s", make_spec(samples=2), given=given)
    page, sheet = tmp_path / "p.html", tmp_path / "s.png"
    assert inspect(store.path, "--chips", chips.root, "--html", page, "--png", sheet) == 0
    assert "agreement with reference" in capsys.readouterr().out
    for chip in page_data(page, "chips"):
        assert set(chip["layers"]) == {"map", "rgb", "radar", "relief", "token", "confidence", "reference"}
        assert chip["measures"]["reference"] > 0.9
        assert len(chip["ring"]) == 4
    with Image.open(sheet) as image:
        assert image.width > 1200
