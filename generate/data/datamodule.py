"""Chips for one run: the unfinished ones of this process's shards, read ahead, identical timesteps folded."""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.units import Units
from augment_store.errors import AugmentStoreError, ChipDataError, RemotePathError
from augment_store.store.schema import ChipShape, State
from augment_store.store.spec import GenerationSpec
from augment_store.store.writer import AugmentStore
from generate.data.preprocessing import native_images
from generate.model.async_copy import to_device


@dataclass
class ChipInput:
    """A chip ready for the generator, or the reason why it is not.

    Attributes:
        chip_id: Id of the chip.
        images: ``[U, C, H, W]`` per modality in pretraining units, one image per distinct timestep.
        digests: Input digest of every timestep, ``[T, 16]``.
        sources: For every timestep, the first timestep with the same input, ``[T]``.
        series_index: Position in its file of every timestep, ``[modality, T]``.
        error: Why the chip cannot be used; empty if it can.
    """

    chip_id: str
    images: Mapping[str, Tensor]
    digests: NDArray[np.uint8]
    sources: NDArray[np.int16]
    series_index: NDArray[np.int32]
    error: str = ""

    @property
    def distinct(self) -> list[int]:
        """Timesteps that are generated, in order."""
        return [int(timestep) for timestep in np.unique(self.sources)]


def find_sources(digests: NDArray[np.uint8]) -> NDArray[np.int16]:
    """For every timestep, the first one with the same digest, int16 ``[T]``."""
    # `first`: where each distinct digest first occurs; `inverse`: which of them each timestep has
    _, first, inverse = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    # raveled, since NumPy 2.0 gave the inverse further axes
    return first[inverse.ravel()].astype(np.int16)


class ReadsChips(Protocol):
    """Reads chips of one extent by their ids."""

    @property
    def ids(self) -> Sequence[str]:
        """Return the ids of the chips that can be read."""

    @property
    def extent(self) -> ChipShape:
        """Return the timesteps and size that all of them have."""

    def __call__(self, chip_id: str) -> ChipInput:
        """Read one chip."""


@dataclass(frozen=True)
class ChipReader:
    """Reads chips; one that cannot be used becomes a `ChipInput` with an error, and only a silent server raises.

    Attributes:
        chip_set: Where the chips are.
        modalities: Input modalities.
        units: Units of their values on disk.
        extent: Timesteps and size that the store holds.
    """

    chip_set: ChipSet
    modalities: Sequence[str]
    units: Units
    extent: ChipShape

    def __call__(self, chip_id: str) -> ChipInput:
        """Read one chip."""
        try:
            return self._read(chip_id)
        except RemotePathError:
            raise  # a server that does not answer says nothing about a chip
        except AugmentStoreError as error:
            return ChipInput(chip_id, {}, *_NOTHING_READ, str(error))

    def _read(self, chip_id: str) -> ChipInput:
        chip = self.chip_set.read(chip_id, self.modalities)
        found = ChipShape.from_chip(chip)
        if found != self.extent:
            raise ChipDataError(
                f"chip {chip_id}: {found}, but the store holds {self.extent}; mixed sizes need separate stores"
            )
        digests = chip.digests()
        sources = find_sources(digests)
        images = native_images(chip, [int(timestep) for timestep in np.unique(sources)], self.units)
        tensors = {name: torch.from_numpy(image) for name, image in images.items()}
        return ChipInput(chip_id, tensors, digests, sources, chip.series_index(self.modalities))

    @property
    def ids(self) -> Sequence[str]:
        """Return the ids of the chips that can be read."""
        return self.chip_set.ids


_NOTHING_READ: Final = (np.empty((0, 0), np.uint8), np.empty(0, np.int16), np.empty((0, 0), np.int32))
"""Digests, sources and positions of a chip that cannot be used."""


@dataclass(frozen=True)
class ImageBatch:
    """Images for the network, and chips that have none.

    Attributes:
        chips: Chip of each image; a chip's images follow one another, even across batches.
        places: Which of its chip's images each is.
        images: ``[B, C, H, W]`` per modality.
        unusable: Chips with an error that were read in between.
    """

    chips: Sequence[ChipInput]
    places: Sequence[int]
    images: Mapping[str, Tensor]
    unusable: Sequence[ChipInput]


