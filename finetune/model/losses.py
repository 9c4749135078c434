"""Losses of TerraTorch's task on masks with ignored pixels: batches without any label do not count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from terratorch.models.model import ModelOutput
from terratorch.tasks import SemanticSegmentationTask
from terratorch.tasks.loss_handler import CombinedLoss, LossHandler
from torch import Tensor, nn

from augment_store.errors import ChipDataError
from augment_store.modalities.definitions import IGNORED_LABEL
from finetune.log_filters import notify
from finetune.model import UNABLE_TO_IGNORE


class LabeledLossHandler(LossHandler):  # type: ignore[misc] # terratorch is untyped
    """Compute a loss over labeled pixels alone.

    Cross entropy over no pixel is 0/0, and one NaN makes the mean over an epoch NaN. Such a batch has a loss of 0 and
    no weight in that mean.

    Args:
        prefix: Prefix of the logged names, ``val/`` for example.
        ignores: Whether the losses leave out pixels with the ignored label.
        weightless: Labels to which the class weights of cross entropy give no weight, and which do not count alone.
    """

    def __init__(self, prefix: str, *, ignores: bool, weightless: Sequence[int] = ()) -> None:
        super().__init__(prefix)
        self._ignores = ignores
        self._weightless = tuple(weightless)
        self._labeled = True
        self._told = False

    def compute_loss(
        self,
        model_output: ModelOutput,
        ground_truth: Tensor,
        criterion: Callable[..., Any],
        aux_loss_weights: dict[str, float] | None,
    ) -> dict[str, Tensor]:
        """Return the loss under the key ``loss``, and its parts.

        Raises:
            ChipDataError: If pixels are ignored and one of the losses cannot leave them out.
        """
        labeled = ground_truth != IGNORED_LABEL
        counted = labeled
        for label in self._weightless:
            counted = counted & (ground_truth != label)
        # kept for `log_loss`, which TerraTorch calls next and without the masks
        self._labeled = bool(counted.any())
        if not self._labeled:
            self._tell()
            return _zero_losses(model_output, criterion)
        if not self._ignores and not bool(labeled.all()):
            raise ChipDataError(
                f"masks hold {IGNORED_LABEL} (ignored), which the loss {UNABLE_TO_IGNORE} cannot leave out; take ce, "
                "dice, focal or lovasz"
            )
        made: dict[str, Tensor] = super().compute_loss(
            model_output, ground_truth, criterion, aux_loss_weights
        )
        return made

    def log_loss(
        self,
        log_function: Callable[..., None],
        loss_dict: dict[str, Tensor] | None = None,
        batch_size: int | None = None,
    ) -> None:
        """Log the loss; a batch without labels has no weight in the mean over an epoch."""
        # Lightning weighs a step by its batch size in the mean over an epoch
        super().log_loss(log_function, loss_dict, batch_size if self._labeled else 0)

    def _tell(self) -> None:
        if not self._told:
            notify(
                f"{self.loss_prefix}loss: a batch holds no label that counts, only ignored ones; it has no weight"
            )
        self._told = True


def _zero_losses(model_output: ModelOutput, criterion: Callable[..., Any]) -> dict[str, Tensor]:
    """Return losses of 0 under the names that TerraTorch gives them, in its order.

    Processes of a training average each logged name together, so that one without labels must log them all.
    """
    heads = model_output.auxiliary_heads or {}
    # keeps the graph of every head, so that training steps on
    zero = torch.stack([made.sum() * 0.0 for made in (model_output.output, *heads.values())]).sum()
    parts = criterion.losses if isinstance(criterion, CombinedLoss) else ()
    return dict.fromkeys((*parts, "loss", *heads), zero)


def count_labeled_only(task: SemanticSegmentationTask) -> None:
    """Let a task's losses count labeled pixels alone, in training, validation and test."""
    ignores = task.hparams["ignore_index"] is not None
    weightless: list[int] = []
    for module in task.criterion.modules():
        # beside a loss that takes no ignored label TerraTorch gives None, at which cross entropy fails
        if isinstance(module, nn.CrossEntropyLoss) and module.ignore_index is None:
            module.ignore_index = IGNORED_LABEL
        if isinstance(module, nn.CrossEntropyLoss) and module.weight is not None:
            weightless = torch.nonzero(module.weight == 0).flatten().tolist()

    def labeled(handler: LossHandler) -> LabeledLossHandler:
        return LabeledLossHandler(handler.loss_prefix, ignores=ignores, weightless=weightless)

    task.train_loss_handler = labeled(task.train_loss_handler)
    task.val_loss_handler = labeled(task.val_loss_handler)
    task.test_loss_handler = [labeled(handler) for handler in task.test_loss_handler]
