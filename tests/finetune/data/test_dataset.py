"""Samples, transforms, statistics, splits and controls."""

import dataclasses
import hashlib
import json

import albumentations as A  # noqa: N812
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2
from terratorch.datasets.transforms import FlattenTemporalIntoChannels, UnflattenTemporalFromChannels

from augment_store.chips.layouts import Image, Layout
from augment_store.errors import ChipDataError, ChipSetError
from augment_store.modalities.definitions import DEM, S1RTC
from finetune.data.datamodule import TimStoreDataModule
from finetune.data.normalization import (
    IMPACTMESH_FLOOD,
    TERRAMIND_V1,
    check_units,
    find_statistics,
    find_unit_concerns,
)
from finetune.data.transforms import SampleTransform
from finetune.errors import ConfigError
from tests.worlds import (
    make_spec,
    make_world,
    rasters,
    store_of,
    write_impactmesh_chip,
    write_tif,
    write_zarr_zip,
)

pytestmark = pytest.mark.slow

D4 = [
    FlattenTemporalIntoChannels(),
    A.D4(p=1),
    ToTensorV2(),
    UnflattenTemporalFromChannels(n_timesteps=4),
]


def datamodule(world, **arguments):
    return TimStoreDataModule(data_root=str(world.root), **{"batch_size": 2, **arguments})


def test_no_encoding_named_is_the_stores_own(world, plain_store):
    assert datamodule(world, augment=str(plain_store), encoding=[]).augmentation.encoding == ("onehot",)
    assert datamodule(world, encoding=[]).augmentation.encoding == ()


# Samples ---------------------------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.parametrize("timesteps", [[0, 1, 2, 3], [0]])
def test_samples_equal_the_public_reader_bit_for_bit(shared_data, timesteps):
    golden = json.loads((shared_data / "impactmesh_reader_golden.json").read_text())["samples"]
    root = shared_data / "impactmesh_layout" / "data"
    module = TimStoreDataModule(data_root=str(root), timesteps=timesteps, limit_chips=None)
    module.setup("fit")
    module.setup("test")
    for dataset in module.datasets.values():
        for sample in dataset:
            expected = golden[f"{sample['chip_id']}@{timesteps}"]
            for name, found in {**sample["image"], "mask": sample["mask"]}.items():
                assert list(found.shape) == expected[name]["shape"]
                assert str(found.dtype).removeprefix("torch.") == expected[name]["dtype"]
                if name != "mask":
                    digest = hashlib.sha256(found.numpy().tobytes()).hexdigest()
                    assert digest == expected[name]["sha256"]


@pytest.mark.shared_data
def test_the_flood_preset_is_the_public_readers(shared_data):
    golden = json.loads((shared_data / "impactmesh_reader_golden.json").read_text())["flood_stats"]
    for kind in ("means", "stds"):
        assert {k: list(v) for k, v in getattr(IMPACTMESH_FLOOD, kind).items()} == golden[kind]


def test_a_sample_carries_ids_and_raw_values(world, plain_store):
    module = datamodule(world, augment=str(plain_store))
    module.setup("test")
    sample = module.datasets["test"][2]
    assert (sample["chip_id"], sample["scene_id"]) == ("echo_0_0", "echo")
    assert sample["filename"].endswith("DEM/echo_0_0_DEM.tif")
    assert sample["mask"].dtype == torch.int64
    assert sample["maps"]["lulc"].shape == (4, 32, 32)
    raw = world.chips.read("echo_0_0", ("S2L2A",)).rasters["S2L2A"]
    assert np.array_equal(sample["image"]["S2L2A"].numpy(), raw.transpose(1, 0, 2, 3).astype(np.float32))


