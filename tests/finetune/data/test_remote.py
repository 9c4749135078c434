"""A fine-tune whose chips and store are at URLs."""

import pytest
import torch

from augment_store.io.remote import as_path
from finetune.augment.augmentation import Augmentation, AugmentRequest
from finetune.data.datamodule import TimStoreDataModule
from tests.servers import Whole, s3_bucket, web_site
from tests.worlds import make_world, store_of

pytestmark = pytest.mark.slow


def batches(place, **more):
    """Model's batches of the test split, of chips and a store under a folder or URL."""
    module = TimStoreDataModule(
        f"{place}/world",
        timesteps=[0],
        means="terramind_v1",
        augment=f"{place}/store",
        encoding=["onehot"],
        batch_size=2,
        **more,
    )
    module.setup("test")
    return [module.model_batch(batch) for batch in module.test_dataloader()]


@pytest.fixture(params=[pytest.param("s3", marks=pytest.mark.nightly), "http"])
def url(request, tmp_path):
    """Where chips of five scenes and their store are served."""
    root = tmp_path / "served"
    store_of(make_world(root / "world").chips, root / "store")
    with s3_bucket(root) if request.param == "s3" else web_site(root, Whole) as served:
        yield served


def test_two_workers_read_from_a_url_what_is_on_disk(url, tmp_path):
    found, expected = batches(url, num_workers=2), batches(tmp_path / "served")
    assert len(found) == len(expected) == 2  # three chips, two at a time
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one["mask"], other["mask"])
        assert one["image"].keys() == other["image"].keys()
        for name in other["image"]:
            assert torch.equal(one["image"][name], other["image"][name])


def test_a_control_keeps_the_scenes_of_a_store_at_a_url(url, tmp_path):
    """Though it reads no maps, and though web servers list no folders."""
    places = (tmp_path / "served/store", as_path(f"{url}/store"))
    here, there = (Augmentation(AugmentRequest(place, None, "constant"), 1) for place in places)
    assert there.scenes == here.scenes
    assert len(set(there.scenes.values())) == 5
    assert there.extent == here.extent
