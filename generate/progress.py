"""Progress of a generation run, in chips."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from augment_store.utils.progress import ProgressReporter


class ChipProgress(Callback):
    """Report how many chips of its share the first process has done.

    Args:
        console: Where to report to.
        task: What is done with the chips.
        quiet: Report nothing.
    """

    def __init__(self, console: Console, task: str = "generating", *, quiet: bool = False) -> None:
        self._console, self._task, self._quiet = console, task, quiet
        self._reporter: ProgressReporter | None = None
        self._open = contextlib.ExitStack()

    def on_predict_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin to report."""
        if trainer.is_global_zero:
            chips = len(trainer.datamodule.ids)  # type: ignore[attr-defined]
            reporter = ProgressReporter(self._task, chips, quiet=self._quiet, console=self._console)
            self._reporter = self._open.enter_context(reporter)

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Sequence[Any], *_: Any) -> None:
        """Count the chips that a batch completed."""
        if self._reporter is not None:
            self._reporter.advance(len(outputs))

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        """Remove the bar."""
        self._open.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Remove the bar, so that the error stands below what was printed before."""
        self._open.close()
