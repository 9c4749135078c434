"""Maps of a scene's windows, generated as the store of a run was: by its spec, with weights of the same digests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from numpy.typing import NDArray

from augment_store.errors import StoreError
from augment_store.integrity.input_match import find_mismatch
from augment_store.store.schema import ChipShape
from augment_store.store.writer import ChipRecord
from finetune.augment.map_cache import MapCache, to_pixels, with_samples
from finetune.log_filters import notify
from finetune.run.load import arithmetic
from generate.data.datamodule import ChipReader, ImageBatches
from generate.lightning_module import GenerationModule
from generate.model.async_copy import to_device
from generate.model.batch_invariance import choose_network_batch_by_probe
from generate.model.terramind import load_generator
from generate.plan import installed_versions
from predict.ensemble import TrainedRun
from predict.kept_maps import KeptMaps
from predict.scene import SceneWindows
from terramind_weights.catalog import HUB, RANDOM, find_generator

MadeMaps = Mapping[str, Mapping[str, NDArray[Any]]]
"""Arrays of each window as the store has them, by its chip id."""

THREADS: Final = 1
"""Threads that read windows ahead: GDAL reads a raster in one at a time."""


@dataclass(frozen=True)
class WindowMaps:
    """Generated maps of some windows, as the source of one sample of them.

    Attributes:
        arrays: Arrays of each window as the store has them.
        shape: Height and width of a window in pixels.
        sample: Which of several samples is read.
    """

    arrays: MadeMaps
    shape: tuple[int, int]
    sample: int = 0

    def read(self, chip_id: str, array: str) -> NDArray[Any]:
        """Return raw values of one window, ``[1, time, …]``."""
        values = with_samples(array, self.arrays[chip_id][array])
        # the remainder lets an array without samples stand for all of them
        sample = self.sample % len(values)
        return to_pixels(array, values[sample : sample + 1], self.shape)


class SceneGenerator:
    """Generates the maps that a run reads, for the windows of a scene.

    Args:
        run: A run whose arm joins a store.
        weights: ``hub``, or a folder with the published files.
        samples: Samples of each window.
        shape: Height and width of a window in pixels.
        device: Where the generator runs.

    Raises:
        StoreError: If the weights are not those of the store's spec.
        WeightsError: If weights are missing or unreadable.
    """

    def __init__(
        self, run: TrainedRun, weights: str, samples: int, shape: tuple[int, int], device: torch.device
    ) -> None:
        maps = run.loaded.datamodule.augmentation.maps
        assert maps is not None
        self._maps: MapCache = maps
        # no fewer than the store has, so that the first have the same bits
        count = max(samples, maps.spec.sampling.samples)
        sampling = dataclasses.replace(maps.spec.sampling, samples=count)
        self.spec = dataclasses.replace(maps.spec, sampling=sampling)
        self._units, self._device = run.units, device
        self.here = dataclasses.replace(self.spec, device=device.type, versions=installed_versions())
        self._module = self._load(weights, shape)
        self._kept: KeptMaps | None = None

    def keep(self, path: Path, extent: ChipShape, command: str) -> None:
        """Keep what is generated from now on in a store, and use what it has already.

        Args:
            path: Folder of the store.
            extent: Timesteps and size of a window.
            command: The command, for the store's history.

        Raises:
            StoreError: If it is the store of the training, or one of another spec or extent.
        """
        if path.resolve() == self._maps.path.resolve():
            raise StoreError(
                f"--keep {path}: the store of the training, whose maps are used anyway; name a folder of its own"
            )
        self._kept = KeptMaps(path, self.here, extent, command)

    def _load(self, weights: str, shape: tuple[int, int]) -> GenerationModule:
        spec = self.spec
        names = [entry.name for entry in spec.inputs]
        wanted = RANDOM if weights == HUB and spec.weights == RANDOM else weights
        loaded = load_generator(find_generator(spec.generator), names, spec.modality, spec.sampling, wanted)
        inputs = tuple(
            dataclasses.replace(entry, mean=mean, std=std)
            for entry in spec.inputs
            for mean, std in [loaded.module.statistics(entry.name)]
        )
        proven = dataclasses.replace(
            spec,
            weights=loaded.weights,
            network_sha256=loaded.network_sha256,
            tokenizer_sha256=loaded.tokenizer_sha256,
            inputs=inputs,
        )
        if differences := spec.differences(proven):
            raise StoreError(
                f"--weights {weights}: not what the maps of the training were generated with ({self._maps.path} ≠ "
                f"these): {'; '.join(differences)}; name a folder with those weights by --weights"
            )
        if differences := spec.differences(self.here):
            notify(f"maps may differ in the last digits from those of the training: {'; '.join(differences)}")
        loaded.module.decodes = not spec.tokens_only
        loaded.module.to(self._device)
        # where its probe fails, one image at a time
        choose_network_batch_by_probe(
            loaded.module, spec.network_batch, shape, arithmetic(spec.precision, self._device)
        )
        return GenerationModule(loaded.module, probabilities=spec.probabilities, tokens_only=spec.tokens_only)

    @torch.inference_mode()
    def generate(
        self, windows: SceneWindows, ids: Sequence[str], dates: int
    ) -> tuple[MadeMaps, dict[str, str]]:
        """Generate the maps of some windows, or take them from the store where it has them of the same input.

        Args:
            windows: The windows.
            ids: Which of them.
            dates: Timesteps of the scene.

        Returns:
            Arrays of each window as the store has them, and the reason for each window that cannot be generated.
        """
        found = {chip_id: self._stored(windows, chip_id) for chip_id in ids}
        made = {chip_id: maps for chip_id, maps in found.items() if maps is not None}
        grid, failed, records = windows.grid, dict[str, str](), list[ChipRecord]()
        extent = ChipShape(dates, grid.rows.window, grid.columns.window)
        reader = ChipReader(windows, self._maps.inputs, self._units, extent)
        wanted = [chip_id for chip_id in ids if chip_id not in made]
        size = self._module.generator.network_batch
        with arithmetic(self.spec.precision, self._device):
            for number, batch in enumerate(ImageBatches(reader, wanted, THREADS, size)):
                images = {name: to_device(image, self._device) for name, image in batch.images.items()}
                records += self._module.predict_step(dataclasses.replace(batch, images=images), number)
        for record in records:
            if record.error:
                failed[record.chip_id] = record.error
            else:
                made[record.chip_id] = record.arrays
        if self._kept is not None and records:
            self._kept.add(windows, windows.scene.name, records)
        return made, failed

    def _stored(self, windows: SceneWindows, chip_id: str) -> Mapping[str, NDArray[Any]] | None:
        """Return the maps of a window that were generated from the same input; None if no store has them."""
        kept = None if self._kept is None else self._kept.find(windows, chip_id)
        if kept is not None:
            return kept
        if chip_id not in self._maps.complete or self.spec.sampling != self._maps.spec.sampling:
            return None
        store = self._maps.store
        if find_mismatch(store, windows.read(chip_id, self._maps.inputs)) is not None:
            return None
        return {name: store.read(chip_id, name) for name in store.map_names}