@pytest.mark.parametrize("timesteps", [[0], [0, 2], [3, 1, 0], [0, 1, 2, 3]])
def test_any_timesteps_and_band_subsets_join(world, lulc_store, timesteps):
    module = datamodule(
        world,
        augment=str(lulc_store),
        encoding=["onehot", "confidence"],
        timesteps=timesteps,
        bands={"S2L2A": ["RED", "SWIR_1"]},
    )
    module.setup("fit")
    batch = module.model_batch(next(iter(module.train_dataloader())))
    time = () if len(timesteps) == 1 else (len(timesteps),)
    assert batch["image"]["S2L2A"].shape == (2, 2 + 11, *time, 32, 32)
    assert batch["image"]["DEM"].shape == (2, 1, *time, 32, 32)
    assert set(batch) == {"image", "mask", "filename"}


def test_planes_are_those_of_the_chip_and_timestep(world, lulc_store):
    module = datamodule(world, augment=str(lulc_store), encoding=["index"], timesteps=[2])
    module.setup("test")
    loaded = next(iter(module.test_dataloader()))
    image = module.model_batch(loaded)["image"]["S2L2A"]
    lulc = module.augmentation.store.read(loaded["chip_id"][1], "lulc")[0, 2]
    torch.testing.assert_close(image[1, 12], torch.from_numpy(lulc).float() / 9)


def test_missing_observations_are_replaced_before_standardising(tmp_path):
    world = make_world(tmp_path / "chips")
    path = world.chips.path("delta_0_0", "S2L2A")
    values = world.chips.read("delta_0_0", ("S2L2A",)).rasters["S2L2A"].astype(np.float32)
    values[1] = np.nan
    values[2, 0] = -9999
    write_zarr_zip(path, values)
    module = datamodule(world, no_data_replace=7, means="terramind_v1")
    module.setup("test")
    image = module.datasets["test"][0]["image"]["S2L2A"]
    assert (image[:, 1] == 7).all()
    assert (image[0, 2] == 7).all()
    batch = module.model_batch(next(iter(module.test_dataloader())))
    expected = (7 - TERRAMIND_V1.means["S2L2A"][0]) / TERRAMIND_V1.stds["S2L2A"][0]
    assert batch["image"]["S2L2A"][0, 0, 1, 0, 0] == pytest.approx(expected)


def test_training_draws_among_the_samples_and_evaluation_takes_the_first(world, lulc_store):
    torch.manual_seed(0)
    module = datamodule(world, augment=str(lulc_store))
    module.setup("fit")
    first, second = module.augmentation.maps.read("charlie_0_0", "lulc")
    assert all(np.array_equal(module.datasets["val"][0]["maps"]["lulc"], first) for _ in range(8))
    drawn = [module.datasets["train"][0]["maps"]["lulc"].numpy() for _ in range(16)]
    first, second = module.augmentation.maps.read("alpha_0_0", "lulc")
    counts = [sum(np.array_equal(maps, one) for maps in drawn) for one in (first, second)]
    assert min(counts) > 0
    assert sum(counts) == 16
    torch.manual_seed(0)
    again = datamodule(world, augment=str(lulc_store))
    again.setup("fit")
    assert all(np.array_equal(again.datasets["train"][0]["maps"]["lulc"], maps) for maps in drawn)


def test_drawing_among_samples_shifts_nothing_that_the_baseline_draws(world, lulc_store):
    """So that arms of one seed see the same chips in the same order, which is what pairs them."""
    orders = []
    for store in (None, str(lulc_store)):
        module = datamodule(world, augment=store, batch_size=1)
        module.setup("fit")
        torch.manual_seed(0)
        epochs = [[batch["chip_id"] for batch in module.train_dataloader()] for _ in range(4)]
        orders.append((epochs, torch.rand(())))
    assert orders[0] == orders[1]
    assert len({str(epoch) for epoch in orders[0][0]}) > 1


# Transforms ------------------------------------------------------------------------------------------


def symmetries(values):
    """The eight symmetries of the square, of the last two dimensions."""
    for flipped in (values, np.flip(values, -1)):
        for turns in range(4):
            yield np.rot90(flipped, turns, axes=(-2, -1))


