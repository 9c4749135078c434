"""The progress bar of a generation run, in chips."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _RateColumn(TextColumn):
    """Chips per second since the start."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        """The rate as text."""
        seconds = task.finished_time or task.elapsed
        return Text(f"{task.completed / seconds:.2f} chips/s" if seconds else "")


class ChipProgress(Callback):
    """Progress bar of the first process, in chips of its share.

    Args:
        console: Where to draw it.
    """

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("generating"), BarColumn(), MofNCompleteColumn(), _RateColumn())
        self._progress = Progress(
            *columns,
            TimeRemainingColumn(compact=True),
            console=console,
            speed_estimate_period=120,
            # in a notebook Rich draws with ipywidgets; without them it would warn and show nothing
            disable=console.is_jupyter and find_spec("ipywidgets") is None,
        )
        self._task: Any = None

    def on_predict_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts the bar."""
        if trainer.is_global_zero:
            self._task = self._progress.add_task("", total=len(trainer.datamodule.ids))  # type: ignore[attr-defined]
            self._progress.start()

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Sequence[Any], *_: Any) -> None:
        """Moves the bar by a batch."""
        if self._task is not None:
            self._progress.advance(self._task, len(outputs))

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        """Ends the bar."""
        self._progress.stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Ends the bar, so that the error appears below it."""
        self._progress.stop()
