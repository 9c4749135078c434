"""What our own command checks before a training is checked under plain `terratorch fit` too."""

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping

from finetune import TimStoreDataModule
from finetune.errors import ConfigError
from tests.finetune.model.test_monitors import task_with
from tests.finetune.run.foreign import make_chips

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