def test_image_mask_and_maps_move_together():
    rng = np.random.default_rng(0)
    images = {
        name: rng.normal(size=(bands, 4, 16, 16)).astype(np.float32) for name, bands in (("S2", 3), ("S1", 2))
    }
    mask = rng.integers(0, 5, (16, 16))
    maps = {"lulc": rng.integers(0, 10, (4, 16, 16)).astype(np.uint8)}
    maps["probabilities"] = rng.integers(0, 256, (4, 10, 16, 16)).astype(np.uint8)
    maps["ndvi"] = rng.integers(-10000, 10000, (4, 16, 16)).astype(np.int16)
    transform = SampleTransform(D4, ("S2", "S1"), tuple(maps), 4)
    seen = set()
    for seed in range(24):
        moved, moved_mask, moved_maps = transform(images, mask, maps, seed)
        found = [n for n, turned in enumerate(symmetries(mask)) if np.array_equal(turned, moved_mask)]
        assert len(found) == 1
        seen.add(found[0])
        for given, got in ((images, moved), (maps, moved_maps)):
            for name, values in given.items():
                assert np.array_equal(list(symmetries(values))[found[0]], got[name])
    assert len(seen) >= 6
    again, _, _ = transform(images, mask, maps, 23)
    assert torch.equal(again["S2"], moved["S2"])


def test_colour_transforms_leave_maps_alone():
    image = np.full((3, 16, 16), 0.25, dtype=np.float32)
    lulc = np.full((1, 16, 16), 9, dtype=np.uint8)
    steps = [A.RandomBrightnessContrast(brightness_limit=(0.5, 0.5), p=1), A.Resize(8, 8)]
    moved, _, maps = SampleTransform(steps, ("S2",), ("lulc",), 1)({"S2": image}, None, {"lulc": lulc}, 0)
    assert moved["S2"].shape == (3, 8, 8)
    assert not (moved["S2"] == 0.25).any()
    assert (maps["lulc"] == 9).all()
    assert maps["lulc"].shape == (1, 8, 8)


def test_tokens_refuse_spatial_transforms():
    with pytest.raises(ConfigError, match="D4 with encoding tokens: codebook indices do not rotate"):
        SampleTransform([A.OneOf([A.D4()])], ("S2",), ("tokens",), 1)
    SampleTransform([A.RandomBrightnessContrast()], ("S2",), ("tokens",), 1)


def test_transposed_masks_are_refused(world, lulc_store):
    steps = [ToTensorV2(transpose_mask=True)]
    module = datamodule(world, augment=str(lulc_store), timesteps=[0], train_transform=steps)
    with pytest.raises(
        ConfigError, match="ToTensorV2 with transpose_mask: cached maps expect masks as they are"
    ):
        module.setup("fit")


def test_spatial_transforms_of_several_timesteps_need_flattening():
    with pytest.raises(ConfigError, match="D4 on 4 timesteps needs FlattenTemporalIntoChannels"):
        SampleTransform([A.D4()], ("S2",), (), 4)


# Statistics ------------------------------------------------------------------------------------------


def test_statistics_follow_the_bands_in_use():
    found = find_statistics("terramind_v1", "terramind_v1", {"S2L2A": ("RED",), "DEM": ("DEM",)})
    assert found.means == {"S2L2A": (1853.91,), "DEM": (670.665,)}
    assert found.stds["S2L2A"] == (2134.138,)
    own = find_statistics({"DEM": [5.0]}, {"DEM": [2.0]}, {"DEM": ("DEM",)})
    assert (own.means["DEM"], own.stds["DEM"]) == ((5.0,), (2.0,))


@pytest.mark.parametrize("given", [("terramind_v1", None), (None, "terramind_v1")])
def test_one_preset_stands_for_means_and_stds(given):
    found = find_statistics(*given, {"DEM": ("DEM",)})
    assert (found.means["DEM"], found.stds["DEM"]) == (TERRAMIND_V1.means["DEM"], TERRAMIND_V1.stds["DEM"])


