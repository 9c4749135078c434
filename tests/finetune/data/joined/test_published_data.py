"""Datamodules and data sets as TerraTorch publishes them, and values that they make of their own samples."""

import json
from types import SimpleNamespace

import albumentations as A  # noqa: N812
import h5py
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from terratorch.datamodules import (
    MSACropTypeNonGeoDataModule,
    MultiTemporalCropClassificationDataModule,
    PASTISDataModule,
)

from finetune import JoinedDataModule
from finetune.data.joined.batch_audit import audit_batches
from finetune.errors import ConfigError
from tests.finetune.data.joined.datamodules import batches, join, multimodal, pixelwise
from tests.finetune.data.joined.test_times import write_pastis
from tests.finetune.model.test_monitors import task_with
from tests.worlds import write_tif

pytestmark = pytest.mark.slow

NO_TRANSFORM = {"train_transform": None}  # nothing to try, which takes longest


def task_of(classes, ignored=-1):
    made = torch.nn.Identity()
    made.hparams = {"model_args": {"num_classes": classes}, "ignore_index": ignored}
    return made


def audited(made, task=None):
    """A baseline's batches of the training split, as the network would get them."""
    return list(batches(JoinedDataModule(made, None), "train", task))


def write_crops(root, bands=13):
    """Crop types of South Africa as GEO-Bench has them: a file a chip, eight bits, and clouds nowhere."""
    folder = root / "m-SA-crop-type"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number in range(3):
        with h5py.File(folder / f"id_{number}.hdf5", "w") as file:
            for band in range(bands):
                values = draw.integers(20, 120, (32, 32)) if band < 12 else np.zeros((32, 32))
                file[f"{band + 1:02d} - band"] = values.astype(np.uint8)
            file["label"] = draw.integers(0, 10, (32, 32)).astype(np.uint8)
    names = [f"id_{number}" for number in range(3)]
    (folder / "default_partition.json").write_text(
        json.dumps({"train": names[:1], "valid": names[1:2], "test": names[2:]})
    )
    return root


def test_a_band_of_deviation_zero_makes_no_images_of_nan(tmp_path):
    """South Africa's crops: TerraTorch's deviation of the cloud probability is 0, so it standardizes to 0/0."""
    root = write_crops(tmp_path)
    with pytest.raises(
        ConfigError, match=r"image: MSACrop\w+ makes NaN or infinity of band 12 .*leave the band out"
    ):
        audited(MSACropTypeNonGeoDataModule(batch_size=1, data_root=str(root)))
    bands = [*MSACropTypeNonGeoDataModule(data_root=str(root)).bands[:12]]
    [batch] = audited(MSACropTypeNonGeoDataModule(batch_size=1, data_root=str(root), bands=bands))
    assert batch["image"].shape == (1, 12, 32, 32)


def write_seasons(root):
    """Crops of three dates as IBM's YAML reads them: bands of each date one after another, labels from 1 to 13."""
    draw = np.random.default_rng(0)
    for split in ("training", "validation"):
        (root / f"{split}_data.txt").parent.mkdir(parents=True, exist_ok=True)
        (root / f"{split}_data.txt").write_text(f"chip_1_{len(split)}\n")
        stem = root / f"{split}_chips" / f"chip_1_{len(split)}"
        write_tif(
            stem.with_name(f"{stem.name}_merged.tif"), draw.integers(200, 4000, (18, 32, 32)).astype(np.int16)
        )
        labels = np.arange(1024).reshape(1, 32, 32) % 13 + 1
        write_tif(stem.with_name(f"{stem.name}.mask.tif"), labels.astype(np.uint8))
    return root


def test_labels_that_are_no_classes_are_a_line(tmp_path):
    root = write_seasons(tmp_path / "crops")

    def crops(**given):
        return MultiTemporalCropClassificationDataModule(
            batch_size=1, data_root=str(root), drop_last=False, **given
        )

    assert len(audited(crops(), task_of(13))) == 1
    with pytest.raises(
        ConfigError, match=r"holds label 13; expected 0 to 12 \(num_classes 13\), or ignore_index -1"
    ):
        audited(crops(reduce_zero_label=False), task_of(13))
    assert len(audited(crops(reduce_zero_label=False), task_of(13, ignored=13))) == 1


@pytest.mark.filterwarnings("ignore:The inplace keyword in GeoDataFrame")  # terratorch, by geopandas
def test_a_datamodule_that_fails_on_its_own_batches_is_a_line(tmp_path):
    """PASTIS: torchgeo's standardization takes no image with time."""
    write_pastis(tmp_path, dict.fromkeys((1, 2, 3, 4, 5), 3))
    made = PASTISDataModule(batch_size=1, data_root=str(tmp_path), norm=False)
    with pytest.raises(
        ConfigError,
        match=r"PASTISDataModule fails where it standardizes a batch of its own: .*TimStoreDataModule",
    ):
        audited(made)


def test_samples_that_are_standardized_before_are_told_so(tiles):
    """By numbers for raw values once more: the remedy is another than for a wrong unit."""
    made = pixelwise(tiles, stds=[1e4] * 12, **NO_TRANSFORM)
    made.setup("fit")
    draw = np.random.default_rng(0).normal(size=(12, 32, 32)).astype(np.float32)
    sample = {"image": torch.from_numpy(draw), "mask": torch.zeros(32, 32, dtype=torch.long)}
    made.train_dataset = [sample]
    made.trainer = SimpleNamespace(training=True)
    with pytest.raises(ConfigError, match="The samples are standardized before; leave one of the two out"):
        audit_batches(made, None)


def test_images_of_nan_are_a_line(tiles):
    made = pixelwise(tiles, **NO_TRANSFORM)
    made.setup("fit")
    image = torch.full((12, 32, 32), torch.nan)
    made.train_dataset = [{"image": image, "mask": torch.zeros(32, 32, dtype=torch.long)}]
    with pytest.raises(
        ConfigError, match=r"image: a sample holds NaN or infinity; give Generic.* no_data_replace: 0"
    ):
        audit_batches(made, None)


def test_terratorch_predicts_only_where_pixels_stay(tiles):
    cropped = multimodal(tiles, test_transform=[A.CenterCrop(16, 16), ToTensorV2()], **NO_TRANSFORM)
    cropped.predict_root = cropped.test_root
    cropped.setup_predict = cropped.setup

    def predict(_stage):
        cropped.setup_predict("test")
        cropped.predict_dataset = cropped.test_dataset

    cropped.setup = predict
    with pytest.raises(
        ConfigError, match="samples to predict crop, scale or move the pixels of 32 px, and terratorch"
    ):
        join(tiles, None, cropped).setup("predict")


def test_monitors_are_those_of_the_joined_task(tiles):
    joined = join(tiles, None, multimodal(tiles, **NO_TRANSFORM))
    stops = [EarlyStopping("val_loss")]
    joined.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=stops)
    joined.trainer.strategy.connect(task_with("ce"))
    joined.trainer.training = True
    with pytest.raises(ConfigError, match="EarlyStopping: monitor val_loss is no metric of this task"):
        joined.setup("fit")
