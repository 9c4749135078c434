import hashlib
import json

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from augment_store.chips.chip import Chip, at_timestep, select_timesteps
from augment_store.chips.chip_set import ChipSet
from augment_store.chips.rasters import read_raster
from augment_store.errors import ChipDataError, ChipNotFoundError
from tests.worlds import rasters, write_folder_chips, write_impactmesh_chips, write_tif, write_zarr_zip

ALL = ("S2L2A", "S1RTC", "DEM")


@pytest.mark.shared_data
def test_equal_to_the_public_impactmesh_reader_bit_for_bit(shared_data):
    golden = json.loads((shared_data / "impactmesh_reader_golden.json").read_text())["samples"]
    chips = ChipSet.open(shared_data / "impactmesh_layout")
    assert len(golden) == 6
    for key, expected in golden.items():
        chip_id, timesteps = key.split("@")
        sample = select_timesteps(chips.read(chip_id, ALL), json.loads(timesteps))
        found = {name: np.nan_to_num(values, nan=0.0) for name, values in sample.items()}
        found["mask"] = chips.mask(chip_id)
        for name, facts in expected.items():
            assert list(found[name].shape) == facts["shape"]
            assert str(found[name].dtype) == facts["dtype"]
            assert hashlib.sha256(found[name].tobytes()).hexdigest() == facts["sha256"]


@pytest.mark.shared_data
def test_both_layouts_of_the_same_chips_agree_and_carry_their_georeference(shared_data):
    packed = ChipSet.open(shared_data / "impactmesh_layout")
    folders = ChipSet.open(shared_data / "terramesh_examples")
    assert packed.ids == folders.ids
    for chip_id in packed.ids:
        a, b = packed.read(chip_id, ALL), folders.read(chip_id, ALL)
        assert (a.timesteps, b.timesteps, a.shape) == (4, 1, (224, 224))
        np.testing.assert_array_equal(a.rasters["DEM"], b.rasters["DEM"])
        assert '"EPSG","32' in packed.georeference(chip_id).crs_wkt
        np.testing.assert_allclose(
            packed.georeference(chip_id).transform, folders.georeference(chip_id).transform
        )


@pytest.mark.shared_data
def test_identical_timesteps_have_equal_digests(shared_data):
    chips = ChipSet.open(shared_data / "impactmesh_layout")
    assert len(np.unique(chips.read("433D_629L_3_1", ALL).digests(), axis=0)) == 1
    assert len(np.unique(chips.read("637U_59R_1_3", ALL).digests(), axis=0)) == 4


def test_digest_covers_every_value_the_type_and_the_modality():
    made = rasters(0, 16)
    base = Chip("a", made).digests()
    touched = {**made, "DEM": made["DEM"].copy()}
    touched["DEM"][0, 0, 3, 3] += 1
    retyped = {**made, "DEM": made["DEM"].astype(np.int32)}
    renamed = {"S2L2A": made["S2L2A"], "S1GRD": made["S1RTC"], "DEM": made["DEM"]}
    assert base.shape == (1, 16)
    for other in (touched, retyped, renamed):
        assert not np.array_equal(Chip("a", other).digests(), base)
    assert np.array_equal(Chip("b", dict(reversed(made.items()))).digests(), base)


def test_timesteps_are_selected_and_no_data_becomes_nan():
    series = np.arange(1, 5, dtype=np.int16).reshape(4, 1, 1, 1) * np.ones((1, 12, 16, 16), np.int16)
    series[2, 0, 0, 0] = -9999
    chip = Chip("a", {"S2L2A": series, "DEM": np.full((1, 1, 16, 16), 7, np.int16)})
    assert chip.series_index(["DEM", "S2L2A"]).tolist() == [[0] * len(series), [*range(len(series))]]
    picked = select_timesteps(chip, [2, 0])
    assert picked["S2L2A"].shape == (12, 2, 16, 16)
    assert np.isnan(picked["S2L2A"][0, 0, 0, 0])
    assert picked["S2L2A"][1, :, 0, 0].tolist() == [3.0, 1.0]
    assert picked["DEM"].tolist() == np.full((1, 2, 16, 16), 7.0).tolist()
    assert select_timesteps(chip, [3])["S2L2A"].shape == (12, 16, 16)
    assert np.isnan(select_timesteps(chip, [3], nodata=7)["DEM"]).all()
    filled = select_timesteps(chip, range(4), fill=9)["S2L2A"]
    assert filled[:2, :, 0, 0].tolist() == [[1, 2, 9, 4], [1, 2, 3, 4]]
    assert np.isnan(picked["S2L2A"]).sum() == 1
    assert series[2, 0, 0, 0] == -9999
    with pytest.raises(ChipDataError, match=r"timesteps \[4\] asked for; it has 4"):
        select_timesteps(chip, [4])


