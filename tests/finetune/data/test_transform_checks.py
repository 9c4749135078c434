"""Transforms tried on a real sample: values they clip, labels they invent, shapes, and where pixels end up."""

import albumentations as A  # noqa: N812
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2

from augment_store.chips.georeference import Georeference
from finetune.data.transform_checks import PixelGrid, check_values, find_fill, find_grid
from finetune.data.transforms import SampleTransform, one_shape
from finetune.errors import ConfigError

DRAW = np.random.default_rng(0)
REFLECTANCE = {"S2L2A": DRAW.uniform(100, 3000, (32, 32, 12)).astype(np.float32)}
DECIBELS = {"S1RTC": DRAW.normal(-12, 4, (32, 32, 2)).astype(np.float32)}
FRACTIONS = {"S2L2A": DRAW.uniform(0, 0.6, (32, 32, 6)).astype(np.float32)}
SHAPE = (32, 32)


@pytest.mark.parametrize("images", [REFLECTANCE, DECIBELS])
@pytest.mark.parametrize(
    "step",
    [
        A.GaussianBlur(),
        A.RandomBrightnessContrast(),
        A.GaussNoise(p=0.1),
        A.MultiplicativeNoise(),
        A.Sharpen(),
    ],
)
def test_photometric_transforms_that_clip_are_refused(images, step):
    modality = next(iter(images))
    with pytest.raises(
        ConfigError, match=rf"{type(step).__name__} sets .* of the values of {modality} to 0 or 1"
    ):
        check_values([A.HorizontalFlip(), A.OneOf([A.D4(), step])], images, np.ones(SHAPE, np.int64))


def test_transforms_that_keep_the_values_are_taken():
    scaled = [A.GaussianBlur(), A.RandomBrightnessContrast(), A.GaussNoise()]
    check_values(scaled, FRACTIONS, None)  # reflectance of 0 to 1 is what they are made for
    kept = [A.D4(), A.ToFloat(max_value=65535), A.Normalize(mean=[0.5] * 12, std=[0.2] * 12), ToTensorV2()]
    check_values(kept, REFLECTANCE, np.ones(SHAPE, np.int64))
    check_values([A.ChannelDropout(), A.CoarseDropout()], DECIBELS, None)
    check_values([A.GaussianBlur()], {"S2L2A": np.zeros((32, 32, 12), np.float32)}, None)  # shows nothing


def test_a_transform_that_fails_or_flattens_is_refused():
    with pytest.raises(ConfigError, match=r"CLAHE fails on a chip of this data set: .*; leave it out"):
        check_values([A.CLAHE()], REFLECTANCE, None)
    with pytest.raises(ConfigError, match=r"MedianBlur leaves \d\.\d% of the different values of S2L2A"):
        check_values([A.MedianBlur()], FRACTIONS, None)


@pytest.mark.parametrize(
    ("step", "makes"),
    [
        (A.Rotate(limit=(45, 45)), True),
        (A.PadIfNeeded(48, 48), True),
        (A.Affine(translate_percent=0.2), True),
        (A.ThinPlateSpline(), True),
        (A.CropAndPad(px=-4), False),
        (A.Rotate(limit=(45, 45), border_mode=4), False),  # reflects the image
        (A.D4(), False),
        (A.CoarseDropout(), False),
        (A.GaussianBlur(), False),
    ],
)
def test_pixels_without_an_image_are_found(step, makes):
    fill = find_fill([step], SHAPE)
    assert (fill is not None) == makes
    assert fill is None or fill.labels == {0}


def test_pixels_without_an_image_are_ignored_and_not_generated():
    transform = SampleTransform([A.PadIfNeeded(48, 48, p=1), ToTensorV2()], ("S2L2A",), ("lulc", "ndvi"), 1)
    maps = {"lulc": np.ones((1, 32, 32), np.uint8), "ndvi": np.full((1, 32, 32), 5000, np.int16)}
    image = {"S2L2A": np.ones((12, 32, 32), np.float32)}
    _, mask, moved = transform(image, np.ones(SHAPE, np.int64), maps, 0)
    assert (mask == 1).sum() == 32 * 32
    assert (mask[:8] == -1).all()
    assert moved["lulc"].unique().tolist() == [1, 255]
    assert moved["ndvi"].unique().tolist() == [-32768, 5000]
    assert (mask[8:40, 8:40] == 1).all()


