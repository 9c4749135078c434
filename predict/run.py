"""From a scene to its map: window by window, row by row, and each finished strip is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import torch

from augment_store.chips.chip_set import ChipSet
from augment_store.errors import OutputError
from augment_store.io.files import check_outside_stores
from augment_store.io.lock import file_lock, store_lock
from augment_store.io.remote import as_path
from augment_store.store.history import command_line
from augment_store.store.schema import ChipShape
from augment_store.utils.log_filters import filter_warnings
from augment_store.utils.progress import ProgressReporter, track
from augment_store.utils.text import pluralize, versions
from finetune.errors import ConfigError
from finetune.log_filters import LOGGERS, REMARKS, notify
from generate.api import option_words
from generate.audit.audit import audit_chips
from generate.log_filters import LOGGERS as GENERATOR_LOGGERS
from predict.blocks import StripFolder, digest_of_settings
from predict.cog import SETTINGS, settings_of, write_cog_of_strips
from predict.ensemble import Ensemble, load_ensemble
from predict.generated_maps import SceneGenerator
from predict.layers import MAKERS, NO_CLASS, MapLayer, generated_layer
from predict.network import BATCH
from predict.options import CLASS, GENERATED, PredictOptions
from predict.scene import ChipScene, Scene, SceneWindows, open_scene
from predict.strips import Strip
from predict.voting import Voters

GROUP: Final = 16
"""Windows that are generated and predicted before their rasters are let go of. Fixed, as batches are made of them."""

CACHE_MEGABYTES: Final = 256
"""Memory of GDAL for blocks of rasters that several windows read, whatever the machine has."""

PACKAGES: Final = ("terramind-tim-store", "terratorch", "torch", "numpy")


@dataclass(frozen=True)
class Mapper:
    """Everything that maps scenes, loaded once.

    Attributes:
        options: What the user asks for.
        ensemble: The runs.
        device: Where the networks run.
        layers: What is written.
        generators: Generator of each store's fingerprint.
    """

    options: PredictOptions
    ensemble: Ensemble
    device: torch.device
    layers: tuple[MapLayer, ...]
    generators: Mapping[str, SceneGenerator] = field(default_factory=dict)

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


def run_prediction(options: PredictOptions) -> list[Path]:
    """Map a scene, or each chip of a chip set.

    Args:
        options: What the user asks for, checked.

    Returns:
        The files with the map of classes, or with the first layer asked for.

    Raises:
        AugmentStoreError: If a run, its store or weights, a scene or the output cannot be used.
    """
    filter_warnings(REMARKS, (*LOGGERS, *GENERATOR_LOGGERS))
    store = None if options.store is None else as_path(options.store)
    ensemble = load_ensemble(options.folders, store, options.window)
    mapper = _load(options, ensemble)
    if options.chips is not None:
        return _map_chips(mapper, ChipSet.open(as_path(options.chips), options.layout))
    out = options.path(options.layers[0])
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_MEGABYTES),
        open_scene(
            options.files,
            ensemble.modalities,
            ensemble.dates,
            options.layout,
            options.bounds,
            None if options.mask is None else Path(options.mask),
        ) as scene,
    ):
        windows = mapper.windows(scene)
        # read once for the error that it may give, which the audit would wrap
        windows.read(windows.ids[0], ensemble.modalities)
        _audit(mapper, windows)
        with _keeping(mapper):
            map_scene(mapper, windows)
    return [out]


@contextmanager
def _keeping(mapper: Mapper) -> Iterator[None]:
    """Hold the store that keeps generated maps, if one is named.

    Raises:
        ConfigError: If the runs read maps of no store, or of several.
        StoreError: If it is another store.
    """
    options, generators = mapper.options, list(mapper.generators.values())
    if options.keep is None:
        yield
        return
    if len(generators) != 1:
        raise ConfigError(
            f"--keep {options.keep}: the runs read maps of {pluralize(len(generators), 'generation spec')}, and a "
            "store keeps those of one; leave it out, or map with the runs of one store"
        )
    words = [*map(str, options.folders), *option_words(options, ("runs", "scene", "quiet"))]
    scene = [f"{name}={file}" for name, files in options.files.items() for file in files]
    command = command_line("predict", [*words, "--scene", *scene])
    path = as_path(options.keep)
    with store_lock(path, command):
        generators[0].keep(path, ChipShape(mapper.ensemble.dates, *mapper.ensemble.window), command)
        yield


def _map_chips(mapper: Mapper, chips: ChipSet) -> list[Path]:
    """Map each chip of a chip set into a file of its own."""
    options = mapper.options
    _audit(mapper, chips)
    for chip_id in track(chips.ids, "mapping", len(chips), quiet=options.quiet):
        map_scene(mapper, mapper.windows(ChipScene(chips, chip_id, mapper.ensemble.modalities)), chip_id)
    return [options.path(options.layers[0], chip_id) for chip_id in chips.ids]


def _load(options: PredictOptions, ensemble: Ensemble) -> Mapper:
    if len(ensemble.class_names) >= NO_CLASS:
        raise ConfigError(f"{len(ensemble.class_names)} classes; a map holds at most {NO_CLASS - 1}")
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
    return Mapper(options, ensemble, device, tuple(layers), generators)


def _audit(mapper: Mapper, chips: ChipSet) -> None:
    """Compare the inputs with what the generator was pretrained on.

    Raises:
        ChipSetError: If a finding stops, and the user did not accept it.
    """
    found = audit_chips(chips, mapper.ensemble.modalities, mapper.ensemble.runs[0].units)
    for finding in found.findings:
        if finding.level != "stop":
            notify(f"{finding.modality}: {finding.message}")
    if not mapper.options.accept_audit:
        found.raise_stops("Mend the scene, or continue with --accept-audit")


def map_scene(mapper: Mapper, windows: SceneWindows, chip_id: str | None = None) -> None:
    """Map one scene, or go on where an interrupted command stopped; one that is mapped is left as it is.

    Args:
        mapper: What maps it.
        windows: Its windows.
        chip_id: Its id if it is a chip.

    Raises:
        OutputError: If a map of other settings is there, or one cannot be written.
        AugmentStoreError: If a raster cannot be read.
    """
    scene = windows.scene
    settings = _settings(mapper, windows)
    digest = digest_of_settings(settings)
    paths = {layer.name: mapper.options.path(layer.name, chip_id) for layer in mapper.layers}
    out = mapper.options.path(CLASS, chip_id)
    check_outside_stores(out)
    with file_lock(out):
        found = {path: settings_of(path) for path in paths.values() if path.exists()}
        if list(found.values()) == [digest] * len(paths):
            return
        for path, other in found.items():
            if other != digest:
                raise OutputError(path, "exists, made with other settings; delete it, or name another --out")
        strips = StripFolder(out, digest, windows.grid)
        _predict_strips(mapper, windows, strips)
        tags = {SETTINGS: digest, "SETTINGS": json.dumps(settings, sort_keys=True)}
        for layer in mapper.layers:
            write_cog_of_strips(
                paths[layer.name],
                layer,
                scene.shape,
                scene.georeference,
                partial(strips.strips, layer.name),
                tags,
                strips.path,
            )
        strips.remove()


def _settings(mapper: Mapper, windows: SceneWindows) -> dict[str, Any]:
    """Return all that decides the values of a map, as plain values."""
    ensemble, options = mapper.ensemble, mapper.options
    specs = {fingerprint: made.spec.to_dict() for fingerprint, made in mapper.generators.items()}
    return {
        "runs": [[run.loaded.source.resolve().name, run.loaded.checkpoint_sha256] for run in ensemble.runs],
        "temperatures": [run.temperature for run in ensemble.runs],
        "classes": list(ensemble.class_names),
        "specs": specs,
        "scene": _sources(options, windows.scene),
        # it says which bands the files have
        "layout": None if options.layout is None else _version(options.layout),
        "window": list(ensemble.window),
        "samples": options.samples,
        "bounds": None if options.bounds is None else list(options.bounds),
        "mask": None if options.mask is None else _version(str(options.mask)),
        "layers": list(options.layers),
        "device": mapper.device.type,
        "batch": BATCH[mapper.device.type],
        "versions": versions(PACKAGES),
    }


def _sources(options: PredictOptions, scene: Scene) -> dict[str, Any]:
    """Return the files of a scene by name, size and time of change; of those at a URL the name alone."""
    if isinstance(scene, ChipScene):
        files = {name: [str(scene.chips.path(scene.name, name))] for name in scene.modalities}
    else:
        files = {name: list(paths) for name, paths in options.files.items()}
    return {name: [_version(file) for file in paths] for name, paths in files.items()}


def _version(file: str) -> list[Any]:
    path = Path(file)
    if not path.is_file():
        return [path.name]
    found = path.stat()
    return [path.name, found.st_size, found.st_mtime_ns]


def _predict_strips(mapper: Mapper, windows: SceneWindows, strips: StripFolder) -> None:
    """Predict what is not finished, from the top to the bottom."""
    grid, finished = windows.grid, strips.finished
    rows, columns = len(grid.rows.starts), len(grid.columns.starts)
    if finished == rows:
        return
    options, ensemble = mapper.options, mapper.ensemble
    voters = Voters(
        ensemble, mapper.generators, windows, options.samples, mapper.device, mapper.drawn_fingerprint
    )
    drawn = next((layer for layer in mapper.layers if layer.name == GENERATED), None)
    strip = Strip(
        grid,
        len(voters.members) * len(ensemble.class_names),
        len(drawn.bands) if drawn else 0,
        drawn.dtype if drawn else np.uint8,
    )
    left_out = list[str]()
    # rows above the first unfinished strip reach into it, so they are predicted again
    first = strips.first_row
    with _progress(mapper, windows, (rows - first) * columns) as progress:
        for row in range(first, rows):
            for start in range(0, columns, GROUP):
                group = range(start, min(start + GROUP, columns))
                left_out += voters.add(strip, row, group)
                progress.advance(len(group))
            taken = strip.take(row)
            if row >= finished:
                strips.save(row, {layer.name: layer.of(taken) for layer in mapper.layers})
    if left_out:
        notify(f"{pluralize(len(left_out), 'window')} left out; the first: {left_out[0]}")


def _progress(mapper: Mapper, windows: SceneWindows, count: int) -> ProgressReporter:
    # chips report nothing each, as they are many and small
    quiet = mapper.options.quiet or mapper.options.chips is not None
    return ProgressReporter(f"mapping {windows.scene.name}", count, unit="window", quiet=quiet)
