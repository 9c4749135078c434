"""TerraTorch's own datamodules joined with a store: by Python, and by `terratorch fit` and `test`."""

import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import albumentations as A  # noqa: N812
import numpy as np
import pytest
import torch
import yaml
from albumentations.pytorch import ToTensorV2

from augment_store.errors import AugmentStoreError
from augment_store.modalities.definitions import NDVI
from finetune.data.joined.dataset import find_id
from finetune.options import CONFIGS
from tests.conftest import ROOT
from tests.finetune.data.joined.datamodules import SPLITS, batches, classes, join, multimodal, pixelwise

pytestmark = pytest.mark.slow

DOCS = ROOT / "docs" / "how-to" / "other_datamodules.md"


@pytest.mark.parametrize("kind", [multimodal, pytest.param(pixelwise, marks=pytest.mark.nightly)])
def test_planes_turn_with_the_image_and_its_mask(tiles, store, kind):
    joined = join(tiles, store, kind(tiles))
    turned = 0
    for _ in range(2):
        for batch in batches(joined, "train"):
            image = batch["image"]["S2L2A"] if kind is multimodal else batch["image"]
            assert image.shape == (1, 12 + 10, 32, 32)
            seen = image[:, 12:].argmax(1)
            assert torch.equal(image[:, 12:].sum(1), torch.ones(1, 32, 32))
            # standardised by the datamodule: (100 × class − 200) / 100, and the planes as they are
            assert torch.equal(image[:, 0], seen - 2.0)
            assert torch.equal(batch["mask"], seen % 2)
            files = batch["filename"]["S2L2A"] if kind is multimodal else batch["filename"]
            chip_id = Path(files[0]).name.removesuffix("_S2L2A.tif")
            assert torch.equal(
                seen[0].flatten().sort().values, torch.tensor(np.sort(classes(chip_id), axis=None))
            )
            turned += not np.array_equal(seen[0], classes(chip_id))
            assert "maps" not in batch
    assert turned > 0  # six draws of eight turns


def test_without_transforms_each_chip_has_its_own_maps(tiles, store):
    joined = join(tiles, store)
    for batch, chip_id in zip(batches(joined, "test"), SPLITS["test"], strict=True):
        assert np.array_equal(batch["image"]["S2L2A"][0, 12:].argmax(0), classes(chip_id))
    assert [sample.chip_id for sample in joined.samples["test"]] == list(SPLITS["test"])


def test_crops_take_the_same_pixels(tiles, store):
    cropped = multimodal(tiles, train_transform=[A.RandomCrop(16, 16), ToTensorV2()])
    for batch in batches(join(tiles, store, cropped), "train"):
        image = batch["image"]["S2L2A"]
        assert image.shape == (1, 22, 16, 16)
        assert torch.equal(image[:, 0], image[:, 12:].argmax(1) - 2.0)


def test_encodings_and_controls_are_those_of_our_own_datamodule(tiles, store):
    [batch] = batches(join(tiles, store, encoding=["modality", "index"]), "val")
    assert {name: image.shape[1] for name, image in batch["image"].items()} == {
        "S2L2A": 12,
        "S1RTC": 2,
        "TIM": 1,
    }
    assert torch.allclose(batch["image"]["TIM"][:, 0] * 9, batch["image"]["S2L2A"][:, 0] + 2)
    constant = join(tiles, store, control="constant")
    [batch] = batches(constant, "val")
    assert torch.equal(batch["image"]["S2L2A"][:, 12], torch.ones(1, 32, 32))
    ndvi = next(iter(batches(join(tiles, store, control="analytic-ndvi"), "test")))
    lit = torch.from_numpy(
        classes("d_0_0") > 0
    )  # NIR equals red, so NDVI is 0, and undefined where both are 0
    assert ndvi["image"]["S2L2A"].shape[1] == 13
    assert torch.allclose(
        ndvi["image"]["S2L2A"][0, 12][lit], torch.tensor(-NDVI.mean[0] / NDVI.std[0]), atol=1e-3
    )
    shuffled = join(tiles, store, control="shuffle")
    found = [batch["image"]["S2L2A"][0, 12:].argmax(0) for batch in batches(shuffled, "test")]
    assert np.array_equal(found[0], classes("d_0_1"))
    assert np.array_equal(found[1], classes("d_0_0"))


def test_samples_to_predict(tiles, store):
    roots = {name: str(tiles.root / name) for name in ("S2L2A", "S1RTC")}
    joined = join(tiles, store, multimodal(tiles, predict_data_root=roots))
    joined.setup("predict")
    batch = next(iter(joined.predict_dataloader()))
    assert "mask" not in batch
    assert np.array_equal(batch["maps"]["lulc"][0, 0], classes("a_0_0"))
    assert [sample.chip_id for sample in joined.samples["predict"]] == sorted(tiles.ids)


def test_a_worker_process_gets_the_same_samples(tiles, store):
    joined = join(tiles, store)
    joined.setup("test")
    own = joined.datamodule.test_dataset
    sent = pickle.loads(pickle.dumps(own))
    assert torch.equal(sent[1]["maps"]["lulc"], own[1]["maps"]["lulc"])
    assert sent.num_classes == 2  # asked of TerraTorch's dataset behind it


def test_without_chips_the_join_by_name_is_said(tiles, store):
    joined = join(tiles, store, chips=None)
    with pytest.warns(UserWarning, match=rf"{store}: joined by file name alone"):
        joined.setup("test")
    assert joined.hparams["joined"]["inputs_compared"] is False
    assert join(tiles, store).hparams["joined"]["inputs_compared"] is True


