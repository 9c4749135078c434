"""The chain on rasters that nobody here made: audit, cut, generate, export in degrees, a control arm."""

import json

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.features import rasterize

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layouts import read_split
from augment_store.chips.units import Units
from augment_store.cli.main import main as store_main
from augment_store.integrity.verify import verify_store
from augment_store.modalities.definitions import S2L2A
from augment_store.modalities.values import native, ndvi_of
from augment_store.store.writer import AugmentStore
from finetune.__main__ import main as finetune_main
from finetune.run.manifest import RunManifest
from generate.audit.audit import audit_chips
from generate.cli.main import main as generate_main
from tests.worlds import two_class_config

pytestmark = [pytest.mark.outside, pytest.mark.slow]


def cut(out, *words):
    return store_main(["cut", *map(str, words), "--out", str(out)])


@pytest.fixture(scope="module")
def mask(water, clear, tmp_path_factory):
    """Water (1) and land (0) on the scene's grid, from the outline."""
    path = tmp_path_factory.mktemp("mask") / "water.tif"
    shapes = [
        feature["geometry"]
        for feature in json.loads(water.read_text())["features"]
        if "segmentation" in feature["properties"]["tasks"]
    ]
    with rasterio.open(clear) as scene:
        values = rasterize(shapes, scene.shape, transform=scene.transform, dtype="uint8")
        profile = {**scene.profile, "count": 1, "dtype": "uint8", "interleave": "band"}
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)
    return path


@pytest.fixture(scope="module")
def chips(clear, mask, tmp_path_factory):
    """Nine regions of 100 px, one chip each, split 5 : 2 : 2; 100 is no multiple of 16."""
    out = tmp_path_factory.mktemp("boadella") / "chips"
    words = (f"S2L2A={clear}", f"MASK={mask}", "--scene", "boadella", "--size", 100, "--block", 100)
    assert cut(out, *words, "--split", "5", "2", "2") == 0
    return out


def audited(chips, modality):
    return audit_chips(ChipSet.open(chips), [modality], Units())


def test_the_audit_finds_nothing_in_a_clear_scene(chips):
    assert audited(chips, "S2L2A").findings == ()


def test_haze_of_a_winter_day_is_not_mistaken_for_the_offset(hazy, tmp_path):
    """Visible bands are 400 too bright and no pixel of blue below 600, as with an offset; SWIR tells them apart."""
    assert cut(tmp_path / "chips", f"S2L2A={hazy}") == 0
    audit = audited(tmp_path / "chips", "S2L2A")
    assert audit.findings == ()
    lowest = {band.band: band.minimum for band in audit.bands}
    assert lowest["BLUE"] > 600
    assert lowest["SWIR_2"] < 600


def test_a_real_dem_passes_the_audit(dem, tmp_path):
    assert cut(tmp_path / "chips", f"DEM={dem}") == 0
    audit = audited(tmp_path / "chips", "DEM")
    assert audit.findings == ()
    (band,) = audit.bands
    assert 0 <= band.minimum < band.maximum < 139  # Monte Mario, Rome's highest hill, has 139 m


def test_chips_tile_the_scene(clear, chips):
    with rasterio.open(clear) as source:
        scene, transform = source.read(), source.transform
    found = ChipSet.open(chips)
    assert len(found.ids) == 9
    assert len(set(found.scenes().values())) == 9
    splits = [read_split(chips / "split" / f"{name}.txt") for name in ("train", "val", "test")]
    assert [len(ids) for ids in splits] == [5, 2, 2]
    chip_id = "boadella-b02x01_r000c000"
    np.testing.assert_array_equal(found.raster(chip_id, "S2L2A")[0], scene[:, 200:300, 100:200])
    place = found.georeference(chip_id)
    np.testing.assert_allclose(
        place.transform, tuple(transform @ transform.translation(100, 200))[:6], rtol=1e-12
    )


@pytest.mark.parametrize("date", ["hazy", "clear"])
def test_ndvi_is_below_zero_on_the_water_and_above_around_it(request, date, mask):
    with rasterio.open(request.getfixturevalue(date)) as scene, rasterio.open(mask) as labels:
        ndvi = ndvi_of(native(scene.read(), S2L2A))[0]
        wet = labels.read(1) == 1
    assert 0.01 < wet.mean() < 0.5
    assert np.median(ndvi[wet]) < np.median(ndvi[~wet]) - 0.2
    assert np.median(ndvi[~wet]) > 0.3


def test_generation_and_export_in_degrees(chips, clear, tmp_path):
    """By random weights: the place of what is exported is in question, not what it shows."""
    store, out = tmp_path / "store", tmp_path / "out"
    words = [
        "--chips",
        chips,
        "--store",
        store,
        "--inputs",
        "S2L2A",
        "--generator",
        "demo",
        "--weights",
        "random",
    ]
    assert generate_main([str(word) for word in (*words, "--window", "64", "--accelerator", "cpu")]) == 0
    assert list(verify_store(AugmentStore.open(store), ChipSet.open(chips))) == []
    chip_id = "boadella-b01x02_r000c000"
    export = ["export", str(store), "--ids", chip_id, "--out", str(out), "--format"]
    assert store_main([*export, "cog"]) == 0
    with rasterio.open(out / f"{chip_id}_lulc.tif") as file, rasterio.open(clear) as scene:
        assert file.crs == scene.crs
        assert file.shape == (100, 100)
        left, top = scene.transform @ (200, 100)
        np.testing.assert_allclose((file.bounds.left, file.bounds.top), (left, top), rtol=1e-12)
        np.testing.assert_allclose(file.res, scene.res, rtol=1e-12)


def test_a_control_arm_trains_on_real_imagery(chips, tmp_path):
    """Analytic NDVI joined to real Sentinel-2, water against land, from the layout's own splits."""
    names = ["land", "water"]
    config = two_class_config("nyc_tim_ndvi", data_root=str(chips), modalities=["S2L2A"], class_names=names)
    model = config["model"]["init_args"]
    model |= {"class_names": names}
    model["model_args"]["backbone_modalities"] = ["S2L2A"]
    config["trainer"]["precision"] = 32
    path = tmp_path / "water.yaml"
    path.write_text(yaml.safe_dump(config))
    run = tmp_path / "run"
    assert finetune_main(["fit", "--config", str(path), "--run", str(run), "--control", "analytic-ndvi"]) == 0
    manifest = RunManifest.read(run)
    assert manifest.class_names == ("land", "water")
    assert manifest.cost.steps == 3  # of five chips, two a batch
    assert finetune_main(["test", "--run", str(run)]) == 0