def test_stage_2_knows_the_no_data_values_of_each_modality():
    height = np.full((1, 1, 16, 16), 7, np.int16)
    height[..., 0] = -32768
    radar = np.full((1, 2, 16, 16), -9, np.float16)
    radar[..., 0] = -9999  # −10000 in float16
    optical = np.full((1, 12, 16, 16), 5, np.int16)
    optical[0, :, :, 0] = 0  # NO_DATA of Sentinel-2
    optical[0, 3, :, 1] = 0  # a dark surface in one band
    picked = select_timesteps(Chip("a", {"S2L2A": optical, "S1RTC": radar, "DEM": height}), [0])
    for raster in picked.values():
        assert np.isnan(raster[..., 0]).all()
        assert np.isfinite(raster[..., 1:]).all()


def test_one_raster_stands_for_every_timestep_and_a_series_is_never_wrapped_around():
    series, constant = np.arange(3).reshape(3, 1), np.array([[7]])
    assert at_timestep(series, 2).tolist() == [2]
    assert at_timestep(series, [2, 0]).tolist() == [[2], [0]]
    assert at_timestep(constant, [4, 0]).tolist() == [[7], [7]]
    for beyond in (3, [0, 3], -1):  # of T = 3, timestep 3 is not the first
        with pytest.raises(ChipDataError, match="there are 3, counted from 0"):
            at_timestep(series, beyond)


@pytest.fixture
def folder_chips(tmp_path):
    return write_folder_chips(tmp_path, ["a"], size=32)


@pytest.mark.parametrize(
    ("name", "raster", "message"),
    [
        ("S2L2A", np.zeros((11, 32, 32), np.int16), "11 bands; expected 12 "),
        ("S1RTC", np.zeros((2, 32, 15), np.float32), "32 × 15 pixels; expected 16 or more each way"),
        ("DEM", np.zeros((1, 15, 15), np.int16), "15 × 15 pixels; expected 16 or more each way"),
        ("DEM", np.zeros((1, 48, 32), np.int16), "differ in size: .*DEM 48 × 32 px; expected one pixel grid"),
        (
            "S1RTC",
            np.zeros((2, 32, 32), np.complex64),
            "data type complex64, complex values.*; compute their power or amplitude",
        ),
    ],
)
def test_wrong_bands_shapes_sizes_and_types(folder_chips, name, raster, message):
    write_tif(folder_chips / name / "a.tif", raster)
    with pytest.raises(ChipDataError, match=message):
        ChipSet.open(folder_chips).read("a", ALL)


def test_missing_modality_names_the_file(folder_chips):
    (folder_chips / "S1RTC" / "a.tif").unlink()
    with pytest.raises(ChipNotFoundError, match=r"S1RTC/a.tif: no such file"):
        ChipSet.open(folder_chips).read("a", ALL)


def test_timesteps_must_agree(tmp_path):
    root = write_impactmesh_chips(tmp_path, ["a"], size=16, timesteps=4)
    write_zarr_zip(root / "data" / "S1RTC" / "a_S1RTC.zarr.zip", rasters(0, 16, 3)["S1RTC"])
    with pytest.raises(ChipDataError, match="differ in timesteps"):
        ChipSet.open(root).read("a", ALL)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("pattern", ["S2L2A/a_S2L2A.zarr.zip", "DEM/a_DEM.tif"])
def test_truncated_files_are_named_and_nothing_else_is_raised(tmp_path, pattern, keep):
    root = write_impactmesh_chips(tmp_path, ["a"], size=64)
    path = root / "data" / pattern
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ChipDataError, match=rf"{path.name}: cannot be read"):
        ChipSet.open(root).read("a", ALL)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_chunk_that_declares_more_than_memory_is_not_read(tmp_path, zarr_format):
    path, chunks = tmp_path / "a.zarr.zip", (1, 12, 8000, 8000)  # 1.536e9 bytes of int16
    with ZipStore(path, mode="w") as store:
        group = zarr.create_group(store, zarr_format=zarr_format)
        group.create_array("bands", shape=(1, 12, 16, 16), dtype="int16", chunks=chunks)
    with pytest.raises(
        ChipDataError, match=r"a.zarr.zip: cannot be read \(declares 1\.4 GiB, at most 1 are read"
    ):
        read_raster(path)


def test_a_shard_that_declares_more_than_memory_is_not_read(tmp_path):
    with ZipStore(tmp_path / "a.zarr.zip", mode="w") as store:
        group = zarr.create_group(store, zarr_format=3)
        sides = {"chunks": (1, 12, 16, 16), "shards": (1, 12, 8000, 8000)}
        group.create_array("bands", shape=(1, 12, 16, 16), dtype="int16", **sides)
    with pytest.raises(ChipDataError, match=r"declares 1\.4 GiB, at most 1 are read"):
        read_raster(tmp_path / "a.zarr.zip")


def test_a_chip_without_any_geotiff_has_no_georeference(tmp_path):
    root = write_impactmesh_chips(tmp_path, ["a"], size=16)
    (root / "data" / "DEM" / "a_DEM.tif").unlink()
    found = ChipSet.open(root).georeference("a")
    assert found.crs_wkt == ""
    assert np.isnan(found.transform).all()
