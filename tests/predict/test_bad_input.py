"""What does not fit is refused in one line with the remedy, and nothing is left under the name of the map."""

import shutil

import numpy as np
import pytest

from augment_store.store.writer import AugmentStore
from finetune.errors import ConfigError
from predict import PredictOptions
from predict.cli import main
from tests.disks import small_disk
from tests.predict.conftest import words_of, write_scene
from tests.worlds import rasters, write_tif

pytestmark = pytest.mark.slow

GIVEN = {"scene": {"S2L2A": "s2.tif"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": []}, "no run"),
        ({"scene": {}}, "either --scene S2L2A=FILE … or --chips DIR"),
        ({"chips": "chips"}, "either --scene"),
        ({"out": "map.png"}, "--out map.png: expected a GeoTIFF"),
        ({"scene": {"S9": "a.tif"}}, "--scene S9=…: unknown modality; expected S2L2A"),
        ({"layers": ["class", "colour"]}, "--layers class colour: expected some of class probability"),
        ({"layers": ["class", "class"]}, "each once"),
        ({"layers": ["agreement"]}, "--layers agreement: one run and one sample agree with themselves"),
        ({"window": 40}, "--window 40: expected a multiple of 16"),
        ({"scene": {}, "chips": ".", "keep": "kept"}, "--keep is for a --scene; make a store of these chips"),
        ({"devices": 0}, "--devices 0: expected 1 or more"),
        ({"devices": 2, "keep": "kept"}, "--keep: one process at a time adds to a store"),
        ({"samples": 0}, "--samples 0: expected 1 or more"),
    ],
)
def test_options_that_do_not_agree_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        PredictOptions(**{"runs": "runs/a", "out": "map.tif", **GIVEN, **changes}).check()


def test_a_scene_is_named_by_modality(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--scene", "s2.tif", "--out", "map.tif"])
    assert "--scene s2.tif: expected MODALITY=FILE" in capsys.readouterr().err


def one_date(folder):
    return write_scene(folder, rasters(3, (48, 48), 1))


def three_dates(folder):
    return write_scene(folder, rasters(3, (48, 48), 3))


def without_dem(folder):
    files = write_scene(folder, rasters(3, (48, 48), 2))
    return {name: paths for name, paths in files.items() if name != "DEM"}


def too_small(folder):
    return write_scene(folder, rasters(3, (48, 24), 2))


def elsewhere(folder):
    files = write_scene(folder, rasters(3, (48, 48), 2))
    write_tif(folder / "scene_DEM.tif", rasters(3, (48, 48))["DEM"][0], east=580_100.0)
    return files


def in_linear_power(folder):
    made = rasters(3, (48, 48), 2)
    made["S1RTC"] = 10 ** (made["S1RTC"].astype(np.float32) / 10)
    return write_scene(folder, made)


def no_raster(folder):
    files = write_scene(folder, rasters(3, (48, 48), 2))
    (folder / "scene_DEM.tif").write_text("nothing of the kind")
    return files


@pytest.mark.parametrize(
    ("make", "messages"),
    [
        (one_date, ["scene_S2L2A.tif: 1 date of S2L2A; the run takes 2: name a raster for each"]),
        (three_dates, ["scene_S2L2A.tif: 3 dates of S2L2A; the run takes 2"]),
        (without_dem, ["--scene: no DEM, which the run was trained on", "add DEM=FILE"]),
        (too_small, ["48 × 24 px, smaller than a window of 32 px", "a smaller --window"]),
        (elsewhere, ["scene_DEM.tif: not on the grid of", "gdalwarp -t_srs EPSG:32618 -te 580000.0"]),
        (in_linear_power, ["input audit: S1RTC: ", "--accept-audit"]),
        (no_raster, ["scene_DEM.tif: cannot be read as a raster"]),
    ],
)
def test_a_scene_that_does_not_fit_is_refused(make, messages, plain_run, tmp_path, capsys):
    out = tmp_path / "out" / "map.tif"
    assert main([str(plain_run), *words_of(make(tmp_path)), "--out", str(out)]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("error: ")
    assert all(message in told for message in messages), told
    assert not out.exists()


def test_a_run_needs_the_spec_of_its_store_and_the_weights_of_that(tim_run, maps, scene, tmp_path, capsys):
    words = [*words_of(scene), "--out", str(tmp_path / "map.tif")]
    moved = shutil.copytree(tim_run, tmp_path / "run")
    nowhere = tmp_path / "nowhere"
    assert main([str(moved), *words, "--store", str(nowhere)]) == 2
    assert f"trained on maps of {nowhere}, where there is no store" in capsys.readouterr().err
    assert main([str(moved), *words, "--keep", str(maps)]) == 2
    assert f"--keep {maps}: the store of the training" in capsys.readouterr().err
    other = AugmentStore.create(tmp_path / "other", _other_spec(maps), AugmentStore.open(maps).extent)
    assert main([str(moved), *words, "--store", str(other.path)]) == 2
    assert "name the right one with --store" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([str(moved), *words, "--weights", str(tmp_path / "empty")]) == 2
    assert "terramind_demo.safetensors: no such weight file; leave out --weights" in capsys.readouterr().err


def _other_spec(maps):
    from dataclasses import replace

    spec = AugmentStore.open(maps).spec
    return replace(spec, sampling=replace(spec.sampling, seed=7))


def test_a_full_disk_leaves_no_map_and_the_same_command_goes_on(plain_run, scene, tmp_path, capsys):
    out = tmp_path / "map.tif"
    words = [str(plain_run), *words_of(scene), "--out", str(out)]
    with small_disk(4000):  # a strip of classes fits, the raster of 6,336 bytes does not
        assert main(words) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith(f"error: {out}: cannot be written (")
    assert not out.exists()
    assert len(list(tmp_path.glob(".map.tif.strips/*.npz"))) == 4
    assert main(words) == 0