def read_ahead(reader: ReadsChips, ids: Sequence[str], threads: int) -> Iterator[ChipInput]:
    """Chips in order, read by threads some chips ahead of the model (decompression releases the GIL).

    Args:
        reader: Reads one chip.
        ids: Which chips.
        threads: Threads that read; twice as many chips wait in memory.
    """
    remaining = iter(ids)
    with ThreadPoolExecutor(threads, thread_name_prefix="read-ahead") as pool:
        ahead: deque[Future[ChipInput]] = deque()
        for chip_id in itertools.islice(remaining, 2 * threads):
            ahead.append(pool.submit(reader, chip_id))
        while ahead:
            # in the order they were asked for, whichever is read first
            chip = ahead.popleft().result()
            # one more for each that is taken, so that memory stays bounded
            ahead.extend(pool.submit(reader, chip_id) for chip_id in itertools.islice(remaining, 1))
            yield chip


class ImageBatches(IterableDataset[ImageBatch]):
    """The distinct images of chips in batches of equal size across chips, and at the end an empty batch.

    The empty batch makes the model flush what is still in progress, see `GenerationModule`.

    Args:
        reader: Reads one chip.
        ids: Which chips.
        threads: Threads that read ahead.
        size: Images in a batch.
    """

    def __init__(self, reader: ReadsChips, ids: Sequence[str], threads: int, size: int) -> None:
        self.reader = reader
        self.ids = ids
        self.threads = threads
        self.size = size

    def __iter__(self) -> Iterator[ImageBatch]:
        images: list[tuple[ChipInput, int]] = []
        unusable: list[ChipInput] = []
        for chip in read_ahead(self.reader, self.ids, self.threads):
            if chip.error:
                unusable.append(chip)
            # an unusable chip has no sources, and so no images
            images += [(chip, place) for place in range(len(chip.distinct))]
            while len(images) >= self.size:
                yield _pack(images[: self.size], unusable)
                # the unusable go with one batch, and only with that one
                images, unusable = images[self.size :], []
        if images:
            yield _pack(images, unusable)
            unusable = []
        yield _pack([], unusable)


def _pack(images: Sequence[tuple[ChipInput, int]], unusable: Sequence[ChipInput]) -> ImageBatch:
    chips, places = [chip for chip, _ in images], [place for _, place in images]
    stacked = {
        name: torch.stack([chip.images[name][place] for chip, place in images])
        # the empty batch at the end has no modalities to stack
        for name in (chips[0].images if chips else ())
    }
    return ImageBatch(chips, places, stacked, unusable)


class ChipDataModule(lightning.LightningDataModule):
    """Gives each process the unfinished chips of its own shards.

    Args:
        reader: Reads one chip.
        store: Folder of the store, in which all chips have been announced.
        spec: Generation spec of this process, which must be the store's.
        threads: Threads that read ahead.
    """

    def __init__(self, reader: ReadsChips, store: Path, spec: GenerationSpec, threads: int) -> None:
        super().__init__()
        self.reader = reader
        self.store = store
        self.spec = spec
        self.threads = threads
        self.ids: list[str] = []

    def setup(self, stage: str) -> None:
        """Pick this process's chips: whole shards, dealt out in turn.

        Raises:
            StoreError: If this process's spec is not the store's, for example on machines with different devices.
        """
        store, wanted = AugmentStore.open(self.store), set(self.reader.ids)
        store.check_fits(self.spec, self.reader.extent)
        # without a trainer there is one process
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        self.ids = pending_chips(store, wanted, rank, world_size)

    def transfer_batch_to_device(
        self, batch: ImageBatch, device: torch.device, dataloader_idx: int
    ) -> ImageBatch:
        """Move the images of a batch; the rest stays where it is."""
        images = {name: to_device(image, device) for name, image in batch.images.items()}
        return dataclasses.replace(batch, images=images)

    def predict_dataloader(self) -> DataLoader[ImageBatch]:
        """Batches of images."""
        dataset = ImageBatches(self.reader, self.ids, self.threads, self.spec.network_batch)
        # the data set yields whole batches, read by threads: no worker processes, no collation
        return DataLoader(dataset, batch_size=None)


def pending_chips(store: AugmentStore, wanted: set[str], rank: int, world_size: int) -> list[str]:
    """Unfinished chips of the shards that a process owns, in the order of the store."""
    states = store.values("state")
    return [
        store.chip_ids[position]
        # whole shards: a shard is one object, which one process must write
        for positions in store.shards()[rank::world_size]
        for position in positions
        if states[position] != State.COMPLETE and store.chip_ids[position] in wanted
    ]
