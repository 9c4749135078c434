"""From a scene to a map, through the command: what it holds, how it is written, and how it goes on."""

import json
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

from augment_store.cli.main import main as store_command
from augment_store.store.chip_index import read_entries
from augment_store.store.history import last_command
from augment_store.store.writer import AugmentStore
from finetune.run.manifest import RunManifest
from finetune.run.temperature import Temperature
from generate.lightning_module import GenerationModule
from predict.blocks import StripFolder
from predict.cli import main
from predict.run import run_share
from predict.shares import Share
from tests.predict.conftest import INPUTS, predicted, words_of, write_scene
from tests.worlds import rasters, write_tif

pytestmark = pytest.mark.slow

CHIP = "delta_0_1"


def read(path):
    with rasterio.open(path) as source:
        return source.read()


@pytest.fixture(scope="module")
def empty_store(maps, tmp_path_factory):
    """The store of the training without its chips, so that maps have to be generated."""
    full = AugmentStore.open(maps)
    path = tmp_path_factory.mktemp("empty") / "store"
    return AugmentStore.create(path, full.spec, full.extent).path


@pytest.fixture(scope="module")
def mapped(tim_run, empty_store, scene, tmp_path_factory):
    """The scene mapped with all layers of one run."""
    out = tmp_path_factory.mktemp("mapped") / "map.tif"
    words = [*words_of(scene), "--out", str(out), "--store", str(empty_store), "--quiet"]
    assert main([str(tim_run), *words, "--layers", "class", "probability", "entropy", "generated"]) == 0
    return out


@pytest.mark.parametrize("arm", ["plain_run", "tim_run"])
def test_a_chip_sized_scene_is_mapped_as_finetune_predicts_the_chip(
    arm, dated, empty_store, request, tmp_path
):
    run = request.getfixturevalue(arm)
    files = write_scene(tmp_path, dict(dated.chips.read(CHIP, INPUTS).rasters), CHIP)
    words = [*words_of(files), "--out", str(tmp_path / "map.tif"), "--store", str(empty_store)]
    assert main([str(run), *words]) == 0
    found = read(tmp_path / "map.tif")[0]
    np.testing.assert_array_equal(found, predicted(run, CHIP))
    assert len(np.unique(found)) > 1


def test_chips_are_mapped_with_the_maps_that_the_store_has(tim_run, dated, tmp_path, capsys):
    assert main([str(tim_run), "--chips", str(dated.root), "--out", str(tmp_path / "maps")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'maps'}: 9 maps; class\n"
    np.testing.assert_array_equal(read(tmp_path / "maps" / f"{CHIP}.tif")[0], predicted(tim_run, CHIP))


def test_the_map_is_a_cloud_optimized_geotiff_that_says_what_made_it(mapped, tim_run, maps, scene):
    for path in (mapped, mapped.with_name("map_probability.tif"), mapped.with_name("map_generated.tif")):
        assert cog_validate(path)[0]
    with rasterio.open(mapped) as found, rasterio.open(scene["DEM"][0]) as given:
        assert (found.crs, found.transform, found.shape) == (given.crs, given.transform, given.shape)
        assert (found.dtypes, found.nodata) == (("uint8",), 255)
        assert found.colormap(1)[0] == (49, 113, 173, 255)  # water in the legend of New York
        assert found.tags(1)["flag_meanings"] == "water developed forest herbaceous other"
        settings = json.loads(found.tags()["SETTINGS"])
    assert [name for name, _ in settings["runs"]] == [tim_run.name]
    assert list(settings["specs"]) == [AugmentStore.open(maps).fingerprint]
    assert "<Category>water</Category>" in mapped.with_name("map.tif.aux.xml").read_text()


def test_layers_agree_with_one_another(mapped):
    classes, shares = read(mapped)[0], read(mapped.with_name("map_probability.tif"))
    assert shares.shape == (5, 72, 88)
    np.testing.assert_array_equal(shares.argmax(axis=0), classes)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-6)
    # −Σ p ln p / ln 5
    entropy = -(shares * np.log(shares)).sum(axis=0) / np.log(5)
    np.testing.assert_allclose(read(mapped.with_name("map_entropy.tif"))[0], entropy, atol=1e-5)
    generated = read(mapped.with_name("map_generated.tif"))
    assert generated.shape == (2, 72, 88)  # a land cover for each date
    assert generated.max() < 10


def test_probabilities_change_no_more_across_borders_of_windows_than_inside(mapped):
    shares = read(mapped.with_name("map_probability.tif")).astype(float)
    # windows of 32 px begin in columns 0, 14, 28, 42 and 56, and end before columns 32, 46, 60 and 74
    change = np.abs(np.diff(shares, axis=2)).mean(axis=(0, 1))
    border = np.isin(np.arange(1, 88), [14, 28, 42, 56, 32, 46, 60, 74])
    assert change[border].mean() / change[~border].mean() == pytest.approx(1, abs=0.15)


