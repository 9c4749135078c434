"""Everything that maps scenes, loaded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import rasterio
import torch

from augment_store.io.remote import as_path
from augment_store.utils.log_filters import filter_warnings
from augment_store.utils.text import pluralize
from finetune.errors import ConfigError
from finetune.log_filters import LOGGERS, REMARKS
from generate.log_filters import LOGGERS as GENERATOR_LOGGERS
from predict.ensemble import Ensemble, load_ensemble
from predict.generated_maps import SceneGenerator
from predict.layers import MAKERS, NO_CLASS, MapLayer, generated_layer
from predict.options import GENERATED, PredictOptions
from predict.scene import Scene, SceneWindows, open_scene
from predict.shares import Share

CACHE_MEGABYTES: Final = 64
"""Memory of GDAL for blocks of rasters, whatever the machine has: about those of one group of windows.

A row of windows across 10,980 px has more blocks than any cache holds (4 dates × 12 bands: 550 MB of tiles of 512 px),
so each row of windows decodes its blocks anew. Read as groups, windows of 128 (256) px decode a tile once or twice for
each of the 9 (5) rows of windows on it, and a row of a striped file once for each of the 11 (6) groups of two rows of
windows. Read one by one, it is once for each row of windows, but 2 × 85 times for a row of a striped file where those
under a window of 256 px do not fit.
"""


@dataclass(frozen=True)
class Mapper:
    """What maps scenes.

    Attributes:
        options: What the user asks for.
        ensemble: The runs.
        device: Where the networks run.
        layers: What is written.
        generators: Generator of each store's fingerprint.
        share: What this process does of the work.
    """

    options: PredictOptions
    ensemble: Ensemble
    device: torch.device
    layers: tuple[MapLayer, ...]
    generators: Mapping[str, SceneGenerator]
    share: Share

    @property
    def drawn_fingerprint(self) -> str:
        """Return the fingerprint of the store whose generated map is a layer; empty if that is not asked for."""
        return next(iter(self.generators)) if GENERATED in self.options.layers else ""

    def windows(self, scene: Scene) -> SceneWindows:
        """Return the windows of a scene.

        Raises:
            ChipSetError: If it is smaller than a window.
        """
        ensemble = self.ensemble
        return SceneWindows(scene, ensemble.window, ensemble.modalities, ensemble.runs[0].layout)

    @contextmanager
    def open_scene(self) -> Iterator[SceneWindows]:
        """Open the rasters that the user names, as windows.

        Raises:
            AugmentStoreError: If they are missing, unreadable, on several grids or smaller than a window.
        """
        options, ensemble = self.options, self.ensemble
        mask = None if options.mask is None else Path(options.mask)
        names, dates = ensemble.modalities, ensemble.dates
        with (
            rasterio.Env(GDAL_CACHEMAX=CACHE_MEGABYTES),
            open_scene(options.files, names, dates, options.layout, options.bounds, mask) as scene,
        ):
            yield self.windows(scene)


def load_mapper(options: PredictOptions, share: Share) -> Mapper:
    """Load the runs, and the generators of the maps that they read.

    Args:
        options: What the user asks for, checked.
        share: What this process does of the work.

    Raises:
        AugmentStoreError: If a run, its store or weights cannot be used, or there are too few GPUs.
    """
    filter_warnings(REMARKS, (*LOGGERS, *GENERATOR_LOGGERS))
    store = None if options.store is None else as_path(options.store)
    ensemble = load_ensemble(options.folders, store, options.window)
    if len(ensemble.class_names) >= NO_CLASS:
        raise ConfigError(f"{len(ensemble.class_names)} classes; a map holds at most {NO_CLASS - 1}")
    gpus = torch.cuda.device_count()
    # a process of a share sees the one GPU that it was given
    if share.index == 0 and 0 < gpus < share.count:
        raise ConfigError(f"--devices {share.count}: {pluralize(gpus, 'GPU')} here; ask for no more")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # one run for each store, whichever comes first
    reading = {run.spec.fingerprint: run for run in reversed(ensemble.runs) if run.spec is not None}
    if not reading and (options.samples > 1 or GENERATED in options.layers):
        asked = "--samples" if options.samples > 1 else f"--layers {GENERATED}"
        raise ConfigError(f"{asked}: none of the runs reads generated maps; leave it out")
    generators = {
        fingerprint: SceneGenerator(run, options.weights, options.samples, ensemble.window, device)
        for fingerprint, run in reading.items()
    }
    layers = [
        generated_layer(next(iter(generators.values())).spec.map, ensemble.dates)
        if name == GENERATED
        else MAKERS[name](ensemble.class_names)
        for name in options.layers
    ]
    return Mapper(options, ensemble, device, tuple(layers), generators, share)
