"""What a join with TerraTorch's own datamodules refuses, each in one line."""

import re
import warnings

import albumentations as A  # noqa: N812
import kornia.augmentation as K  # noqa: N812
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2
from terratorch.models.necks import ReshapeTokensToImage

from augment_store.errors import AugmentStoreError
from augment_store.store.chip_index import ChipEntry
from finetune.errors import ConfigError
from tests.finetune.data.joined.datamodules import (
    as_lulc,
    batches,
    classes,
    join,
    multimodal,
    pixelwise,
    refused,
    write_tiles,
)
from tests.worlds import make_spec, make_store, store_of, write_tif

pytestmark = pytest.mark.slow


def test_names_that_are_no_chip(tiles, store):
    message = refused(join(tiles, store, chip_files="{id}"))
    assert message == (
        f"a_0_0_S2L2A.tif: chip a_0_0_S2L2A of {store}: not in it (and 2 more). It has chips such as a_0_0; say with "
        "chip_files how names hold that id, as {id}_S2L2A.tif"
    )
    message = refused(join(tiles, store, chip_files="{id}_L2A.tif"))
    assert re.search(r"no file name of sample .*a_0_0_S2L2A\.tif matches chip_files '{id}_L2A\.tif'", message)
    with pytest.raises(AugmentStoreError, match=r"chip_files 'a'; expected \{id\} once"):
        join(tiles, store, chip_files="a")


def test_a_chip_that_is_not_generated_yet(tiles, tmp_path):
    path = tmp_path / "store"
    pending = set(tiles.ids) - {"a_0_0", "b_0_0"}
    store_of(tiles.chips, path, make_spec(inputs=("S2L2A",)), pending=pending, given=as_lulc(tiles.ids))
    message = refused(join(tiles, path))
    assert (
        f"a_0_1_S2L2A.tif: chip a_0_1 of {path}: not complete. Generate it with: the tim-generate" in message
    )


def test_inputs_that_are_not_the_stores(tiles, tmp_path):
    """The store was generated from radar, which this datamodule does not read: it is the chip that must be the same."""
    path, radar = tmp_path / "radar", tiles.root / "S1RTC/a_0_1_S1RTC.tif"
    store_of(tiles.chips, path, make_spec(inputs=("S1RTC",)), given=as_lulc(tiles.ids))
    join(tiles, path, pixelwise(tiles)).setup("fit")
    before = radar.read_bytes()
    write_tif(radar, np.zeros((2, 32, 32), np.float32))
    try:
        message = refused(join(tiles, path, pixelwise(tiles)))
    finally:
        radar.write_bytes(before)
    assert message.startswith(
        f"{path}: 1 chip (a_0_1): content differs from what the store was generated from"
    )


def test_a_chip_set_that_is_not_the_one_read(tiles, store, tmp_path):
    other = tmp_path / "other"
    for chip_id in tiles.ids:
        write_tif(
            other / f"S2L2A/{chip_id}_S2L2A.tif", np.stack([100 * classes(chip_id)] * 12).astype(np.int16)
        )
        (other / "S1RTC").mkdir(exist_ok=True)
        (other / f"S1RTC/{chip_id}_S1RTC.tif").write_bytes(
            (tiles.root / f"S1RTC/{chip_id}_S1RTC.tif").read_bytes()
        )
    message = refused(join(tiles, store, chips=str(other)))
    read = tiles.root / "S2L2A/a_0_0_S2L2A.tif"
    assert message.startswith(
        f"{read}: not a file of chip a_0_0 under {other}, with which {store} is compared"
    )
    assert f"{read}: not a file of chip a_0_0" in refused(
        join(tiles, store, pixelwise(tiles), chips=str(other))
    )


def test_sizes_and_times_that_differ(tiles, store, tmp_path):
    path = tmp_path / "small"
    entries = [ChipEntry(chip_id, "s") for chip_id in tiles.ids]
    make_store(path, len(entries), 16, entries=entries)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        message = refused(join(tiles, path, chips=None))
        assert message == (
            f"a_0_0_S2L2A.tif, chip a_0_0 of {path}: 32 px before its transforms, 16 px in the store"
        )
        make_store(tmp_path / "three", len(entries), 32, 3, entries=entries)
        message = refused(
            join(tiles, tmp_path / "three", multimodal(tiles, train_transform=None), chips=None)
        )
        assert "the image has 1 timestep, but 3 of the store are joined; name those" in message
        chosen = join(tiles, tmp_path / "three", chips=None, timesteps=[2])
        chosen.setup("fit")
        read = chosen.datamodule.val_dataset[0]["maps"]["lulc"]
    assert np.array_equal(read[0], chosen.augmentation.store.read("c_0_0", "lulc")[0, 2])
    with pytest.raises(AugmentStoreError, match=r"timesteps \[3\]; .*three has 3 timesteps"):
        join(tiles, tmp_path / "three", timesteps=[3])