def test_an_interrupted_map_goes_on_and_is_equal(tim_run, empty_store, scene, mapped, tmp_path, monkeypatch):
    out = tmp_path / "map.tif"
    words = [str(tim_run), *words_of(scene), "--out", str(out), "--store", str(empty_store), "--quiet"]
    words += ["--layers", "class", "probability", "entropy", "generated"]
    save = StripFolder.save

    def stop(self, row, layers):
        if row == 2:
            raise KeyboardInterrupt
        save(self, row, layers)

    with monkeypatch.context() as patch:
        patch.setattr(StripFolder, "save", stop)
        assert main(words) == 130
    assert not list(tmp_path.glob("*.tif"))
    assert main(words) == 0
    for layer in ("", "_probability", "_entropy", "_generated"):
        np.testing.assert_array_equal(
            read(tmp_path / f"map{layer}.tif"), read(mapped.with_name(f"map{layer}.tif"))
        )
    # nothing but the files and their lock is left
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".") and path.is_dir()]


def test_shares_of_several_processes_make_the_same_map(
    tim_run, empty_store, scene, mapped, tmp_path, monkeypatch
):
    words = [str(tim_run), *words_of(scene), "--store", str(empty_store), "--quiet", "--devices", "2"]

    @contextmanager
    def one_after_another(options):
        yield None
        run_share(options, Share(1, 2))

    monkeypatch.setattr("predict.scene_map.other_shares", one_after_another)
    assert main([*words, "--out", str(tmp_path / "map.tif")]) == 0
    np.testing.assert_array_equal(read(tmp_path / "map.tif"), read(mapped))


@pytest.mark.nightly
def test_processes_side_by_side_make_the_same_maps(plain_run, scene, dated, tmp_path, capfd):
    for devices in ("1", "2"):
        words = [str(plain_run), "--devices", devices, "--quiet", "--out"]
        assert main([*words, str(tmp_path / devices / "map.tif"), *words_of(scene)]) == 0
        assert main([*words, str(tmp_path / devices), "--chips", str(dated.root)]) == 0
    made = sorted(path.name for path in (tmp_path / "1").glob("*.tif"))
    assert len(made) == 10
    for name in made:
        np.testing.assert_array_equal(read(tmp_path / "1" / name), read(tmp_path / "2" / name))
    broken = {**scene, "DEM": scene["S1RTC"]}
    assert (
        main([str(plain_run), *words_of(broken), "--devices", "2", "--out", str(tmp_path / "map.tif")]) == 2
    )
    assert capfd.readouterr().err.count("error:") == 1  # before the second process is started


def test_a_map_that_is_there_is_left_or_refused(plain_run, scene, tmp_path, capsys):
    out = tmp_path / "map.tif"
    words = [str(plain_run), *words_of(scene), "--out", str(out)]
    assert main(words) == 0
    before = out.stat().st_mtime_ns
    assert main(words) == 0
    assert out.stat().st_mtime_ns == before
    capsys.readouterr()
    assert main([*words, "--window", "48"]) == 2
    assert "map.tif: cannot be written (exists, made with other settings" in capsys.readouterr().err


def test_runs_vote_by_the_mean_of_their_probabilities(plain_run, other_run, scene, tmp_path):
    shares = {}
    for name, runs in {"one": [plain_run], "other": [other_run], "both": [plain_run, other_run]}.items():
        out = tmp_path / name / "map.tif"
        layers = ["probability", "agreement"] if name == "both" else ["probability"]
        assert main([*map(str, runs), *words_of(scene), "--out", str(out), "--layers", *layers]) == 0
        shares[name] = read(out.with_name("map_probability.tif"))
    mean = (shares["one"].astype(float) + shares["other"]) / 2
    np.testing.assert_allclose(shares["both"], mean, atol=1e-6)
    votes = np.stack([shares[name].argmax(axis=0) for name in ("one", "other")])
    expected = (votes == mean.argmax(axis=0)).mean(axis=0)
    assert {0.5, 1.0} <= set(np.unique(expected))
    np.testing.assert_array_equal(read(tmp_path / "both" / "map_agreement.tif")[0], expected)


def test_no_data_of_the_scene_is_no_data_of_the_map(plain_run, tmp_path, capsys):
    made = rasters(3, (32, 48), 2)
    made["S1RTC"][..., :7] = np.nan
    out = tmp_path / "map.tif"
    assert main([str(plain_run), *words_of(write_scene(tmp_path, made)), "--out", str(out)]) == 0
    found = read(out)[0]
    assert (found[:, :7] == 255).all()
    assert (found[:, 7:] < 5).all()


def test_a_moved_run_needs_no_chips_of_its_training(plain_run, scene, dated, tmp_path, monkeypatch):
    run = shutil.copytree(plain_run, tmp_path / "run")
    # nothing of the chips may be read
    monkeypatch.setattr("finetune.data.datamodule.open_chips", None)
    assert main([str(run), *words_of(scene), "--out", str(tmp_path / "map.tif")]) == 0


