"""Symmetries of the square: which ones an augmentation draws, and which one it has drawn."""

import albumentations as A  # noqa: N812
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2
from terratorch.datasets.transforms import FlattenTemporalIntoChannels, UnflattenTemporalFromChannels

from finetune.data.transforms import SampleTransform
from finetune.errors import ConfigError
from finetune.features.symmetries import TURNS, drawn_symmetry, motions_of, symmetries_of, turned

pytestmark = pytest.mark.slow

EIGHT = ("e", "r90", "r180", "r270", "h", "v", "t", "hvt")


def temporal(*steps):
    return [
        FlattenTemporalIntoChannels(),
        *steps,
        ToTensorV2(),
        UnflattenTemporalFromChannels(n_timesteps=2),
    ]


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        (None, ("e",)),
        ([ToTensorV2()], ("e",)),
        ([A.HorizontalFlip()], ("e", "h")),
        ([A.HorizontalFlip(), A.VerticalFlip()], ("e", "r180", "h", "v")),
        ([A.RandomRotate90()], ("e", "r90", "r180", "r270")),
        (temporal(A.D4()), EIGHT),
        ([A.OneOf([A.Transpose(), A.HorizontalFlip()])], EIGHT),
    ],
)
def test_the_group_of_an_augmentation(transforms, expected):
    assert symmetries_of(transforms, "train") == expected


def test_anything_else_is_refused_with_the_remedy():
    with pytest.raises(ConfigError, match=r"train_transform RandomCrop: .*train without --features"):
        symmetries_of([A.D4(), A.RandomCrop(16, 16)], "train")


def test_turns_of_four_pixels_by_hand():
    image = np.array([[0, 1], [2, 3]])
    found = {name: turn(image).tolist() for name, turn in TURNS.items()}
    assert found["r90"] == [[1, 3], [0, 2]]  # counterclockwise
    assert found["h"] == [[1, 0], [3, 2]]
    assert found["v"] == [[2, 3], [0, 1]]
    assert found["t"] == [[0, 2], [1, 3]]
    assert found["hvt"] == [[3, 1], [2, 0]]


MIXED = (A.OneOf([A.HorizontalFlip(p=0.5), A.Transpose(p=1)], p=0.7), A.RandomRotate90(p=0.5))


@pytest.mark.parametrize("steps", [(A.D4(p=1),), MIXED])
def test_the_symmetry_is_the_one_that_the_image_would_have_got(steps):
    image = np.arange(3 * 2 * 8 * 8, dtype=np.float32).reshape(3, 2, 8, 8)
    mask = np.arange(64).reshape(8, 8)
    whole = SampleTransform(temporal(*steps), ["S2L2A"], [], 2)
    bare = SampleTransform(motions_of(temporal(*steps)), ["positions"], [], 1)
    drawn = set()
    for seed in range(60):
        images, moved, _ = whole({"S2L2A": image}, mask, {}, seed)
        positions, same, _ = bare({"positions": mask[None].astype(np.float32)}, mask, {}, seed)
        name = drawn_symmetry(positions["positions"][0])
        drawn.add(name)
        assert torch.equal(moved, same)
        assert np.array_equal(images["S2L2A"].numpy(), turned({"S2L2A": image}, [name])[0]["S2L2A"])
    assert len(drawn) > 4  # whichever the seeds happen to draw
