"""Statistics that are not the data's: audit of standardized values, presets known by data set."""

import re
import shutil

import albumentations as A  # noqa: N812
import numpy as np
import pytest
from albumentations.pytorch import ToTensorV2
from terratorch.datasets.transforms import FlattenTemporalIntoChannels, UnflattenTemporalFromChannels

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layouts import find_layout, shipped_layout
from augment_store.errors import ChipSetError
from finetune import TimStoreDataModule
from finetune.data.normalization import IMPACTMESH_FIRE, PRESETS, find_statistics, preset_of
from finetune.data.standardization_audit import find_concern, measure_levels, remedy_of, standardized_levels
from finetune.data.transforms import SampleTransform
from finetune.errors import ConfigError
from tests.worlds import make_world, write_folder_chips, write_tif, write_zarr_zip

pytestmark = pytest.mark.slow

DRAW = np.random.default_rng(0)
BANDS = {"S2L2A": ("BLUE", "NIR_BROAD"), "S1RTC": ("VV", "VH"), "DEM": ("DEM",)}
V1 = find_statistics("terramind_v1", None, BANDS)


def concern(modality, *images, statistics=V1):
    found = standardized_levels(modality, images, statistics)
    return find_concern(found, f"means and stds {statistics.preset}", remedy_of(modality))


def test_levels_are_those_of_the_bands_that_have_data():
    statistics = find_statistics({"S1RTC": [-10, -20]}, {"S1RTC": [2, 4]}, {"S1RTC": ("VV", "VH")})
    one = np.stack([np.full((2, 2), -10.0), np.full((2, 2), np.nan)]).astype(np.float32)
    two = np.stack([np.full((2, 2), -6.0), np.full((2, 2), np.nan)]).astype(np.float32)
    levels = standardized_levels("S1RTC", [one, two], statistics)
    assert (levels.means.tolist(), levels.stds.tolist()) == (
        [1.0],
        [1.0],
    )  # (0 and 2) / 2: mean 1, deviation 1
    assert (levels.low, levels.high) == (-10, -6)
    assert concern("S1RTC", np.full((2, 4, 4), np.nan, np.float32)) is None


def test_bands_that_a_datamodule_adds_have_levels_too():
    image = np.array([[[1.0, 3.0]]], np.float32)
    levels = measure_levels("image", [image], [np.concatenate([image, image * 0 + 5])])
    assert levels.means.tolist() == [2, 5]
    assert levels.stds.tolist() == [1, 0]
    assert (levels.low, levels.high) == (1, 3)


@pytest.mark.parametrize("largest", [1, 100])  # fractions, and per cent
def test_reflectance_in_another_unit_stops(largest):
    image = DRAW.uniform(0, 0.5 * largest, (2, 16, 16)).astype(np.float32)
    with pytest.raises(ConfigError, match=r"S2L2A: .* means and stds terramind_v1 .*reflectance × 10,000"):
        concern("S2L2A", image)
    own = find_statistics(
        {"S2L2A": [0.25 * largest] * 2}, {"S2L2A": [0.1 * largest] * 2}, {"S2L2A": BANDS["S2L2A"]}
    )
    assert concern("S2L2A", image, statistics=own) is None


def test_reflectance_in_eight_bits_is_noted():
    """South Africa's crops: values of 20 to 120, by numbers for 10,000: deviations of 29 / 2,000."""
    image = DRAW.uniform(20, 120, (2, 16, 16)).astype(np.float32)
    assert re.search(r"deviations of 0\.01\d to 0\.01\d, expected about 0 and 1", concern("S2L2A", image))


def test_radar_in_hundredths_of_a_decibel_stops_and_linear_power_is_noted():
    decibels = DRAW.normal(-12, 4, (2, 16, 16)).astype(np.float32)
    assert concern("S1RTC", decibels) is None
    with pytest.raises(ConfigError, match=r"S1RTC: .*the presets are for dB"):
        concern("S1RTC", 100 * decibels)
    assert "expected about 0 and 1" in concern("S1RTC", 10 ** (decibels / 10))  # as Phase 2 had it