def test_pixels_outside_of_the_mask_have_no_class(plain_run, scene, tmp_path):
    mask = np.zeros((72, 88), np.uint8)
    mask[20:50, 3:40] = 1
    write_tif(tmp_path / "mask.tif", mask)
    words = [*words_of(scene), "--out", str(tmp_path / "map.tif"), "--mask", str(tmp_path / "mask.tif")]
    assert main([str(plain_run), *words]) == 0
    np.testing.assert_array_equal(read(tmp_path / "map.tif")[0] == 255, mask == 0)


@pytest.mark.nightly
def test_samples_of_the_generated_map_vote_too(tim_run, empty_store, scene, tmp_path):
    shares = {}
    for count in (1, 2):
        out = tmp_path / str(count) / "map.tif"
        layers = ["probability", *(["agreement"] if count > 1 else [])]
        words = [*words_of(scene), "--out", str(out), "--store", str(empty_store), "--samples", str(count)]
        assert main([str(tim_run), *words, "--layers", *layers]) == 0
        shares[count] = read(out.with_name("map_probability.tif"))
    # the first sample is the same one, so what it adds to the mean is known: 2 · mean − first is the second's
    second = 2 * shares[2].astype(float) - shares[1]
    np.testing.assert_allclose(second.sum(axis=0), 1, atol=1e-5)
    assert second.min() > -1e-5
    assert not np.allclose(second, shares[1], atol=1e-3)
    agree = (np.stack([shares[1], second]).argmax(axis=1) == shares[2].argmax(axis=0)).mean(axis=0)
    found = read(tmp_path / "2" / "map_agreement.tif")[0]
    assert (found == agree).mean() > 0.999  # `second` is rounded


def test_generated_maps_are_kept_and_used_again(
    tim_run, empty_store, scene, mapped, tmp_path, monkeypatch, capsys
):
    kept, out = tmp_path / "kept", tmp_path / "map.tif"
    words = [str(tim_run), *words_of(scene), "--store", str(empty_store), "--keep", str(kept), "--quiet"]
    assert main([*words, "--out", str(out)]) == 0
    store = AugmentStore.open(kept)
    assert (len(store), store.spec) == (20, AugmentStore.open(empty_store).spec)
    assert last_command(store.history).startswith(f"tim-predict {tim_run} ")
    assert store_command(["verify", str(kept)]) == 0
    # window (1, 2) of 4 × 5 windows of 32 px: its upper left pixel is in row 13 and column 28
    with rasterio.open(scene["DEM"][0]) as source:
        corner = source.transform @ (28, 13)
    assert read_entries(store)["scene_r001c002"].georeference.transform[2::3] == corner
    # nothing may be generated again
    monkeypatch.setattr(GenerationModule, "_start", None)
    assert main([*words, "--out", str(tmp_path / "again.tif")]) == 0
    for path in (out, tmp_path / "again.tif"):
        np.testing.assert_array_equal(read(path), read(mapped))
    assert main([*words, "--out", str(tmp_path / "more.tif"), "--samples", "2"]) == 2
    assert "made by another generation spec" in capsys.readouterr().err


def test_a_calibrated_run_divides_its_logits_by_the_temperature(plain_run, dated, tmp_path, capsys):
    files = write_scene(tmp_path, dict(dated.chips.read(CHIP, INPUTS).rasters), CHIP)
    run = shutil.copytree(plain_run, tmp_path / "run")
    digest = RunManifest.read(run).checkpoint_sha256["best"]
    shares = {}
    for name, fitted_to in (("none", ""), ("other", "0" * 64), ("own", digest)):
        if fitted_to:
            Temperature(2.0, fitted_to, "", 1, "", "").write(run)
        out = tmp_path / f"{name}.tif"
        assert main([str(run), *words_of(files), "--out", str(out), "--layers", "probability"]) == 0
        shares[name] = read(out.with_name(f"{name}_probability.tif"))
    np.testing.assert_array_equal(shares["other"], shares["none"])
    assert "fitted to another checkpoint than the best, and not applied" in capsys.readouterr().err
    # softmax(x / 2) of the logits is the root of softmax(x), made to add up to 1
    roots = np.sqrt(shares["none"].astype(float))
    np.testing.assert_allclose(shares["own"], roots / roots.sum(axis=0), atol=1e-6)
    with rasterio.open(out.with_name("own_probability.tif")) as found:
        assert json.loads(found.tags()["SETTINGS"])["temperatures"] == [2.0]
    (run / "temperature.json").write_text('{"value": 0}')
    assert main([str(run), *words_of(files), "--out", str(tmp_path / "map.tif")]) == 2
    assert "temperature.json: not a temperature" in capsys.readouterr().err
