"""What training does: step 0, the first gradient, D4, and learning from planes alone."""

import albumentations as A  # noqa: N812
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2
from lightning.pytorch import Trainer, seed_everything
from terratorch.datasets.transforms import FlattenTemporalIntoChannels, UnflattenTemporalFromChannels

from finetune.data.datamodule import TimStoreDataModule
from finetune.data.dataset import collate
from tests.finetune.model.test_initialization import NECKS, make_task
from tests.worlds import lulc_of_labels, make_world, store_of

pytestmark = pytest.mark.slow

D4 = [FlattenTemporalIntoChannels(), A.D4(p=1), ToTensorV2(), UnflattenTemporalFromChannels(n_timesteps=4)]
TEMPORAL = {
    "backbone_use_temporal": True,
    "backbone_temporal_pooling": "concat",
    "backbone_temporal_n_timestamps": 4,
}


def module_of(world, **arguments):
    made = TimStoreDataModule(data_root=str(world.root), batch_size=2, **arguments)
    made.setup("fit")
    return made


def loss_of(task, batch):
    return task.criterion(task(batch["image"]).output, batch["mask"])


def added(task):
    return next(value for name, value in task.named_parameters() if ".added." in name)


def test_step_0_is_the_baseline_and_step_1_is_not(world, plain_store):
    baseline, arm = make_task(**TEMPORAL), make_task(["onehot"], **TEMPORAL)
    assert all(torch.equal(arm.state_dict()[name], value) for name, value in baseline.state_dict().items())
    torch.manual_seed(4)
    plain = next(iter(module_of(world).train_dataloader()))
    torch.manual_seed(4)
    module = module_of(world, augment=str(plain_store))
    joined = module.model_batch(next(iter(module.train_dataloader())))
    given = module_of(world).model_batch(plain)
    assert torch.equal(given["mask"], joined["mask"])
    assert torch.equal(arm(joined["image"]).output, baseline(given["image"]).output)
    optimizer = torch.optim.AdamW(arm.parameters(), lr=1e-3)
    loss_of(arm, joined).backward()
    assert added(arm).grad.abs().max() > 0
    optimizer.step()
    reference = torch.optim.AdamW(baseline.parameters(), lr=1e-3)
    loss_of(baseline, given).backward()
    reference.step()
    assert added(arm).abs().max() > 0
    assert not torch.equal(arm(joined["image"]).output, baseline(given["image"]).output)


@pytest.mark.parametrize("encoding", [["modality"], pytest.param(["tokens"], marks=pytest.mark.nightly)])
def test_an_arm_with_a_modality_more_begins_as_the_baseline_of_its_seed(encoding):
    """The decoder, and what is drawn next, such as the order of chips: or one seed would be two."""
    states, following = [], []
    for arm in ([], encoding):
        states.append(make_task(arm, seed=5).state_dict())
        following.append(torch.rand(()))
    decoder = [name for name in states[0] if "encoder." not in name and "encoder_embeddings" not in name]
    assert len(decoder) > 20
    assert all(torch.equal(states[0][name], states[1][name]) for name in decoder)
    assert following[0] == following[1]


def test_a_step_under_d4_equals_the_step_on_what_was_turned_by_hand(world, lulc_store):
    plain = module_of(world, augment=str(lulc_store), encoding=["onehot", "confidence"])
    turned = module_of(world, augment=str(lulc_store), encoding=["onehot", "confidence"], train_transform=D4)
    for index in range(4):
        torch.manual_seed(100 + index)
        got = turned.datasets["train"][index]
        torch.manual_seed(100 + index)
        raw = plain.datasets["train"][index]
        by_hand = turn_like(raw, got)
        losses, gradients = [], []
        for module, sample in ((turned, got), (plain, by_hand)):
            task = make_task(["onehot", "confidence"], **TEMPORAL)
            batch = module.model_batch(collate([sample]))
            loss = loss_of(task, batch)
            loss.backward()
            losses.append(loss)
            gradients.append(added(task).grad)
        assert torch.equal(*losses)
        assert torch.equal(*gradients)


def turn_like(raw, got):
    """`raw` turned by the symmetry of the square that makes its mask the mask of `got`."""
    for flip in (False, True):
        for turns in range(4):

            def turn(tensor, flip=flip, turns=turns):
                values = np.flip(tensor.numpy(), -1) if flip else tensor.numpy()
                return torch.from_numpy(np.rot90(values, turns, axes=(-2, -1)).copy())

            if torch.equal(turn(raw["mask"]), got["mask"]):
                turned = {
                    part: {name: turn(tensor) for name, tensor in raw[part].items()}
                    for part in ("image", "maps")
                }
                return raw | turned | {"mask": turn(raw["mask"])}
    raise AssertionError("no symmetry of the square makes one mask the other")


@pytest.fixture(scope="module")
def solvable(tmp_path_factory):
    """Chips of noise whose labels are in the cached planes alone."""
    folder = tmp_path_factory.mktemp("solvable")
    splits = {
        "train": tuple(f"train{n}_0_0" for n in range(16)),
        "val": ("val_0_0",),
        "test": tuple(f"test{n}_0_0" for n in range(6)),
    }
    made = make_world(folder / "chips", timesteps=1, splits=splits, contrast=0.03)
    store_of(made.chips, folder / "store", given=lulc_of_labels(made))
    return made, folder / "store"


@pytest.mark.nightly
@pytest.mark.parametrize("augmented", [True, False])
def test_only_the_augmented_model_can_learn_what_is_in_the_planes(solvable, augmented):
    world, store = solvable
    seed_everything(0)
    encoding = ["onehot"] if augmented else []
    module = TimStoreDataModule(
        data_root=str(world.root),
        batch_size=4,
        modalities=["S2L2A"],
        timesteps=[0],
        augment=str(store) if augmented else None,
        encoding=encoding,
        train_transform=[A.D4(p=1)],
    )
    shallow = [{"name": "SelectIndices", "indices": [0, 1, 2, 3]}, *NECKS[1:]]
    task = make_task(encoding, necks=shallow, backbone_modalities=["S2L2A"]).train()
    task.hparams["lr"] = 4e-3
    trainer = Trainer(
        max_epochs=45,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, datamodule=module)
    (found,) = trainer.test(task, datamodule=module, verbose=False)
    if augmented:
        assert found["test/mIoU"] > 0.9
    else:
        assert found["test/mIoU"] < 0.25  # chance is 0.11: one of five classes, right one time in five