def test_constant_and_usual_values_are_let_through():
    assert concern("DEM", np.zeros((1, 16, 16), np.float32)) is None  # which no statistics can change
    assert concern("DEM", DRAW.uniform(301, 308, (1, 16, 16)).astype(np.float32)) is None  # flat ground
    assert concern("S2L2A", DRAW.normal(2000, 900, (2, 16, 16)).astype(np.float32)) is None


def test_presets_belong_to_data_sets():
    assert preset_of(shipped_layout("impactmesh")) == "impactmesh_flood"
    assert preset_of(shipped_layout("impactmesh_fire")) == "impactmesh_fire"
    assert preset_of(shipped_layout("folders")) is None
    assert PRESETS["impactmesh_fire"].means["DEM"] == (456.555,)


def test_wildfire_chips_are_found_by_their_masks_and_get_their_own_statistics(world, tmp_path):
    root = tmp_path / "ImpactMesh-Fire"
    for place in ("S2L2A", "S1RTC", "DEM"):
        (root / "data" / place).mkdir(parents=True)
        for file in (world.root / "data" / place).iterdir():
            (root / "data" / place / file.name).symlink_to(file)
    assert find_layout(root).name == "impactmesh"  # nothing tells
    for chip_id in world.ids:
        mask = np.zeros((1, 32, 32), np.int8)
        write_tif(root / "data" / "MASK" / f"{chip_id}_annotation_wildfire.tif", mask)
    assert ChipSet.open(root).layout.name == "impactmesh_fire"
    module = TimStoreDataModule(str(root / "data"))
    assert module.statistics.means["S2L2A"] == IMPACTMESH_FIRE.means["S2L2A"]
    assert module.statistics.preset == "impactmesh_fire"
    assert TimStoreDataModule(str(world.root)).statistics.preset == "impactmesh_flood"