def test_labels_of_a_fill_are_no_labels_of_the_chip():
    transform = SampleTransform([A.CoarseDropout(fill_mask=1, p=1), ToTensorV2()], ("S2L2A",), (), 1)
    _, mask, _ = transform({"S2L2A": np.ones((12, 32, 32), np.float32)}, np.zeros(SHAPE, np.int64), {}, 0)
    assert mask.unique().tolist() == [-1, 0]
    assert find_fill([A.CoarseDropout(fill_mask=1)], SHAPE).labels == {1}


def test_images_of_several_sizes_are_refused():
    def shape_of(steps):
        transform = SampleTransform(steps, ("S2L2A",), (), 1)
        image = {"S2L2A": np.ones((12, 32, 32), np.float32)}
        return one_shape(
            lambda: transform(image, None, {}, int(torch.randint(2**31, ())))[0]["S2L2A"].shape[1:], steps
        )

    with pytest.raises(
        ConfigError, match=r"transforms RandomScale make images of .* do not fit into one batch"
    ):
        shape_of([A.HorizontalFlip(), A.RandomScale(p=1)])
    with pytest.raises(ConfigError, match=r"transforms RandomCrop make images of 16 px and of 32 px"):
        shape_of([A.RandomCrop(16, 16, p=0.5)])
    assert shape_of([A.RandomScale(), A.RandomCrop(16, 16), A.D4()]) == (16, 16)


@pytest.mark.parametrize(
    ("steps", "grid"),
    [
        (None, PixelGrid()),
        ([A.GaussianBlur(p=1), ToTensorV2()], PixelGrid()),
        ([A.CenterCrop(16, 16)], PixelGrid(row=8, column=8)),
        ([A.Crop(4, 8, 20, 28)], PixelGrid(row=8, column=4)),
        ([A.Resize(64, 64)], PixelGrid(rows=0.5, columns=0.5)),
        ([A.Resize(24, 16)], PixelGrid(rows=32 / 24, columns=2)),
        ([A.Resize(31, 33, interpolation=0)], PixelGrid(rows=32 / 31, columns=32 / 33)),
        ([A.CenterCrop(16, 16), A.Resize(32, 32)], PixelGrid(8, 0.5, 8, 0.5)),
        ([A.Sequential([A.CropAndPad(px=-4, p=1)], p=1)], PixelGrid(4, 0.75, 4, 0.75)),
        ([A.HorizontalFlip(p=1)], PixelGrid(column=32, columns=-1)),
        ([A.CenterCrop(16, 16), A.VerticalFlip(p=1)], PixelGrid(row=24, rows=-1, column=8)),
        ([A.HorizontalFlip(p=0.5)], None),
        ([A.RandomCrop(16, 16)], None),
        ([A.Rotate(limit=(45, 45), p=1)], None),
        ([A.Transpose(p=1)], None),
        ([A.PadIfNeeded(48, 48)], None),
    ],
)
def test_where_pixels_come_from(steps, grid):
    assert find_grid(steps, SHAPE) == grid


def test_a_crop_and_a_flip_have_a_georeference_of_their_own():
    chip = Georeference("EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 4200000.0))
    crop = PixelGrid(row=8, column=4).place(chip)
    assert crop.transform == (10.0, 0.0, 500040.0, 0.0, -10.0, 4199920.0)
    flip = PixelGrid(column=32, columns=-1).place(chip)
    assert flip.transform == (-10.0, 0.0, 500320.0, 0.0, -10.0, 4200000.0)
    finer = PixelGrid(rows=0.5, columns=0.5).place(chip)
    assert finer.transform == (5.0, 0.0, 500000.0, 0.0, -5.0, 4200000.0)
