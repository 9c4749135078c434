"""The generator as Lightning runs it: batches of chips in, the records to write out."""

from __future__ import annotations

import functools
from typing import Any

import lightning
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from augment_store.errors import ChipDataError
from augment_store.maps.arrays import SHARE_SCALE, TOKEN_PROBABILITY, TOKENS
from augment_store.maps.categorical import CONFIDENCE, PROBABILITIES, CategoricalMap
from augment_store.maps.continuous import ContinuousMap
from augment_store.maps.family import GeneratedMap
from augment_store.maps.registry import MAPS
from augment_store.records import ChipRecord
from generate.datamodule import ChipInput
from generate.terramind import Generated, TerraMindGenerator


class GenerationModule(lightning.LightningModule):
    """Runs a generator over batches of chips and returns the records to write.

    Args:
        generator: The generator with its weights.
        probabilities: Whether class probabilities are kept.
    """

    def __init__(self, generator: TerraMindGenerator, *, probabilities: bool) -> None:
        super().__init__()
        self.generator = generator
        self.kind = MAPS[generator.modality]
        self.arrays = self.kind.all_arrays(probabilities=probabilities, codebooks=1)

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
            array.name: np.stack([maps[place][array.name] for place in places], axis=array.time_axis)
            for array in self.arrays
        }

    def _maps(self, generated: Generated) -> dict[str, NDArray[Any]]:
        """The store's arrays for one timestep, ``[S, ...]`` (probabilities: ``[classes, H, W]``)."""
        maps = {
            TOKENS: _as_array(generated.tokens, np.uint16),
            TOKEN_PROBABILITY: _as_array(generated.token_probability, np.float32),
            **stored_maps(self.kind, generated.decoded),
        }
        return {array.name: maps[array.name] for array in self.arrays}


@functools.singledispatch
def stored_maps(kind: GeneratedMap, decoded: Tensor) -> dict[str, NDArray[Any]]:
    """The arrays of one timestep by name, from the decoder's output ``[S, C, H, W]``; one function per family."""
    raise NotImplementedError(f"no maps are made of family {type(kind).__name__}")


@stored_maps.register
def _(kind: CategoricalMap, decoded: Tensor) -> dict[str, NDArray[Any]]:
    """Class taken, its probability, and the mean probability of each class, from logits."""
    shares = decoded.softmax(dim=1)
    confidence, classes = shares.max(dim=1)
    return {
        kind.array: _as_array(classes, np.uint8),
        CONFIDENCE: _as_bytes(confidence),
        PROBABILITIES: _as_bytes(shares.mean(dim=0)),
    }


@stored_maps.register
def _(kind: ContinuousMap, decoded: Tensor) -> dict[str, NDArray[Any]]:
    """Values in the modality's unit; without a band axis where there is one band."""
    stored = kind.store(decoded.cpu().numpy())
    return {kind.array: stored if kind.banded else stored[:, 0]}


def _as_array(values: Tensor, dtype: type[np.generic]) -> NDArray[Any]:
    return values.cpu().numpy().astype(dtype)


def _as_bytes(shares: Tensor) -> NDArray[Any]:
    return _as_array((shares / SHARE_SCALE).round(), np.uint8)