def test_transforms_that_cannot_take_maps_along(tiles, store):
    single = {name: [A.D4(), ToTensorV2()] for name in ("S2L2A", "S1RTC")}
    message = refused(join(tiles, store, multimodal(tiles, train_transform=single)))
    assert "transform D4 moves each modality by itself" in message
    moving = multimodal(tiles)
    moving.train_aug = K.AugmentationSequential(K.RandomHorizontalFlip(p=1.0), data_keys=None)
    assert "train_aug has Kornia's RandomHorizontalFlip" in refused(join(tiles, store, moving))
    with pytest.raises(
        AugmentStoreError, match="encoding tokens: samples of another datamodule are joined with"
    ):
        join(tiles, store, encoding=["tokens"])
    assert "planes can only be bands" in refused(join(tiles, store, pixelwise(tiles), encoding=["modality"]))


BOTH_ARMS = ["candidate", pytest.param("baseline", marks=pytest.mark.nightly)]


@pytest.mark.parametrize("arm", BOTH_ARMS)
def test_images_that_the_network_would_lay_out_wrongly(tiles, store, arm):
    neck = ReshapeTokensToImage([16], remove_cls_token=False, h=3)
    joined = join(tiles, store if arm == "candidate" else None)
    with pytest.raises(ConfigError, match=r"images of 32 px have 2 × 2 tokens, .* would lay out in 3 rows"):
        next(batches(joined, "train", neck))


@pytest.mark.parametrize("arm", BOTH_ARMS)
@pytest.mark.parametrize("kind", [multimodal, pytest.param(pixelwise, marks=pytest.mark.nightly)])
def test_turns_of_images_that_are_not_square(tmp_path, arm, kind):
    """TerraTorch would set the batch size to 1, and a neck told its rows would scramble those that were turned."""
    tiles = write_tiles(tmp_path / "mine", (32, 64))
    store_of(tiles.chips, tmp_path / "store", make_spec(inputs=("S2L2A", "S1RTC")))
    joined = join(tiles, tmp_path / "store" if arm == "candidate" else None, kind(tiles))
    with pytest.raises(ConfigError, match="transform D4 turns some images of 32 × 64 px by 90°"):
        next(batches(joined, "train"))


def test_one_name_in_two_splits_is_no_chip(tiles, store):
    """As train/0001.tif and val/0001.tif, which would both be given the maps of one chip."""
    moved = multimodal(tiles)
    begin = moved.setup

    def setup(stage):
        begin(stage)
        for dataset in (moved.train_dataset, moved.val_dataset):
            dataset.samples = [
                {name: str(file).replace("c_0_0", "a_0_0") for name, file in sample.items()}
                for sample in dataset.samples
            ]
        moved.val_dataset.samples = [
            {name: f"elsewhere/{file}" for name, file in sample.items()}
            for sample in moved.val_dataset.samples
        ]

    moved.setup = setup
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joined by file name alone
        assert "are both chip a_0_0; correct chip_files" in refused(join(tiles, store, moved, chips=None))


def test_a_datamodule_that_tells_nothing_of_its_files(tiles, store):
    silent = multimodal(tiles)
    silent.setup = lambda stage: setattr(silent, "test_dataset", [{"image": torch.zeros(12, 32, 32)}])
    assert "test split: list does not list what it reads" in refused(join(tiles, store, silent), "test")
    silent.test_dataset, silent.setup = None, lambda stage: None
    assert "GenericMultiModalDataModule has no test_dataset after its setup" in refused(
        join(tiles, store, silent), "test"
    )


def test_two_files_of_one_chip(tiles, store):
    twice, files = multimodal(tiles), ["x/a_0_0_S2L2A.tif", "y/a_0_0_S2L2A.tif"]
    listed = type("Listed", (list,), {"image_files": files})(files)
    twice.setup = lambda stage: setattr(twice, "test_dataset", listed)
    assert refused(join(tiles, store, twice), "test") == (
        "x/a_0_0_S2L2A.tif and y/a_0_0_S2L2A.tif are both chip a_0_0; correct chip_files, the pattern that finds the "
        "id in a file's name"
    )
