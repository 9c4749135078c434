"""Generated maps by family, against values computed by hand."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
import zarr

from augment_store.cli.main import main
from augment_store.errors import StoreError
from augment_store.integrity.verify import verify_store
from augment_store.modalities.pictures import MapPicture
from augment_store.modalities.registry import CONTINUOUS, MAPS
from augment_store.modalities.rendering import NO_CODE
from augment_store.store.schema import ChipShape, map_arrays
from augment_store.store.spec import GenerationSpec, InputSpec
from augment_store.store.writer import AugmentStore
from tests.worlds import make_spec, make_store

FILL = -32768


def with_codebooks(codebooks, modality="LULC"):
    return GenerationSpec.from_dict({**make_spec(modality).to_dict(), "codebooks": codebooks})


@pytest.mark.parametrize(
    ("modality", "dims", "shape"),
    [
        ("NDVI", ("chip", "sample", "time", "y", "x"), (3, 2, 32, 32)),
        ("DEM", ("chip", "sample", "time", "y", "x"), (3, 2, 32, 32)),
        ("S1RTC", ("chip", "sample", "time", "band", "y", "x"), (3, 2, 2, 32, 32)),
        ("S2L2A", ("chip", "sample", "time", "band", "y", "x"), (3, 2, 12, 32, 32)),
    ],
)
def test_a_band_axis_only_where_there_are_several_bands(modality, dims, shape):
    tokens, probability, main_array = map_arrays(make_spec(modality, samples=3), ChipShape(2, 32, 32))
    assert (tokens.shape, probability.dtype) == ((3, 2, 2, 2), "float32")
    assert (main_array.name, main_array.dims, main_array.shape) == (modality.lower(), dims, shape)
    assert (main_array.dtype, main_array.fill) == ("int16", FILL)
    bands = MAPS[modality].modality.bands
    assert main_array.attributes.get("band_names", [modality]) == list(bands)


@pytest.mark.parametrize(
    ("modality", "values", "stored"),
    [
        ("NDVI", [0.12345, -1.5, np.nan], [1234, -10_000, FILL]),  # 1234.5 rounds to even
        ("DEM", [12.6, -800.0, 9500.0], [13, -500, 9000]),
        ("S1GRD", [-12.344, 40.0, np.nan], [-1234, 3500, FILL]),
        ("S2L2A", [1800.4, -2000.0, 31_000.0], [1800, -1000, 30_000]),
    ],
)
def test_values_are_stored_in_steps_and_kept_within_the_valid_range(modality, values, stored):
    kind = CONTINUOUS[modality]
    assert kind.store(np.array(values)).tolist() == stored
    back = kind.load(np.array([stored[0], FILL], np.int16))
    assert back[0] == pytest.approx(stored[0] * kind.scale)
    assert np.isnan(back[1])


@pytest.mark.parametrize("modality", CONTINUOUS)
def test_rounding_stays_far_below_the_pretraining_deviation(modality):
    kind = CONTINUOUS[modality]
    low, high = kind.limits
    assert -32768 < low < high <= 32767
    assert kind.scale / 2 <= 0.0012 * min(kind.modality.std)


def test_bins_agreement_and_mean_of_several_bands():
    kind = CONTINUOUS["S1RTC"]
    one = np.array([[[-1100, -4500, FILL]], [[-1700, -1700, -1700]]], np.int16)  # band, y, x
    assert kind.codes(one).tolist() == [[11, 0, NO_CODE]]  # −11 dB lies in −12.5 to −10, the twelfth from −40
    assert kind.legend[11].name == "-12.5 to -10.0 dB"
    other = one + np.array([[[200, 201, 0]], [[0, 0, 0]]], np.int16)
    assert kind.same(one, other).tolist() == [[True, False, False]]  # 2 dB apart, 2.01 dB, no value
    assert kind.mean(one) == pytest.approx((-11 - 45) / 2)


def test_maps_are_drawn_by_legend_or_as_inputs_are():
    values = np.array([[0, 10_000], [-10_000, FILL]], np.int16)
    drawn = MapPicture.from_values(MAPS["NDVI"], values)
    assert drawn.photo is None
    assert drawn.pixels()[1, 1].tolist() == [128, 128, 128]
    radar = MapPicture.from_values(MAPS["S1RTC"], np.array([values, values], np.int16))
    assert radar.photo.shape == (2, 2, 3)
    assert radar.uri(64, 60).startswith("data:image/webp")
    assert drawn.uri(64, 60).startswith("data:image/png")


@pytest.mark.parametrize(
    ("modality", "value", "message"),
    [
        ("NDVI", 10_001, "ndvi holds 1.0001, outside -1 to 1"),
        ("DEM", -501, "dem holds -501, outside -500 to 9000"),
        ("S1RTC", 3501, "s1rtc holds 35.01, outside -60 to 35"),
        ("S2L2A", 30_001, "s2l2a holds 30001, outside -1000 to 30000"),
        ("S2L2A", FILL, "s2l2a is not filled in everywhere"),
    ],
)
def test_verify_finds_values_outside_the_valid_range(tmp_path, modality, value, message):
    shape = map_arrays(make_spec(modality), ChipShape(1, 32, 32))[-1].shape
    wrong = np.zeros(shape, np.int16)
    wrong[..., 3, 4] = value
    given = {"scene0_r0c0": {modality.lower(): wrong}}
    store = make_store(tmp_path / "s", chips=2, spec=make_spec(modality), given=given)
    assert [str(problem) for problem in verify_store(store)] == [f"chip scene0_r0c0: {message}"]


@pytest.mark.parametrize(
    "modality", ["S1RTC", *(pytest.param(m, marks=pytest.mark.nightly) for m in ("DEM", "S2L2A"))]
)
@pytest.mark.slow
def test_stores_of_every_modality_are_sound_inspected_exported_and_opened(tmp_path, capsys, modality):
    store = make_store(tmp_path / "s", chips=2, timesteps=2, spec=make_spec(modality, samples=2))
    array, kind = modality.lower(), MAPS[modality]
    assert list(verify_store(store)) == []
    pictures = ["--png", str(tmp_path / "p.png"), "--html", str(tmp_path / "p.html")]
    assert main(["inspect", str(store.path), *pictures]) == 0
    assert f"mean {kind.quantity.split(' ')[0]}" in capsys.readouterr().out
    for form in ("geotiff", "cog", "zarr"):
        assert main(["export", str(store.path), "--format", form, "--out", str(tmp_path / form)]) == 0
    import rasterio

    for form in ("geotiff", "cog"):
        with rasterio.open(tmp_path / form / f"scene0_r0c0_{array}_s1_t0.tif") as found:
            values = store.read("scene0_r0c0", array)[1, 0]
            np.testing.assert_array_equal(found.read(), values.reshape(-1, 32, 32))
            stored, *_ = kind.arrays(probabilities=False)
            assert found.descriptions == tuple(f"{band} (sample 1, timestep 0)" for band in stored.bands)
            assert found.units[-1] == kind.units
    opened = xr.open_zarr(store.path)
    expected = store.read("scene0_r0c1", array) * kind.scale
    np.testing.assert_allclose(opened[array][1], expected, rtol=1e-6)


@pytest.mark.parametrize("codebooks", [2, 128])
def test_tokens_of_several_codebooks_have_an_axis_for_them(tmp_path, codebooks):
    spec = with_codebooks(codebooks)
    tokens = map_arrays(spec, ChipShape(1, 32, 32))[0]
    assert tokens.dims == ("chip", "sample", "time", "codebook", "ty", "tx")
    assert tokens.shape == (1, 1, codebooks, 2, 2)
    rng = np.random.default_rng(0)
    given = {
        "tokens": rng.integers(0, 99, tokens.shape).astype(np.uint16),
        "token_probability": np.full(tokens.shape, 0.25, np.float32),
    }
    chips = {f"scene0_r0c{place}": given for place in range(2)}
    store = make_store(tmp_path / "s", chips=2, spec=spec, given=chips)
    assert list(verify_store(store)) == []
    assert main(["inspect", str(store.path), "--html", str(tmp_path / "p.html")]) == 0
    arguments = ["--format", "geotiff", "--out", str(tmp_path / "o"), "--arrays", "tokens"]
    assert main(["export", str(store.path), *arguments]) == 0
    import rasterio

    with rasterio.open(tmp_path / "o" / "scene0_r0c0_tokens.tif") as found:
        np.testing.assert_array_equal(found.read(), given["tokens"][0, 0])
        assert found.descriptions[1] == "codebook index of codebook 1"


def test_a_spec_of_an_unknown_modality_or_without_codebooks_is_refused():
    plain = make_spec().to_dict()
    with pytest.raises(StoreError, match="modality"):
        GenerationSpec.from_dict({**plain, "modality": "S3"})
    with pytest.raises(StoreError, match="codebooks"):
        GenerationSpec.from_dict({**plain, "codebooks": 0})


def test_a_store_of_the_version_before_is_refused(tmp_path):
    store = make_store(tmp_path / "s", chips=1)
    zarr.open_group(store.path, mode="r+").update_attributes({"schema_version": 2})
    with pytest.raises(StoreError, match="schema version 2, expected 7; generate into a new --store"):
        AugmentStore.open(store.path)


def test_the_own_raster_is_the_reference_of_a_continuous_map(tmp_path):
    from augment_store.chips.chip_set import ChipSet
    from augment_store.inspect.references import References
    from augment_store.modalities.legend_table import LegendTable
    from tests.worlds import write_folder_chips, write_tif

    write_folder_chips(tmp_path, ["a"])
    power = np.full((2, 32, 32), 0.1, np.float32)  # 10·log10(0.1) = −10 dB
    power[:, 0, 0] = -9999
    write_tif(tmp_path / "S1RTC" / "a.tif", power)
    chips = ChipSet.open(tmp_path)
    maps = np.full((1, 1, 2, 32, 32), -1000, np.int16)
    maps[..., 0, :] = -2000  # a row of 32 differs, of which the first pixel does not count
    taken = InputSpec("S1RTC", "linear", 0.0, (), ())
    found = References(chips, MAPS["S1RTC"], LegendTable.load(), (taken,)).read("a", (32, 32))
    assert found.agreement(maps) == pytest.approx(1 - 31 / 1023)
    own = ChipSet(
        tmp_path, dataclasses.replace(chips.layout, s1_unit="linear")
    )  # generated from other inputs
    assert References(own, MAPS["S1RTC"], LegendTable.load()).read("a", (32, 32)).agreement(
        maps
    ) == found.agreement(maps)
    height = chips.read("a", ["DEM"]).rasters["DEM"].astype(np.int16)
    found = References(chips, MAPS["DEM"], LegendTable.load()).read("a", (32, 32))
    assert found.agreement(height) == 1.0
    assert found.agreement(height + np.int16(21)) == 0.0
