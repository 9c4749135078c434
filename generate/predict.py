"""Generation under Lightning's `Trainer.predict`: the module, the writer behind it, and the progress bar."""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch import Tensor

from augment_store.errors import ChipDataError
from augment_store.records import ChipRecord
from augment_store.schema import NDVI_SCALE, SHARE_SCALE
from augment_store.store import AugmentStore
from generate.datamodule import ChipInput
from generate.terramind import Generated, TerraMindGenerator

QUEUE_BATCHES: Final = 16
"""Batches that may wait for the disk before the model waits for it."""


class GenerationModule(lightning.LightningModule):
    """Runs a generator over batches of chips and returns the records to write.

    Args:
        generator: The generator with its weights.
        probabilities: Whether class probabilities are kept.
    """

    def __init__(self, generator: TerraMindGenerator, *, probabilities: bool) -> None:
        super().__init__()
        self.generator = generator
        self.probabilities = probabilities

    def predict_step(self, batch: list[ChipInput], batch_idx: int) -> list[ChipRecord]:
        """Records of a batch of chips, in its order."""
        return [self._record(chip) for chip in batch]

    def _record(self, chip: ChipInput) -> ChipRecord:
        """The record of one chip, with an error where it cannot be generated."""
        if chip.error:
            return ChipRecord(chip.chip_id, {}, chip.error)
        try:
            arrays = self._arrays(chip)
        except ChipDataError as error:
            return ChipRecord(chip.chip_id, {}, f"chip {chip.chip_id}: {error}")
        arrays |= {"input_digest": chip.digests, "timestep_source": chip.sources}
        return ChipRecord(chip.chip_id, arrays)

    def _arrays(self, chip: ChipInput) -> dict[str, NDArray[Any]]:
        """Generates each distinct timestep once and copies it to those it stands for."""
        maps = []
        for place, timestep in enumerate(chip.distinct):
            images = {name: series[place] for name, series in chip.images.items()}
            maps.append(self._maps(self.generator.generate(images, chip.chip_id, timestep)))
        places = np.searchsorted(chip.distinct, chip.sources)
        return {
            name: np.stack([maps[place][name] for place in places], axis=0 if name == "probabilities" else 1)
            for name in maps[0]
        }

    def _maps(self, generated: Generated) -> dict[str, NDArray[Any]]:
        """The store's arrays for one timestep, ``[S, ...]`` (probabilities: ``[classes, H, W]``)."""
        maps = {
            "tokens": _as_array(generated.tokens, np.uint16),
            "token_probability": _as_array(generated.token_probability, np.float32),
        }
        if self.generator.modality == "NDVI":
            ndvi = (generated.decoded[:, 0].clamp(-1, 1) / NDVI_SCALE).round()
            return {**maps, "ndvi": _as_array(ndvi, np.int16)}
        shares = generated.decoded.softmax(dim=1)
        confidence, classes = shares.max(dim=1)
        maps |= {"lulc": _as_array(classes, np.uint8), "confidence": _as_bytes(confidence)}
        return {**maps, "probabilities": _as_bytes(shares.mean(dim=0))} if self.probabilities else maps


def _as_array(values: Tensor, dtype: type[np.generic]) -> NDArray[Any]:
    return values.cpu().numpy().astype(dtype)


def _as_bytes(shares: Tensor) -> NDArray[Any]:
    return _as_array((shares / SHARE_SCALE).round(), np.uint8)


class StoreWriter(Callback):
    """Writes records in a thread of its own, a shard as soon as all its chips are there.

    When a run is interrupted, what has been generated of unfinished shards is written too.

    Args:
        store: Folder of the store.
    """

    def __init__(self, store: Path) -> None:
        self.store_path = store
        self._queue: queue.Queue[Sequence[ChipRecord] | None] = queue.Queue(maxsize=QUEUE_BATCHES)
        self._waiting: dict[int, set[str]] = {}
        self._buffers: dict[int, list[ChipRecord]] = defaultdict(list)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def on_predict_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts the thread with the chips this process is to generate."""
        self._store = AugmentStore.open(self.store_path, mode="r+")
        waiting: dict[int, set[str]] = defaultdict(set)
        for chip_id in trainer.datamodule.ids:  # type: ignore[attr-defined]
            waiting[self._shard(chip_id)].add(chip_id)
        self._waiting = waiting
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        """Hands a batch to the thread; raises what the thread met, and stops on SIGTERM as on Ctrl-C."""
        self._put(outputs)
        if trainer.received_sigterm:
            raise KeyboardInterrupt

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        """Waits until everything is on disk, in every process: the first one reports what all have done."""
        self.close()
        trainer.strategy.barrier()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Keeps what has been generated so far."""
        if self._error is None:
            self.close()

    def close(self) -> None:
        """Ends the thread after what is queued and buffered has been written.

        Raises:
            OSError: If the disk did not take it.
        """
        if self._thread is not None:
            self._put(None)
            self._thread.join()
            self._thread = None
        self._raise_error()

    def _put(self, records: Sequence[ChipRecord] | None) -> None:
        while True:
            self._raise_error()
            try:
                return self._queue.put(records, timeout=1)
            except queue.Full:
                continue

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _shard(self, chip_id: str) -> int:
        return self._store.index(chip_id) // self._store.shard_chips

    def _work(self) -> None:
        try:
            while (records := self._queue.get()) is not None:
                for record in records:
                    self._take(record)
            for shard in list(self._buffers):
                self._flush(shard)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the main thread
            self._error = error

    def _take(self, record: ChipRecord) -> None:
        shard = self._shard(record.chip_id)
        self._buffers[shard].append(record)
        self._waiting[shard].discard(record.chip_id)
        if not self._waiting[shard]:
            self._flush(shard)

    def _flush(self, shard: int) -> None:
        self._store.write_shard(shard, self._buffers.pop(shard))


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
            *columns, TimeRemainingColumn(compact=True), console=console, speed_estimate_period=120
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
        """Ends the bar, so that the error stands below it."""
        self._progress.stop()
