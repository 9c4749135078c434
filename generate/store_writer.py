"""Writing behind the generator: a thread that takes records and writes whole shards."""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import lightning
from lightning.pytorch.callbacks import Callback

from augment_store.store.writer import AugmentStore, ChipRecord

QUEUE_BATCHES: Final = 16
"""Batches that may wait for the disk before the model waits for it."""


class StoreWriter(Callback):
    """Writes records in a thread of its own, each shard as soon as all its chips are there.

    If a run is interrupted, it also writes what has been generated for unfinished shards.

    Args:
        store: Folder of the store, or its URL.
    """

    def __init__(self, store: Path) -> None:
        self.store_path = store
        self._queue: queue.Queue[Sequence[ChipRecord] | None] = queue.Queue(maxsize=QUEUE_BATCHES)
        self._waiting: dict[int, set[str]] = {}
        self._buffers: dict[int, list[ChipRecord]] = defaultdict(list)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def on_predict_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the thread with the chips this process is to generate."""
        self._store = AugmentStore.open(self.store_path, mode="r+")
        waiting: dict[int, set[str]] = defaultdict(set)
        for chip_id in trainer.datamodule.ids:  # type: ignore[attr-defined]
            waiting[self._shard(chip_id)].add(chip_id)
        self._waiting = waiting
        # a daemon: a disk that hangs must not keep the process alive
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        """Hand a batch to the thread; raise the thread's error, and stop on SIGTERM as on Ctrl-C."""
        self._put(outputs)
        if trainer.received_sigterm:  # where no handler of the command's has raised already
            raise KeyboardInterrupt

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        """Wait until every process has everything on disk: the first one reports for all."""
        self.close()
        trainer.strategy.barrier()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Keep what has been generated so far."""
        # after an error of the disk, writing the rest would fail as well
        if self._error is None:
            self.close()

    def close(self) -> None:
        """End the thread after what is queued and buffered has been written.

        Raises:
            OSError: If the disk failed.
        """
        if self._thread is not None:
            # ends the thread's loop behind all that is queued
            self._put(None)
            self._thread.join()
            self._thread = None
        self._raise_error()

    def _put(self, records: Sequence[ChipRecord] | None) -> None:
        # a thread that died makes no room, so its error is looked for once a second
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
            # shards that an interruption left without some chips; a list, as flushing removes keys
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