@pytest.mark.parametrize(
    ("means", "stds", "message"),
    [
        ("mine", None, "unknown preset 'mine'; expected impactmesh_flood, terramind_v1"),
        ({"DEM": [1.0, 2.0]}, {"DEM": [1.0]}, "2 values; expected 1"),
        ({"DEM": [1.0]}, {"DEM": [0.0]}, "expected positive"),
        ({"S1RTC": [1.0]}, {"S1RTC": [1.0]}, "none for DEM"),
        ({"DEM": [1.0]}, None, "means: numbers, but stds: none"),
        (None, {"DEM": [1.0]}, "stds: numbers, but means: none"),
        ("terramind_v1", {"DEM": [1.0]}, "stds: numbers, but means: terramind_v1"),
        ("terramind_v1", "impactmesh_flood", "means: terramind_v1, but stds: impactmesh_flood"),
    ],
)
def test_impossible_statistics(means, stds, message):
    with pytest.raises(ConfigError, match=message):
        find_statistics(means, stds, {"DEM": ("DEM",)})


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (
            {"s1_unit": "linear"},
            "'mine' holds S1GRD as linear power, but means and stds terramind_v1",
        ),
        ({"s2_offset": 1000.0}, "'mine' holds S2L1C as values with an offset of 1000"),
    ],
)
def test_a_preset_is_not_taken_for_values_in_other_units(units, message):
    layout = Layout("mine", {"DEM": Image(("{id}.tif",))}, **units)
    bands = {"DEM": ("DEM",), "S1GRD": ("VV",), "S2L1C": ("RED",)}
    with pytest.raises(ConfigError, match=message):
        check_units(find_statistics("terramind_v1", None, bands), layout)
    numbers = {name: [1.0] for name in bands}
    check_units(find_statistics(numbers, numbers, bands), layout)
    check_units(find_statistics("terramind_v1", None, {"DEM": ("DEM",)}), layout)


def test_a_fit_says_so_once(world, tmp_path, capsys):
    spec = make_spec(inputs=["S1RTC"])
    linear = dataclasses.replace(spec, inputs=(dataclasses.replace(spec.inputs[0], unit="linear"),))
    module = datamodule(world, augment=str(store_of(world.chips, tmp_path / "s", linear).path))
    module.setup("fit")
    assert capsys.readouterr().err.startswith(
        f"note: {tmp_path / 's'}: the store was generated from S1RTC as linear"
    )
    module.setup("test")
    assert capsys.readouterr().err == ""


def test_values_that_the_generator_converted_and_the_fine_tune_does_not():
    """Phase 2's radar: linear power, which nothing but the generate command said, under statistics of dB."""
    inputs = (dataclasses.replace(make_spec(inputs=["S1RTC"]).inputs[0], unit="linear"),)
    radar = find_statistics(None, None, {"S1RTC": S1RTC.bands})
    (concern,) = find_unit_concerns(radar, inputs)
    assert "generated from S1RTC as linear power" in concern
    assert "means and stds impactmesh_flood are for other units" in concern
    numbers = find_statistics({"S1RTC": [0.1, 0.2]}, {"S1RTC": [1.0, 1.0]}, {"S1RTC": S1RTC.bands})
    assert not list(find_unit_concerns(numbers, inputs))
    assert not list(find_unit_concerns(radar, make_spec(inputs=["S1RTC"]).inputs))
    assert not list(find_unit_concerns(find_statistics(None, None, {"DEM": DEM.bands}), inputs))


# Splits ----------------------------------------------------------------------------------------------


def test_a_scene_in_two_splits_stops_unless_it_is_allowed(tmp_path):
    world = make_world(tmp_path / "w", splits={"train": ("a_0_0",), "val": ("a_0_1",), "test": ("b_0_0",)})
    with pytest.raises(ChipSetError, match=r"1 scene in two splits \(a\).*--allow-scene-overlap"):
        datamodule(world).setup("fit")
    allowed = datamodule(world, allow_scene_overlap=True)
    allowed.setup("fit")
    assert allowed.splits.overlap == ("a",)