def test_the_audit_runs_before_training_on_what_the_network_gets(tmp_path, capsys):
    root = tmp_path / "chips"
    splits = {"train": ("a_0_0", "b_0_0"), "val": ("c_0_0",)}
    write_folder_chips(root, [chip_id for ids in splits.values() for chip_id in ids])
    (root / "split").mkdir()
    for split, ids in splits.items():
        (root / "split" / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for chip_id in ids:
            write_tif(root / "MASK" / f"{chip_id}.tif", np.ones((1, 32, 32), np.int8))
    TimStoreDataModule(str(root), modalities=["S1RTC"]).setup("fit")
    assert "no means and stds are named, so those of ImpactMesh's flood set" in capsys.readouterr().err
    far = {"means": {"S1RTC": [9000, 9000]}, "stds": {"S1RTC": [3, 3]}}
    with pytest.raises(ConfigError, match="S1RTC: after standardization by means and stds of the YAML"):
        TimStoreDataModule(str(root), modalities=["S1RTC"], **far).setup("fit")


def test_terratorchs_own_steps_are_not_blamed(world, capsys):
    """They change the order of several dates only; the note is the statistics', and is said once."""
    odd = {"means": {"S1RTC": [30, 30]}, "stds": {"S1RTC": [4, 4]}}
    steps = [FlattenTemporalIntoChannels(), ToTensorV2(), UnflattenTemporalFromChannels(n_timesteps=4)]
    TimStoreDataModule(
        str(world.root), modalities=["S1RTC"], train_transform=steps, val_transform=steps, **odd
    ).setup("fit")
    [told] = [line for line in capsys.readouterr().err.splitlines() if "after standardization" in line]
    assert told.startswith("note: S1RTC: after standardization by means and stds of the YAML its bands")
    assert "Temporal" not in told


@pytest.mark.parametrize("transpose", [False, True])
def test_the_audit_knows_missing_pixels_behind_transforms(tmp_path, transpose):
    """One NaN would make the whole mean NaN, so it goes in filled; and it is NaN again where the flip took it."""
    world = make_world(tmp_path / "chips", splits={"test": ("a_0_0",)})
    values = world.chips.read("a_0_0", ("S2L2A",)).rasters["S2L2A"].astype(np.float32)
    values[2, 0, 3, 5] = np.nan  # [T, C, H, W]
    write_zarr_zip(world.chips.path("a_0_0", "S2L2A"), values)
    module = TimStoreDataModule(str(world.root), modalities=["S2L2A"])
    module.setup("test")
    dataset = module.datasets["test"]
    expected = np.zeros((12, 4, 32, 32), bool)
    expected[0, 2, 3, 5] = True
    assert np.array_equal(np.isnan(dataset.read_behind_transforms(0)["S2L2A"]), expected)

    def centered(image, **_):
        return image - image.mean()

    to_tensor = ToTensorV2(transpose_mask=transpose)
    steps = [
        FlattenTemporalIntoChannels(),
        A.Lambda(image=centered, p=1),
        A.HorizontalFlip(p=1),
        A.CenterCrop(30, 30),
        to_tensor,
        UnflattenTemporalFromChannels(n_timesteps=4),
    ]
    dataset.transform = SampleTransform(steps, ["S2L2A"], (), 4)
    made = dataset.read_behind_transforms(0)["S2L2A"]
    # column 5 of 32 → 26, from the other side; and the crop takes one pixel from each side
    assert np.argwhere(np.isnan(made)).tolist() == [[0, 2, 3 - 1, 26 - 1]]
    assert not dataset[0]["image"]["S2L2A"].isnan().any()


def test_a_normalize_that_only_scales_is_judged_by_the_values(world):
    """As reflectance × 10,000 by 10,000, with means of fractions; one that centers is a standardization."""
    scale = A.Normalize(mean=[0.0] * 2, std=[1.0] * 2, max_pixel_value=10.0)
    tenths = {"means": {"S1RTC": [-1.2, -1.2]}, "stds": {"S1RTC": [0.4, 0.4]}}
    given = {"modalities": ["S1RTC"], "timesteps": [0], "train_transform": [scale, ToTensorV2()]}
    TimStoreDataModule(str(world.root), **given, **tenths).setup("fit")
    far = {"means": {"S1RTC": [-1200.0] * 2}, "stds": {"S1RTC": [4.0] * 2}}
    with pytest.raises(
        ConfigError, match=r"train_transform Normalize and means and stds of the YAML .*Leave Norm"
    ):
        TimStoreDataModule(str(world.root), **given, **far).setup("fit")
    given["train_transform"] = [
        A.Normalize(mean=[-12.0] * 2, std=[4.0] * 2, max_pixel_value=1.0),
        ToTensorV2(),
    ]
    with pytest.raises(
        ConfigError, match="Normalize standardizes what means and stds of the YAML standardize again"
    ):
        TimStoreDataModule(str(world.root), **given, **tenths).setup("fit")


def test_a_chip_under_two_ids_in_two_splits_stops(tmp_path):
    root = tmp_path / "chips"
    splits = {"train": ("a_0_0", "b_0_0"), "val": ("c_0_0",)}
    write_folder_chips(root, [chip_id for ids in splits.values() for chip_id in ids])
    (root / "split").mkdir()
    for split, ids in splits.items():
        (root / "split" / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for chip_id in ids:
            write_tif(root / "MASK" / f"{chip_id}.tif", np.ones((1, 32, 32), np.int8))
    shutil.copy(root / "S1RTC" / "b_0_0.tif", root / "S1RTC" / "c_0_0.tif")
    with pytest.raises(
        ChipSetError, match=r"1 pair of chips of two splits with the same ground or input \(b_0_0 and c_0_0\)"
    ):
        TimStoreDataModule(str(root), modalities=["S1RTC"], means="terramind_v1").setup("fit")
    TimStoreDataModule(str(root), modalities=["S1RTC"], allow_scene_overlap=True).setup("fit")


def test_one_scene_of_all_chips_is_said_as_such(tmp_path):
    root = tmp_path / "chips"
    splits = {"train": ("chip_1_2", "chip_3_4"), "val": ("chip_5_6",)}
    write_folder_chips(root, [chip_id for ids in splits.values() for chip_id in ids])
    (root / "split").mkdir()
    for split, ids in splits.items():
        (root / "split" / f"{split}.txt").write_text("\n".join(ids) + "\n")
    expected = r"makes one scene, 'chip', of all 3 chips, such as chip_1_2; .*--scenes .* such as '\^chip_' for these"
    with pytest.raises(ChipSetError, match=expected):
        assert TimStoreDataModule(str(root), modalities=["S1RTC"]).splits
    assert len(TimStoreDataModule(str(root), modalities=["S1RTC"], scenes="^chip_").splits.scenes) == 3
