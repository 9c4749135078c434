"""TerraTorch's own datamodules joined with a store: by Python, and by `terratorch fit` and `test`."""

import json
import pickle
import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import albumentations as A  # noqa: N812
import kornia.augmentation as K  # noqa: N812
import numpy as np
import pytest
import torch
import yaml
from albumentations.pytorch import ToTensorV2
from terratorch.datamodules import (
    GenericMultiModalDataModule,
    GenericNonGeoSegmentationDataModule,
    PASTISDataModule,
)
from terratorch.datasets.transforms import FlattenTemporalIntoChannels, UnflattenTemporalFromChannels
from terratorch.models.necks import ReshapeTokensToImage

from augment_store.chips.chip_set import ChipSet
from augment_store.entries import ChipEntry
from augment_store.errors import AugmentStoreError
from augment_store.modalities import NDVI
from finetune import JoinedDataModule
from finetune.data.joined_dataset import find_id
from finetune.errors import ConfigError
from finetune.options import CONFIGS
from tests.worlds import World, make_spec, make_store, store_of, write_tif

SPLITS = {"train": ("a_0_0", "a_0_1", "b_0_0"), "val": ("c_0_0",), "test": ("d_0_0", "d_0_1")}
MEANS = {"S2L2A": [200.0] * 12, "S1RTC": [-12.0, -18.0]}
STDS = {"S2L2A": [100.0] * 12, "S1RTC": [4.0, 4.0]}
DOCS = Path(__file__).parents[2] / "docs/formats.md"


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


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Every Sentinel-2 band is 100 × the class that the store has for the pixel; the mask is whether it is odd."""
    return write_tiles(tmp_path_factory.mktemp("tiles") / "mine")


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


@pytest.fixture(scope="module")
def store(tiles, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "lulc"
    store_of(tiles.chips, path, make_spec(inputs=("S2L2A", "S1RTC")), given=as_lulc(tiles.ids))
    return path


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


@pytest.mark.parametrize("kind", [multimodal, pixelwise])
def test_planes_turn_with_the_image_and_its_mask(tiles, store, kind):
    joined = join(tiles, store, kind(tiles))
    turned = 0
    for _ in range(4):
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
    assert turned > 0  # twelve draws of eight turns


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


def refused(joined, stage="fit"):
    with pytest.raises(AugmentStoreError) as caught:
        joined.setup(stage)
    message = str(caught.value)
    assert "\n" not in message
    return message


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
        f"a_0_1_S2L2A.tif: chip a_0_1 of {path}: not complete. Generate it with: the python -m generate"
        in message
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


def test_without_chips_the_join_by_name_is_said(tiles, store):
    joined = join(tiles, store, chips=None)
    with pytest.warns(UserWarning, match=rf"{store}: joined by file name alone"):
        joined.setup("test")
    assert joined.hparams["joined"]["inputs_compared"] is False
    assert join(tiles, store).hparams["joined"]["inputs_compared"] is True


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
    assert np.array_equal(read[0], chosen.augmentation.store.read("lulc", "c_0_0")[0, 2])
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


@pytest.mark.parametrize("arm", ["candidate", "baseline"])
def test_images_that_the_network_would_lay_out_wrongly(tiles, store, arm):
    neck = ReshapeTokensToImage([16], remove_cls_token=False, h=3)
    joined = join(tiles, store if arm == "candidate" else None)
    with pytest.raises(ConfigError, match=r"images of 32 px have 2 × 2 tokens, .* would lay out in 3 rows"):
        next(batches(joined, "train", neck))


@pytest.mark.parametrize("arm", ["candidate", "baseline"])
@pytest.mark.parametrize("kind", [multimodal, pixelwise])
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


def write_pastis(root, lengths, size=32):
    """Files as PASTIS has them: ten bands in time, values 1000 × the date + the class, and annotations of three layers.

    Args:
        root: Folder to write to.
        lengths: Number of dates of each patch.
        size: Side in pixels.
    """
    features = []
    for fold, (patch, times) in enumerate(lengths.items(), start=1):
        dates = {str(step): 20190101 + step for step in range(times)}
        properties = {"ID_PATCH": patch, "Fold": fold, "dates-S2": json.dumps(dates)}
        features.append(
            {
                "type": "Feature",
                "properties": properties,
                "geometry": {"type": "Point", "coordinates": [0, 0]},
            }
        )
        for folder in ("DATA_S2", "ANNOTATIONS"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        kinds = classes(str(patch))
        series = 1000 * np.arange(times).reshape(-1, 1, 1, 1) + np.broadcast_to(
            kinds, (times, 10, size, size)
        )
        np.save(root / f"DATA_S2/S2_{patch}.npy", series.astype(np.int16))
        np.save(root / f"ANNOTATIONS/TARGET_{patch}.npy", np.stack([kinds] * 3).astype(np.uint8))
    (root / "metadata.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))


@pytest.mark.filterwarnings("ignore:The inplace keyword in GeoDataFrame")  # terratorch, by geopandas
def test_pastis_in_time(tmp_path):
    patches = (10000, 10001, 10002, 10003, 10004)  # one in each fold; the first three are for training
    write_pastis(tmp_path / "pastis", dict.fromkeys(patches, 3))

    def lulc(chip_id):
        every = [classes(chip_id), 9 - classes(chip_id), classes(chip_id)]  # a class of its own in each time
        return {"lulc": np.stack(every).astype(np.uint8)[None]}

    ids = [str(patch) for patch in patches]
    entries = [ChipEntry(chip_id, "s") for chip_id in ids]
    make_store(tmp_path / "store", len(ids), 32, 3, entries=entries, given={name: lulc(name) for name in ids})
    steps = [
        FlattenTemporalIntoChannels(),
        A.D4(),
        ToTensorV2(),
        UnflattenTemporalFromChannels(n_timesteps=3),
    ]
    made = PASTISDataModule(
        batch_size=1,
        data_root=str(tmp_path / "pastis"),
        norm=False,
        train_transform=steps,
        val_transform=steps,
    )
    joined = JoinedDataModule(made, str(tmp_path / "store"))
    with pytest.warns(UserWarning, match="joined by file name alone"):
        joined.setup("fit")
    assert len(made.train_dataset) == 3
    for sample in (made.train_dataset[place] for place in range(3)):
        image, maps = sample["image"], sample["maps"]["lulc"]
        assert (image.shape, maps.shape) == ((10, 3, 32, 32), (3, 32, 32))
        assert torch.equal(image[0, 0], maps[0].float())
        assert image[0, :, 0, 0].div(1000, rounding_mode="floor").tolist() == [0, 1, 2]
        assert torch.equal(sample["mask"], maps[2].long())
        assert torch.equal(maps[1], 9 - maps[0])
    still = PASTISDataModule(
        batch_size=1, data_root=str(tmp_path / "pastis"), norm=False, train_transform=steps[1:3]
    )
    joined = JoinedDataModule(still, str(tmp_path / "store"))
    with pytest.warns(UserWarning, match="by file name alone"):
        assert "transform D4 on 3 timesteps needs FlattenTemporalIntoChannels" in refused(joined)


@pytest.mark.filterwarnings("ignore:The inplace keyword in GeoDataFrame")  # terratorch, by geopandas
def test_pastis_with_the_whole_series_gets_the_dates_of_the_store(tmp_path):
    lengths = {10000: 7, 10001: 8, 10002: 11, 10003: 6, 10004: 6}
    taken = {10000: [0, 1, 2, 4, 5, 6], 10001: [0, 1, 3, 4, 6, 7], 10002: [0, 2, 4, 6, 8, 10]}
    root = tmp_path / "pastis"
    write_pastis(root, lengths)
    chips = ChipSet.open(root)
    store_of(chips, tmp_path / "store", make_spec(inputs=("S2L2A",)))

    def joined(control=None, **given):
        steps = [
            FlattenTemporalIntoChannels(),
            A.D4(),
            ToTensorV2(),
            UnflattenTemporalFromChannels(n_channels=10),
        ]
        given |= {"train_transform": steps, "val_transform": steps}
        made = PASTISDataModule(batch_size=3, data_root=str(root), norm=False, **given)
        return JoinedDataModule(made, str(tmp_path / "store"), chips=str(root), control=control)

    for given in ({}, {"pad_image": 12}, {"control": "constant"}):
        module = joined(**given)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # dates are compared: there is nothing to say
            module.setup("fit")
        dataset = module.datamodule.train_dataset
        for place, dates in enumerate(taken.values()):
            image = dataset[place]["image"]
            assert image.shape == (10, 6, 32, 32)
            assert image[0, :, 0, 0].div(1000, rounding_mode="floor").tolist() == dates
        batch = next(iter(module.train_dataloader()))  # series of three lengths make a batch
        assert batch["image"].shape == (3, 10, 6, 32, 32)
        assert batch["maps"]["lulc"].shape == (3, 6, 32, 32)
    message = refused(joined(truncate_image=6))
    assert "10000, chip 10000 of" in message
    assert (
        "its dates are at the positions 1 2 3 4 5 6 of the chip's series, those of the store at 0 1 2 4 5 6"
        in message
    )


def test_what_is_known_of_dates_that_are_not_told_is_said(tiles, tmp_path):
    """Three timesteps, as many as the store has: of which dates, nothing tells."""
    series = torch.zeros(12, 3, 32, 32)
    stacked = type("Stacked", (list,), {"image_files": ["a_0_0_S2L2A.tif"]})([{"image": series}])
    made = multimodal(tiles)
    made.setup = lambda stage: setattr(made, "test_dataset", stacked)
    taken = {"a_0_0": {"series_index": np.array([[0, 11, 22]], np.int32)}}
    spec, entries = make_spec(inputs=("S2L2A",)), [ChipEntry("a_0_0", "s")]
    make_store(tmp_path / "three", 1, 32, 3, spec=spec, entries=entries, given=taken)
    joined = join(tiles, tmp_path / "three", made, chips=None)
    with pytest.warns(
        UserWarning, match="Its timesteps are those at the positions S2L2A 0 11 22 in the files of"
    ):
        joined.setup("test")


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
