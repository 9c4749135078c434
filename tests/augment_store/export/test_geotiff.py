"""GeoTIFF and COG: what is written is what the store holds, and other programs read it so."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio

from augment_store.chips.chip_set import ChipSet
from augment_store.cli.main import main
from augment_store.modalities.definitions import LULC_LEGEND
from augment_store.store.chip_index import ChipEntry
from augment_store.store.writer import AugmentStore
from tests.worlds import make_spec, make_store, store_of


def export(store, out, *arguments) -> int:
    return main(["export", str(store), "--out", str(out), *arguments])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("file_format", ["geotiff", "cog"])
def test_every_array_reads_back_equal(tmp_path, file_format):
    store = make_store(tmp_path / "s", chips=1, spec=make_spec(probabilities=True))
    arrays = ("lulc", "confidence", "probabilities", "tokens")
    assert export(store.path, tmp_path / "out", "--format", file_format, "--arrays", *arrays) == 0
    for name in arrays:
        with rasterio.open(tmp_path / "out" / f"scene0_r0c0_{name}.tif") as found:
            stored = store.read("scene0_r0c0", name)
            np.testing.assert_array_equal(found.read(), stored.reshape(-1, *stored.shape[-2:]))
            assert found.crs.to_epsg() == 32618
            assert found.transform.c == 580_000.0
            assert found.transform.a == (160 if name == "tokens" else 10)
            assert found.bounds == (580_000, 4_510_000 - 320, 580_000 + 320, 4_510_000)
            assert json.loads(found.tags()["GENERATION_SPEC"]) == store.spec.to_dict()
            assert found.tags()["FINGERPRINT"] == store.fingerprint


@pytest.mark.parametrize("file_format", ["geotiff", "cog"])
def test_look_and_meaning(tmp_path, file_format):
    store = make_store(tmp_path / "s", chips=1, spec=make_spec(probabilities=True))
    assert export(store.path, tmp_path / "out", "--format", file_format) == 0
    with rasterio.open(tmp_path / "out" / "scene0_r0c0_lulc.tif") as found:
        assert found.nodata == 255
        assert found.descriptions == ("generated LULC class",)
        colours = found.colormap(1)
        assert [colours[entry.value][:3] for entry in LULC_LEGEND] == [entry.rgb for entry in LULC_LEGEND]
        assert found.tags(1)["flag_meanings"].split()[5] == "built_area"
    with rasterio.open(tmp_path / "out" / "scene0_r0c0_confidence.tif") as found:
        assert (found.nodata, found.scales[0]) == (0, pytest.approx(1 / 255))
    with rasterio.open(tmp_path / "out" / "scene0_r0c0_probabilities.tif") as found:
        assert found.descriptions[5] == "probability of built area"
        assert found.nodata is None


def test_ndvi_has_its_scale(tmp_path):
    store = make_store(tmp_path / "s", chips=1, spec=make_spec("NDVI"))
    assert export(store.path, tmp_path / "out", "--format", "geotiff") == 0
    assert names(tmp_path / "out") == ["scene0_r0c0_ndvi.tif"]
    with rasterio.open(tmp_path / "out" / "scene0_r0c0_ndvi.tif") as found:
        assert (found.dtypes[0], found.nodata, found.scales[0]) == ("int16", -32768, pytest.approx(1e-4))
        np.testing.assert_array_equal(found.read(1), store.read("scene0_r0c0", "ndvi")[0, 0])


def test_identical_timesteps_are_written_once(tmp_path):
    taken = np.array([[0, 11, 22], [0, 20, 40], [0, 0, 0]], np.int32)
    same = {"timestep_source": np.array([0, 0, 2], np.int16), "series_index": taken}
    store = make_store(tmp_path / "s", 1, timesteps=3, spec=make_spec(samples=2), given={"scene0_r0c0": same})
    assert export(store.path, tmp_path / "out", "--format", "geotiff", "--arrays", "lulc") == 0
    tifs = [name for name in names(tmp_path / "out") if name.endswith(".tif")]
    assert tifs == [f"scene0_r0c0_lulc_s{sample}_t{time}.tif" for sample in (0, 1) for time in (0, 2)]
    with rasterio.open(tmp_path / "out" / tifs[2]) as found:
        assert found.tags()["STANDS_FOR_TIMESTEPS"] == "0 1"
        assert json.loads(found.tags()["SERIES_INDEX"]) == {"S2L2A": 0, "S1RTC": 0, "DEM": 0}
        assert found.descriptions == ("generated LULC class (sample 1, timestep 0)",)
        np.testing.assert_array_equal(found.read(1), store.read("scene0_r0c0", "lulc")[1, 0])
    with rasterio.open(tmp_path / "out" / tifs[3]) as found:
        assert json.loads(found.tags()["SERIES_INDEX"]) == {"S2L2A": 22, "S1RTC": 40, "DEM": 0}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("file_format", ["geotiff", "cog"])
def test_chip_without_georeference_is_written_without_one(tmp_path, capsys, file_format):
    store = make_store(tmp_path / "s", chips=1, entries=[ChipEntry("a", "a")])
    assert export(store.path, tmp_path / "out", "--format", file_format, "--arrays", "lulc") == 0
    assert "1 file (1 without georeference)" in capsys.readouterr().out
    with rasterio.open(tmp_path / "out" / "a_lulc.tif") as found:
        assert found.crs is None
        np.testing.assert_array_equal(found.read(1), store.read("a", "lulc")[0, 0])


def test_only_complete_chips_are_exported(tmp_path, capsys):
    store = make_store(tmp_path / "s", chips=6, pending=4)
    assert export(store.path, tmp_path / "out", "--format", "geotiff") == 0
    assert len([name for name in names(tmp_path / "out") if name.endswith(".tif")]) == 2 * 2
    assert "2 of 6 chips complete, 4 pending" in capsys.readouterr().out


def test_old_class_names_do_not_stay_beside_other_pixels(tmp_path):
    store = make_store(tmp_path / "s", chips=1)
    (tmp_path / "out").mkdir()
    stale = [tmp_path / "out" / f"scene0_r0c0_confidence{end}" for end in (".tif.aux.xml", ".qml")]
    for path in stale:
        path.write_text("<PAMDataset/>")
    assert export(store.path, tmp_path / "out", "--format", "geotiff") == 0
    assert not any(path.exists() for path in stale)


def test_the_style_for_qgis_has_the_ten_classes_alone(tmp_path):
    store = make_store(tmp_path / "s", chips=1)
    assert export(store.path, tmp_path / "out", "--format", "geotiff", "--arrays", "lulc") == 0
    style = ElementTree.parse(tmp_path / "out" / "scene0_r0c0_lulc.qml").getroot()
    shown = [entry.attrib for entry in style.iter("paletteEntry")]
    assert [(entry["value"], entry["label"]) for entry in shown[:2]] == [("0", "no data"), ("1", "water")]
    assert shown[1] == {"value": "1", "label": "water", "color": "#3171ad", "alpha": "255"}
    assert len(shown) == 10


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gdalinfo"), reason="needs gdalinfo (Debian: gdal-bin)")
@pytest.mark.parametrize("file_format", ["geotiff", "cog"])
def test_gdalinfo_shows_names_and_colours(tmp_path, file_format):
    store = make_store(tmp_path / "s", chips=1)
    assert export(store.path, tmp_path / "out", "--format", file_format) == 0
    path = tmp_path / "out" / "scene0_r0c0_lulc.tif"
    # torchgeo, once imported, tells GDAL by the environment not to look for files beside the one it opens
    plain = {key: value for key, value in os.environ.items() if not key.startswith("GDAL_")}
    text = subprocess.run(["gdalinfo", path], check=True, capture_output=True, text=True, env=plain).stdout
    categories = re.findall(r"^ {6}(\d): (.+)$", text, re.M)
    assert categories == [(str(entry.value), entry.name) for entry in LULC_LEGEND]
    for entry in LULC_LEGEND:
        assert "{}: {},{},{},255".format(entry.value, *entry.rgb) in text
    assert 'ID["EPSG",32618]' in text
    assert "NoData Value=255" in text
    assert '<GDALRasterAttributeTable tableType="thematic">' in text


def test_cog_has_overviews_and_is_valid(tmp_path):
    from rio_cogeo.cogeo import cog_validate

    store = make_store(tmp_path / "s", chips=4, size=288, entries=None)
    assert export(store.path, tmp_path / "out", "--format", "cog", "--mosaic") == 0
    path = tmp_path / "out" / "scene0_lulc.tif"
    assert cog_validate(path, strict=True) == (True, [], [])
    with rasterio.open(path) as found:
        assert found.overviews(1) == [2, 4]
    assert [name for name in names(tmp_path / "out") if name.startswith("scene0_lulc")] == [
        "scene0_lulc.qml",
        "scene0_lulc.tif",
        "scene0_lulc.tif.aux.xml",
    ]


def test_overviews_of_classes_hold_the_most_frequent_one(tmp_path):
    crops_in_each_corner = np.tile(np.array([[4, 1], [1, 1]], np.uint8), (272, 272))[None, None]
    given = {"scene0_r0c0": {"lulc": crops_in_each_corner}}
    store = make_store(tmp_path / "s", chips=1, size=544, given=given)
    assert export(store.path, tmp_path / "out", "--format", "cog", "--arrays", "lulc") == 0
    with rasterio.open(tmp_path / "out" / "scene0_r0c0_lulc.tif", overview_level=0) as half:
        assert half.shape == (272, 272)
        assert (half.read(1) == 1).all()  # neither the first of four pixels, 4, nor their mean


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "geotiff", "--ids", "scene0_r0c7"], r"no chip 'scene0_r0c7'; the nearest are scene0"),
        (
            ["--format", "geotiff", "--arrays", "ndvi"],
            r"no array 'ndvi' to export; it has tokens, token_probability, lulc, confidence",
        ),
        (["--format", "geotiff", "--out", "blocked"], "cannot be written"),
        (["--format", "cog", "--out", "blocked"], "cannot be written"),
        (["--format", "zarr", "--out", "blocked"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path / "s", chips=2)
    (tmp_path / "blocked").write_text("a file where a folder is needed")
    assert export("s", "out", *arguments) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1


def test_empty_store(tmp_path, capsys):
    store = make_store(tmp_path / "s", chips=2, pending=2)
    assert export(store.path, tmp_path / "out", "--format", "zarr") == 2
    assert "0 of 2 chips complete, 2 pending" in capsys.readouterr().err


@pytest.mark.shared_data
def test_real_chip_lies_where_its_input_lies(tmp_path, shared_data):
    chips = ChipSet.open(shared_data / "terramesh_examples")
    store = store_of(chips, tmp_path / "s")
    assert export(store.path, tmp_path / "out", "--format", "geotiff") == 0
    for chip_id in chips.ids:
        with (
            rasterio.open(tmp_path / "out" / f"{chip_id}_lulc.tif") as found,
            rasterio.open(chips.path(chip_id, "LULC")) as truth,
        ):
            assert found.crs == truth.crs
            assert found.transform.almost_equals(truth.transform, 1e-6)
            np.testing.assert_array_equal(
                found.read(1), AugmentStore.open(store.path).read(chip_id, "lulc")[0, 0]
            )


@pytest.mark.parametrize(
    ("out", "file_format"), [("s.zarr", "geotiff"), ("s.zarr/lulc", "cog"), ("link", "zarr"), (".", "zarr")]
)
def test_an_export_into_its_store_is_refused_and_leaves_it_alone(tmp_path, capsys, out, file_format):
    store = make_store(tmp_path / "s.zarr", chips=1)
    (tmp_path / "link").symlink_to(store.path)
    before = {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()}
    assert export(store.path, tmp_path / out, "--format", file_format) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"cannot be written (lies within the store {store.path}); choose another place")
    assert {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()} == before
