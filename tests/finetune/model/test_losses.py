"""Losses count labeled pixels alone."""

import math

import pytest
import torch
from terratorch.models.model import ModelOutput
from terratorch.tasks.loss_handler import CombinedLoss
from terratorch.tasks.segmentation_tasks import init_loss

from augment_store.errors import ChipDataError
from finetune.model.losses import LabeledLossHandler

pytestmark = pytest.mark.slow


class Log:
    """What is logged, averaged as Lightning does, by the number of samples."""

    def __init__(self):
        self.total, self.weight = 0.0, 0

    def __call__(self, name, value, *, batch_size, **_):
        assert name == "val/loss"
        self.total += float(torch.as_tensor(value).detach()) * batch_size
        self.weight += batch_size

    @property
    def mean(self):
        return self.total / self.weight


LOGITS = torch.zeros(1, 2, 1, 2)  # two classes, equally likely: cross entropy ln 2 for each pixel


def test_a_batch_without_labels_has_no_weight_in_the_mean_and_trains_nothing(capsys):
    handler, log = LabeledLossHandler("val/", ignores=True), Log()
    criterion = init_loss("ce", ignore_index=-1)
    logits = LOGITS.clone().requires_grad_()
    for labels in ([[0, -1]], [[-1, -1]], [[-1, -1]]):
        loss = handler.compute_loss(ModelOutput(logits), torch.tensor([labels]), criterion, None)
        handler.log_loss(log, loss, batch_size=1)
    assert log.mean == pytest.approx(math.log(2))
    loss["loss"].backward()
    assert torch.equal(logits.grad, torch.zeros_like(LOGITS))
    assert capsys.readouterr().err.count("no label") == 1


@pytest.mark.parametrize(
    ("names", "weights", "count"), [(["ce"], {}, 1), (["ce", "dice"], {}, 3), (["ce"], {"aux": 0.5}, 2)]
)
def test_a_batch_without_labels_logs_the_names_of_one_with_labels(names, weights, count):
    """Processes of a training average each name together: one that logs fewer would wait without end."""
    losses = {name: init_loss(name, ignore_index=-1) for name in names}
    criterion = CombinedLoss(losses) if len(losses) > 1 else losses["ce"]
    handler, logged = LabeledLossHandler("train/", ignores=True), []
    outputs = [LOGITS.clone().requires_grad_() for _ in ("main", *weights)]
    model_output = ModelOutput(outputs[0], dict(zip(weights, outputs[1:], strict=True)))
    for labels in ([[0, 1]], [[-1, -1]]):
        made = handler.compute_loss(model_output, torch.tensor([labels]), criterion, weights)
        handler.log_loss(lambda name, *_, **__: logged.append(name), made, batch_size=1)
    assert len(logged) == 2 * count
    assert logged[:count] == logged[count:]
    # each head gets a gradient, of 0, for which the other processes wait too
    made["loss"].backward()
    assert all(torch.equal(output.grad, torch.zeros_like(LOGITS)) for output in outputs)


def test_jaccard_refuses_ignored_pixels_and_takes_whole_masks():
    handler, criterion = LabeledLossHandler("train/", ignores=False), init_loss("jaccard")
    assert handler.compute_loss(ModelOutput(LOGITS), torch.tensor([[[0, 1]]]), criterion, None)["loss"] > 0
    with pytest.raises(ChipDataError, match="jaccard cannot leave out; take ce, dice, focal or lovasz"):
        handler.compute_loss(ModelOutput(LOGITS), torch.tensor([[[0, -1]]]), criterion, None)
