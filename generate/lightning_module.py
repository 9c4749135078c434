"""The generator as Lightning runs it: batches of images in, the records of chips to write out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment_store.modalities.categorical import CONFIDENCE, PROBABILITIES, CategoricalMap
from augment_store.modalities.continuous import ContinuousMap
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.modalities.map_arrays import SHARE_SCALE, TOKEN_PROBABILITY, TOKENS, MapArray
from augment_store.modalities.registry import MAPS
from augment_store.store.writer import ChipRecord
from generate.data.datamodule import ChipInput, ImageBatch
from generate.model.async_copy import AsyncDeviceToHost
from generate.model.map_decoder import PARTS, ImageKey, MapDecoder

FINITE: Final = "finite"
NOT_FINITE: Final = (
    "NaN or infinity; look for extreme input values with tim-generate audit, or use --precision 32-true"
)


class GenerationModule(lightning.LightningModule):
    """Runs a generator over batches of images and returns the records to write.

    While the device works on one batch, the records of the one before are made: `predict_step` returns those, and
    the empty batch at the end flushes the last.

    Args:
        generator: The generator with its weights, or the decoder alone for tokens that are there already.
        probabilities: True to keep class probabilities.
        tokens_only: True to keep tokens alone.
    """

    def __init__(self, generator: MapDecoder, *, probabilities: bool, tokens_only: bool = False) -> None:
        super().__init__()
        self.generator = generator
        self.kind = MAPS[generator.modality]
        self.arrays = self.kind.all_arrays(
            probabilities=probabilities,
            codebooks=1,
            windows=generator.sampling.window is not None,
            tokens_only=tokens_only,
        )
        self._tokens_only = tokens_only
        self._under_way: tuple[ImageBatch, AsyncDeviceToHost] | None = None
        self._made: list[dict[str, NDArray[Any]]] = []  # for the chip whose images are not all made yet

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> list[ChipRecord]:
        """Return records of the chips that the batch before has completed, and of those that are unusable."""
        # this batch starts first, so that the device works while the records of the one before are made
        before, self._under_way = self._under_way, self._start(batch) if batch.chips else None
        records = [ChipRecord(chip.chip_id, {}, chip.error) for chip in batch.unusable]
        return records if before is None else [*self._records(*before), *records]

    def _start(self, batch: ImageBatch) -> tuple[ImageBatch, AsyncDeviceToHost]:
        """Start a batch on the device; nothing here waits for it."""
        owners = [
            ImageKey(chip.chip_id, chip.distinct[place])
            for chip, place in zip(batch.chips, batch.places, strict=True)
        ]
        generated = self.generator.generate(batch.images, owners)
        maps = {
            # int64 → int32 and float64 → float32 on the device: half as much to copy
            TOKENS: generated.tokens.int(),
            TOKEN_PROBABILITY: generated.token_probability.float(),
            **({} if self._tokens_only else device_maps(self.kind, generated.decoded)),
        }
        # only what is stored is copied to the host
        wanted = {array.name: maps[array.name] for array in self.arrays}
        # without its images, whose memory the next batch may need
        return dataclasses.replace(batch, images={}), AsyncDeviceToHost({**wanted, FINITE: generated.finite})

    def _records(self, batch: ImageBatch, landing: AsyncDeviceToHost) -> Iterator[ChipRecord]:
        """Yield the records of the chips whose last image is in a batch."""
        landed = landing.result()
        for slot, (chip, place) in enumerate(zip(batch.chips, batch.places, strict=True)):
            self._made.append({name: values[slot] for name, values in landed.items()})
            # a chip's images follow one another, so that its last one completes it
            if place == len(chip.distinct) - 1:
                made, self._made = self._made, []
                yield self._record(chip, made)

    def _record(self, chip: ChipInput, made: Sequence[Mapping[str, NDArray[Any]]]) -> ChipRecord:
        """Make the record of one chip, with an error if an image gave NaN or infinity."""
        # [images, 2] → [2]
        finite = np.stack([maps[FINITE] for maps in made]).all(axis=0)
        if not finite.all():
            # the first column that is false: a decoder given NaN only passes it on
            part = PARTS[int(np.argmin(finite))]
            return ChipRecord(chip.chip_id, {}, f"chip {chip.chip_id}: the {part} gave {NOT_FINITE}")
        # `distinct` is sorted, so this finds the image of each timestep
        places = np.searchsorted(chip.distinct, chip.sources)
        arrays = {
            array.name: np.stack(
                [stored(self.kind, array, made[place][array.name]) for place in places], axis=array.time_axis
            )
            for array in self.arrays
        }
        arrays |= {
            "input_digest": chip.digests,
            "timestep_source": chip.sources,
            "series_index": chip.series_index,
        }
        return ChipRecord(chip.chip_id, arrays)


@functools.singledispatch
def device_maps(kind: GeneratedMap, decoded: Tensor) -> dict[str, Tensor]:
    """Make maps on the device from the decoder's output ``[B, S, C, H, W]``, by array; one function per family."""
    raise NotImplementedError(f"no maps are made of family {type(kind).__name__}")


@device_maps.register
def _(kind: CategoricalMap, decoded: Tensor) -> dict[str, Tensor]:
    """Make the class taken, its probability, and the mean probability of each class, from logits."""
    # [B, S, C, H, W], over the classes
    shares = decoded.softmax(dim=2)
    confidence, classes = shares.max(dim=2)
    return {
        kind.array: classes.to(torch.uint8),
        CONFIDENCE: _as_bytes(confidence),
        # over the samples: [B, S, C, H, W] → [B, C, H, W]
        PROBABILITIES: _as_bytes(shares.mean(dim=1)),
    }


@device_maps.register
def _(kind: ContinuousMap, decoded: Tensor) -> dict[str, Tensor]:
    """Return values in the modality's unit, without a band axis if there is one band."""
    # [B, S, 1, H, W] → [B, S, H, W]
    return {kind.array: decoded if kind.banded else decoded[:, :, 0]}


def stored(kind: GeneratedMap, array: MapArray, values: NDArray[Any]) -> NDArray[Any]:
    """Convert values of an array to those that the store holds."""
    if isinstance(kind, ContinuousMap) and array.name == kind.array:
        return kind.store(values)
    return values.astype(array.dtype)


def _as_bytes(shares: Tensor) -> Tensor:
    # rounded first, since the cast cuts off
    return (shares / SHARE_SCALE).round().to(torch.uint8)
