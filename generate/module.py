"""The generator as Lightning runs it: batches of chips in, the records to write out."""

from __future__ import annotations

from typing import Any

import lightning
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from augment_store.errors import ChipDataError
from augment_store.schema import NDVI_SCALE, SHARE_SCALE
from augment_store.store import ChipRecord
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
