"""Chips that TerraTorch's own datamodules read, those datamodules, and what a join with a store makes of them."""

from types import SimpleNamespace

import albumentations as A  # noqa: N812
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2
from terratorch.datamodules import GenericMultiModalDataModule, GenericNonGeoSegmentationDataModule

from augment_store.chips.chip_set import ChipSet
from augment_store.errors import AugmentStoreError
from finetune import JoinedDataModule
from tests.worlds import World, write_tif

SPLITS = {"train": ("a_0_0", "a_0_1", "b_0_0"), "val": ("c_0_0",), "test": ("d_0_0", "d_0_1")}
MEANS = {"S2L2A": [200.0] * 12, "S1RTC": [-12.0, -18.0]}
STDS = {"S2L2A": [100.0] * 12, "S1RTC": [4.0, 4.0]}


class Tiles(World):
    """Chips in the layout of TerraTorch's generic multimodal data."""

    @property
    def chips(self):
        return ChipSet.open(self.root)


def classes(chip_id, shape=(32, 32)):
    """A class for each pixel, on which no turn of the chip is the chip again."""
    return np.random.default_rng(sum(chip_id.encode())).integers(0, 10, shape)


def as_lulc(ids):
    return {chip_id: {"lulc": classes(chip_id).astype(np.uint8)[None, None]} for chip_id in ids}


def write_tiles(root, shape=(32, 32)):
    (root / "split").mkdir(parents=True)
    for split, ids in SPLITS.items():
        (root / f"split/{split}.txt").write_text("\n".join(ids) + "\n")
        for chip_id in ids:
            kinds = classes(chip_id, shape)
            radar = np.random.default_rng(0).normal(-12, 4, (2, *shape)).astype(np.float32)
            write_tif(root / f"S2L2A/{chip_id}_S2L2A.tif", np.stack([100 * kinds] * 12).astype(np.int16))
            write_tif(root / f"S1RTC/{chip_id}_S1RTC.tif", radar)
            write_tif(root / f"MASK/{chip_id}_MASK.tif", (kinds % 2)[None].astype(np.int16))
    return Tiles(root)


def multimodal(tiles, **changed):
    """TerraTorch's datamodule over the tiles."""
    roots = {name: str(tiles.root / name) for name in ("S2L2A", "S1RTC")}
    given = {"task": "segmentation", "num_classes": 2, "modalities": list(roots), "batch_size": 1}
    for split in SPLITS:
        given |= {f"{split}_data_root": roots, f"{split}_label_data_root": str(tiles.root / "MASK")}
        given[f"{split}_split"] = str(tiles.root / f"split/{split}.txt")
    given |= {"image_grep": {name: f"*_{name}.tif" for name in roots}, "label_grep": "*_MASK.tif"}
    given |= {"means": MEANS, "stds": STDS, "train_transform": [A.D4(), ToTensorV2()]}
    return GenericMultiModalDataModule(**given | changed)


def pixelwise(tiles, **changed):
    """TerraTorch's datamodule for one modality, whose image is a tensor."""
    given = {
        "batch_size": 1,
        "num_workers": 0,
        "num_classes": 2,
        "img_grep": "*_S2L2A.tif",
        "label_grep": "*_MASK.tif",
    }
    for split in SPLITS:
        given |= {
            f"{split}_data_root": str(tiles.root / "S2L2A"),
            f"{split}_label_data_root": str(tiles.root / "MASK"),
        }
        given[f"{split}_split"] = str(tiles.root / f"split/{split}.txt")
    given |= {"means": MEANS["S2L2A"], "stds": STDS["S2L2A"], "train_transform": [A.D4(), ToTensorV2()]}
    return GenericNonGeoSegmentationDataModule(**given | changed)


def join(tiles, store, made=None, **changed):
    given = {"chip_files": "{id}_S2L2A.tif", "chips": str(tiles.root)}
    augment = None if store is None else str(store)
    return JoinedDataModule(made or multimodal(tiles), augment, **given | changed)


def batches(joined, split, task=None):
    """Batches of a split as the model gets them."""
    joined.trainer = SimpleNamespace(
        training=split == "train",
        validating=split == "val",
        testing=split == "test",
        sanity_checking=False,
        lightning_module=task or torch.nn.Identity(),
    )
    joined.setup("test" if split == "test" else "fit")
    for batch in getattr(joined, f"{split}_dataloader")():
        yield joined.on_after_batch_transfer(batch, 0)


def refused(joined, stage="fit"):
    with pytest.raises(AugmentStoreError) as caught:
        joined.setup(stage)
    message = str(caught.value)
    assert "\n" not in message
    return message
