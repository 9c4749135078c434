"""What our own command checks before a training is checked under plain `terratorch fit` too."""

import numpy as np
import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping

from augment_store.chips.chip_set import ChipSet
from finetune import TimStoreDataModule
from finetune.errors import ConfigError
from tests.finetune.data.joined.test_reach import Task
from tests.finetune.model.test_monitors import task_with
from tests.finetune.run.foreign import make_chips
from tests.worlds import make_spec, store_of, write_tif

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("val_loss", "EarlyStopping: monitor val_loss is no metric of this task"),
        ("val/loss", "the network fails on a chip of 32 px"),  # a network of one band
    ],
)
def test_a_training_under_terratorch_is_checked_as_our_own(tmp_path, metric, message):
    module = TimStoreDataModule(
        str(make_chips(tmp_path / "chips")), modalities=["S1RTC"], means="terramind_v1"
    )
    callbacks = [EarlyStopping(metric)]
    module.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=callbacks)
    module.trainer.strategy.connect(task_with("ce"))
    with pytest.raises(ConfigError, match=message):
        module.setup("fit")


def test_a_backbone_that_ignores_the_maps_is_refused(tmp_path):
    """TerraMind of TerraTorch leaves out a modality that it does not know, with a warning alone."""
    root = make_chips(tmp_path / "chips")
    store_of(ChipSet.open(root), tmp_path / "store", make_spec(inputs=("S2L2A",)))
    given = {"modalities": ["S2L2A"], "means": "terramind_v1", "batch_size": 1}
    module = TimStoreDataModule(str(root), augment=str(tmp_path / "store"), encoding=["modality"], **given)
    module.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    module.trainer.strategy.connect(Task(12))  # which reads the twelve bands alone
    with pytest.raises(ConfigError, match="does not read the joined planes"):
        module.setup("fit")


def test_chips_without_any_value_stop(tmp_path, capsys):
    root = make_chips(tmp_path / "chips")
    for file in (root / "S1RTC").iterdir():
        write_tif(file, np.full((2, 32, 32), np.nan, np.float32))
    with pytest.raises(
        ConfigError, match=r"train split: no chip that was looked at \(3\) has a value of S1RTC, so"
    ):
        TimStoreDataModule(str(root), modalities=["S1RTC"], means="terramind_v1").setup("fit")
    TimStoreDataModule(str(root), modalities=["S1RTC", "S2L2A"], means="terramind_v1").setup("fit")
    assert "train split: no chip that was looked at (3) has a value of S1RTC\n" in capsys.readouterr().err
