"""Joined planes reach what is trained: in every loader, in the network, and past the transforms."""

import re

import albumentations as A  # noqa: N812
import pytest
import torch
from albumentations.pytorch import ToTensorV2
from lightning.pytorch import LightningModule
from terratorch.models.model import ModelOutput
from torch import nn

from finetune.data.reach import check_reached
from finetune.errors import ConfigError
from finetune.model.backbone import WidenedProjection
from tests.finetune.data.joined.datamodules import MEANS, STDS, batches, join, multimodal, pixelwise, refused

pytestmark = pytest.mark.slow


class Task(LightningModule):
    """A task whose network is one convolution over the bands that it reads."""

    def __init__(self, bands, *, frozen=False):
        super().__init__()
        self.bands = bands
        self.first = nn.Conv2d(bands, 4, 1)
        self.head = nn.Conv2d(4, 2, 1)
        self.first.requires_grad_(not frozen)

    def forward(self, images):
        return ModelOutput(self.head(self.first(images["S2L2A"][:, : self.bands])))


@pytest.fixture
def joined(tiles, store):
    module = join(tiles, store)
    module.setup("fit")
    return module


def reached(joined, task):
    check_reached(task, joined.datamodule.train_dataset[0], joined.augmentation)


def test_a_network_that_reads_the_planes_is_taken(joined):
    task = Task(22)
    state = {name: value.clone() for name, value in task.state_dict().items()}
    reached(joined, task)
    reached(joined, Task(22, frozen=True))  # what it reads changes what the head learns
    assert task.training
    assert all(torch.equal(value, state[name]) for name, value in task.state_dict().items())


def test_a_network_that_does_not_read_them_is_refused_with_the_arguments_to_set(joined):
    remedy = r"backbone: terramind_tim_store, backbone_architecture .*, and backbone_encoding: \[onehot\]"
    with pytest.raises(ConfigError, match=f"does not read the joined planes.*{remedy}$"):
        reached(joined, Task(12))
    with pytest.raises(ConfigError, match=f"does not read the joined planes.*{remedy} .*channels"):
        reached(joined, Task(23))  # which fails on them


def test_new_columns_that_are_frozen_are_refused(joined):
    task = Task(12)
    task.projection = WidenedProjection(nn.Linear(12 * 256, 8, bias=False), 10, "zero")
    reached(joined, task)  # our own layer, which learns
    task.projection.added.requires_grad_(False)
    with pytest.raises(ConfigError, match=r"projection\.added\.weight is frozen"):
        reached(joined, task)


def test_every_test_set_in_a_list_is_joined(tiles, store):
    """As ImpactMesh's datamodule has several, and makes a loader of each."""
    made = multimodal(tiles)
    setup = made.setup

    def several(stage):
        setup(stage)
        made.test_datasets = [made.test_dataset, made.test_dataset]

    def loaders():
        return [torch.utils.data.DataLoader(dataset) for dataset in made.test_datasets]

    made.setup, made.test_dataloader = several, loaders
    module = join(tiles, store, made)
    module.setup("test")
    assert [set(next(iter(loader))["maps"]) for loader in module.test_dataloader()] == [{"lulc"}] * 2
    made.test_dataloader = lambda: [*loaders(), torch.utils.data.DataLoader([0])]
    with pytest.raises(ConfigError, match="test_dataloader 2 reads a list that was not joined"):
        module.test_dataloader()


def test_transforms_that_destroy_or_invent_are_refused(tiles, store):
    blurred = multimodal(tiles, train_transform=[A.GaussianBlur(p=0.1), ToTensorV2()])
    assert "transform GaussianBlur sets " in refused(join(tiles, store, blurred))
    turned = multimodal(tiles, train_transform=[A.Rotate(limit=(45, 45)), ToTensorV2()])
    with pytest.raises(
        ConfigError, match=r"Rotate makes up to .* get label 0; give it fill_mask: -1, and the task"
    ):
        list(batches(join(tiles, store, turned), "train"))


PLAIN = {"train_transform": None}  # nothing to try, which takes longest


def test_statistics_that_are_not_the_datas_stop_or_are_noted(tiles, store, capsys):
    """Of 100 × class, 0 to 900: mean 450 and deviation 287 in every band."""
    far = {"means": MEANS | {"S2L2A": [1e4] * 12}, "stds": STDS | {"S2L2A": [1e5] * 12}}
    with pytest.raises(
        ConfigError, match=r"^S2L2A: .* by Generic\w+ its bands .* values are 0 to 900\. Give"
    ):
        list(batches(join(tiles, store, multimodal(tiles, **far, **PLAIN)), "train"))
    odd = {"means": MEANS | {"S2L2A": [2450.0] * 12}, "stds": STDS | {"S2L2A": [287.0] * 12}}
    list(batches(join(tiles, None, multimodal(tiles, **odd, **PLAIN)), "train"))  # a baseline's too
    [told] = re.findall(r"note: (.*)", capsys.readouterr().err)
    assert re.match(r"S2L2A: .*means of -7\S* to -[67]\S* and deviations of 1 to 1", told)


def test_burn_scars_of_fractions_need_statistics_of_fractions(tiles):
    """HLS burn scars: reflectance of 0 to 1, standardized by numbers for reflectance × 10,000."""
    fractions = {"constant_scale": 0.0001, "means": [0.045] * 12, "stds": [0.03] * 12}
    list(batches(join(tiles, None, pixelwise(tiles, **fractions, **PLAIN)), "train"))
    scaled = {"constant_scale": 0.0001, "means": [450.0] * 12, "stds": [300.0] * 12}
    with pytest.raises(ConfigError, match=r"^image: .* values are 0 to 0\.09\. Give the datamodule's means"):
        list(batches(join(tiles, None, pixelwise(tiles, **scaled, **PLAIN)), "train"))


def test_one_number_for_several_bands_of_a_datamodule_is_refused(tiles):
    bands = {"dataset_bands": list(range(12)), "output_bands": [3], "means": MEANS["S2L2A"]}
    made = pixelwise(tiles, **bands, stds=STDS["S2L2A"], **PLAIN)
    with pytest.raises(ConfigError, match="image: images of one band become 12 where the datamodule"):
        list(batches(join(tiles, None, made), "train"))


def test_bands_and_names_that_a_datamodule_makes_on_the_way_are_taken(tiles):
    """An index beside the bands, as torchgeo's AppendNDVI makes, and an image under a name of its own."""
    made = pixelwise(tiles, **PLAIN)
    standardize = made.on_after_batch_transfer

    def add(batch, position):
        batch = standardize(batch, position)
        image = torch.cat([batch["image"], batch["image"][:, :1]], dim=1)  # 12 bands → 13
        return batch | {"image": {"image": image, "index": image[:, :1]}}

    made.on_after_batch_transfer = add
    assert len(list(batches(join(tiles, None, made), "train"))) == 3