def test_the_same_ground_in_two_splits_stops_unless_it_is_allowed_and_then_it_is_recorded(tmp_path):
    splits = {"train": ("a_0_0",), "val": ("b_0_0",), "test": ("c_0_0",)}
    world = make_world(tmp_path / "w", splits=splits)
    # chip c as another date of the place of a
    write_impactmesh_chip(world.root, "c_0_0", {**rasters(9, 32, 4), "MASK": np.zeros((32, 32), np.int8)})
    with pytest.raises(
        ChipSetError, match=r"1 pair of chips .* same ground or input \(a_0_0 and c_0_0\).*--allow"
    ):
        datamodule(world).setup("fit")
    allowed = datamodule(world, allow_scene_overlap=True)
    allowed.setup("fit")
    assert allowed.shared_chips == (("a_0_0", "c_0_0"),)


def test_a_chip_in_two_splits_stops_always(tmp_path):
    world = make_world(tmp_path / "w", splits={"train": ("a_0_0",), "val": ("b_0_0",), "test": ("c_0_0",)})
    (world.root / "split/impactmesh_flood_test.txt").write_text("a_0_0\n")
    with pytest.raises(ChipSetError, match=r"1 chip in both .*train.txt and .*test.txt \(a_0_0\)"):
        datamodule(world, allow_scene_overlap=True).setup("fit")


def test_an_empty_or_missing_split_stops(tmp_path):
    world = make_world(tmp_path / "w", splits={"train": ("a_0_0",), "val": ("b_0_0",)})
    with pytest.raises(ChipSetError, match="no test split"):
        datamodule(world).setup("test")
    (world.root / "split/impactmesh_flood_val.txt").write_text("\n")
    with pytest.raises(ChipSetError, match="the split is empty"):
        datamodule(world).setup("fit")
    with pytest.raises(ChipSetError, match="no such split file"):
        datamodule(world, val_split=str(tmp_path / "no.txt")).setup("fit")


# What the data must be -------------------------------------------------------------------------------


def test_a_label_without_a_class_is_named(tmp_path):
    world = make_world(tmp_path / "w")
    mask = world.labels("charlie_0_1").astype(np.int8)
    mask[3, 3] = 5
    write_tif(world.root / "data/MASK/charlie_0_1_annotation_flood.tif", mask)
    with pytest.raises(ChipDataError, match="chip charlie_0_1: mask holds label 5; expected 0 to 4, or -1"):
        datamodule(world, class_names=list("abcde")).setup("fit")
    datamodule(world).setup("fit")  # as terratorch fit has it: the task alone knows the number of classes
    mask[3, 3] = -2
    write_tif(world.root / "data/MASK/charlie_0_1_annotation_flood.tif", mask)
    with pytest.raises(
        ChipDataError, match=r"charlie_0_1_annotation_flood\.tif: label -2; expected classes from 0"
    ):
        datamodule(world).setup("fit")


def test_timesteps_that_are_not_there_stop(tmp_path):
    world = make_world(tmp_path / "w", timesteps=1)
    with pytest.raises(ChipDataError, match="it has 1"):
        datamodule(world, timesteps=[0, 1, 2, 3]).setup("fit")
    module = datamodule(world)
    module.setup("fit")
    assert module.reading.timesteps == (0,)
    assert next(iter(module.train_dataloader()))["image"]["S2L2A"].shape == (2, 12, 32, 32)


def test_tokens_need_sides_of_32_pixels(tmp_path):
    world = make_world(tmp_path / "w", size=48)
    store_of(world.chips, tmp_path / "store")
    module = datamodule(world, augment=str(tmp_path / "store"), encoding=["tokens"])
    with pytest.raises(ConfigError, match="multiple of 32 px; these have 48 px"):
        module.setup("fit")
