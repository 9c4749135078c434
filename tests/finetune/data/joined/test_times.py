"""Samples of several dates joined with a store: PASTIS's, and those that do not tell their dates."""

import json

import albumentations as A  # noqa: N812
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2
from terratorch.datamodules import PASTISDataModule
from terratorch.datasets.transforms import FlattenTemporalIntoChannels, UnflattenTemporalFromChannels

from augment_store.store.chip_index import ChipEntry
from finetune import JoinedDataModule
from tests.finetune.data.joined.datamodules import classes, join, multimodal, refused
from tests.worlds import make_spec, make_store

pytestmark = pytest.mark.slow


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