@pytest.mark.parametrize("kind", [multimodal, pixelwise])
def test_without_a_store_samples_are_the_datamodules_own(tiles, kind):
    """A baseline under the same YAML: the store's other arguments stay, and are of no effect."""
    baseline = join(tiles, None, kind(tiles, train_transform=None), encoding=["onehot"])
    own = kind(tiles, train_transform=None)
    for found, expected in zip(batches(baseline, "val"), own_batches(own), strict=True):
        assert sorted(found) == sorted(expected)
        for name in ("image", "mask"):
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)
    assert (baseline.hparams["joined"]["store"], baseline.hparams["joined"]["planes"]) == ("", [])
    with pytest.raises(AugmentStoreError, match="control shuffle without a store; name one with augment"):
        join(tiles, None, control="shuffle")


def own_batches(datamodule):
    """Batches of the validation split without a join."""
    datamodule.trainer = SimpleNamespace(
        training=False, validating=True, testing=False, sanity_checking=False
    )
    datamodule.setup("fit")
    for batch in datamodule.val_dataloader():
        yield datamodule.on_after_batch_transfer(batch, 0)


@pytest.mark.parametrize(
    ("name", "pattern", "found"),
    [
        ("a.b.tif", "{id}", "a.b"),
        ("a.zarr.zip", "{id}", "a"),
        ("10000", "{id}", "10000"),
        ("a_S2.tif", "{id}_S2.tif", "a"),
        ("_S2.tif", "{id}_S2.tif", None),
        ("S2_7.npy", "S2_{id}.npy", "7"),
    ],
)
def test_the_id_in_a_name(name, pattern, found):
    assert find_id(name, pattern) == found


def shown(tiles, store, tmp_path):
    """The YAML that the documentation shows, for the tiles, with a tiny network."""
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    [block] = [block for block in blocks if block.startswith("# joined")]
    block = block.replace("data/mine", str(tiles.root)).replace("stores/mine_lulc", str(store))
    config = yaml.safe_load((CONFIGS / "nyc_tim_lulc.yaml").read_text())
    config["data"] = yaml.safe_load(block)
    config["data"]["init_args"]["datamodule"]["init_args"] |= {"batch_size": 1, "num_workers": 0}
    model = config["model"]["init_args"]
    for key in ("class_names", "class_weights", "tiled_inference_parameters"):
        del model[key]
    arguments = model["model_args"]
    for key in ("use_temporal", "temporal_pooling", "temporal_n_timestamps"):
        del arguments[f"backbone_{key}"]
    arguments |= {"num_classes": 2, "decoder_channels": [16, 8, 8, 8], "backbone_pretrained": False}
    arguments |= {"backbone_architecture": "terramind_v1_tiny", "backbone_modalities": ["S2L2A", "S1RTC"]}
    config["trainer"] = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "num_sanity_val_steps": 0,
        "logger": {
            "class_path": "lightning.pytorch.loggers.CSVLogger",
            "init_args": {"save_dir": str(tmp_path), "name": "logs", "version": 0},
        },
        "callbacks": [
            {
                "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                "init_args": {"dirpath": str(tmp_path / "kept"), "filename": "end"},
            }
        ],
    }
    path = tmp_path / "joined.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.filterwarnings(
    "ignore:\\s+Instantiating a subclass spec"
)  # terratorch's transforms are typed Any
def test_terratorch_fit_and_test_as_documented(tiles, store, tmp_path, monkeypatch):
    from terratorch.cli_tools import build_lightning_cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["terratorch"])
    config = shown(tiles, store, tmp_path)
    cli = build_lightning_cli(["fit", "--config", str(config)])
    assert cli.trainer.state.finished
    [added] = [value for name, value in cli.model.named_parameters() if name.endswith("added.weight")]
    assert added.shape[1] == 10 * 16**2
    assert added.count_nonzero() > 0  # it began at zero, so the planes were seen
    logged = yaml.safe_load((tmp_path / "logs/version_0/hparams.yaml").read_text())["joined"]
    assert logged["store"] == str(store)
    assert len(logged["planes"]) == 10
    kept = torch.load(tmp_path / "kept/end.ckpt", weights_only=False)
    assert kept["datamodule_hyper_parameters"]["joined"] == logged
    last = ["--ckpt_path", str(tmp_path / "kept/end.ckpt"), "--trainer.logger", "false"]
    cli = build_lightning_cli(["test", "--config", str(config), *last])
    right = []
    for batch in batches(cli.datamodule, "test"):
        with torch.no_grad():
            predicted = cli.model.eval()(batch["image"]).output.argmax(1)
        right.append((predicted == batch["mask"]).float().mean())
    assert len(right) == 2
    baseline = ["--data.init_args.augment", "null", "--model.init_args.model_args.backbone_encoding", "[]"]
    assert " ".join(baseline) in " ".join(DOCS.read_text(encoding="utf-8").split())
    plain = build_lightning_cli(["fit", "--config", str(config), *baseline, "--trainer.fast_dev_run", "true"])
    assert plain.trainer.state.finished
    assert not any(name.endswith("added.weight") for name, _ in plain.model.named_parameters())
    found = float(cli.trainer.callback_metrics["test/Pixel_Accuracy"])
    assert found == pytest.approx(float(sum(right) / 2), abs=1e-6)
