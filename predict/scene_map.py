"""From a scene to its map: window by window, row by row, and each finished strip is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from augment_store.errors import OutputError
from augment_store.io.files import check_outside_stores
from augment_store.io.lock import file_lock
from augment_store.io.remote import RemotePath, as_path
from augment_store.io.tar import ArchivedPath
from augment_store.utils.progress import ProgressReporter
from augment_store.utils.text import pluralize, versions
from finetune.log_filters import notify
from predict.blocks import StripFolder, digest_of_settings
from predict.cog import SETTINGS, settings_of, write_cog_of_strips
from predict.mapper import Mapper
from predict.network import BATCH
from predict.options import CLASS, GENERATED, PredictOptions
from predict.scene import ChipScene, Scene, SceneWindows
from predict.shares import other_shares
from predict.strips import Strip
from predict.voting import Voters

GROUP: Final = 16
"""Windows of a row that are read at once, then generated and predicted. Fixed, as batches are made of them."""

PACKAGES: Final = ("terramind-tim-store", "terratorch", "torch", "numpy")


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
        # chips are shared among the processes whole
        with other_shares(mapper.options if chip_id is None else None) as check:
            predict_strips(mapper, windows, strips, whole=chip_id is not None, check=check)
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
        "layout": None if options.layout is None else _version(as_path(options.layout)),
        "window": list(ensemble.window),
        "samples": options.samples,
        "bounds": None if options.bounds is None else list(options.bounds),
        "mask": None if options.mask is None else _version(as_path(options.mask)),
        "layers": list(options.layers),
        "device": mapper.device.type,
        "batch": BATCH[mapper.device.type],
        "versions": versions(PACKAGES),
    }


def _sources(options: PredictOptions, scene: Scene) -> dict[str, Any]:
    """Return all files of a scene by name, size and time of change; of those at a URL the name alone."""
    if isinstance(scene, ChipScene):
        files = {name: scene.chips.band_paths(scene.name, name) for name in scene.modalities}
    else:
        files = {name: tuple(map(as_path, paths)) for name, paths in options.files.items()}
    return {name: [_version(file) for file in paths] for name, paths in files.items()}


def _version(file: Path) -> list[Any]:
    # an archive changes as a whole
    path = file.archive if isinstance(file, ArchivedPath) else file
    if isinstance(path, RemotePath) or not path.is_file():
        return [file.name]
    found = path.stat()
    return [file.name, found.st_size, found.st_mtime_ns]


def predict_share(mapper: Mapper) -> None:
    """Predict this process's strips of a scene, whose map another process writes.

    Raises:
        RunError: If the two see other settings.
    """
    with mapper.open_scene() as windows:
        digest = digest_of_settings(_settings(mapper, windows))
        strips = StripFolder(mapper.options.path(CLASS), digest, windows.grid, joined=True)
        predict_strips(mapper, windows, strips, whole=False)


def predict_strips(
    mapper: Mapper,
    windows: SceneWindows,
    strips: StripFolder,
    *,
    whole: bool,
    check: Callable[[], None] | None = None,
) -> None:
    """Predict what is not finished, from the top to the bottom.

    Args:
        mapper: What maps the scene.
        windows: Its windows.
        strips: Where strips are kept.
        whole: Whether to predict all of it, in place of this process's share.
        check: Called before each row of windows.
    """
    grid = windows.grid
    rows, columns = range(len(grid.rows.starts)), len(grid.columns.starts)
    mine = rows if whole else mapper.share.of(rows)
    left = mine[strips.finished(mine) :]
    if not left:
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
    again = range(strips.first_row(left.start), left.stop)
    with _progress(mapper, windows, len(again) * columns) as progress:
        for row in again:
            if check is not None:
                check()
            for start in range(0, columns, GROUP):
                group = range(start, min(start + GROUP, columns))
                left_out += voters.add(strip, row, group)
                progress.advance(len(group))
            taken = strip.take(row)
            if row in left:
                strips.save(row, {layer.name: layer.of(taken) for layer in mapper.layers})
    if left_out:
        notify(f"{pluralize(len(left_out), 'window')} left out; the first: {left_out[0]}")


def _progress(mapper: Mapper, windows: SceneWindows, count: int) -> ProgressReporter:
    # chips report nothing each, as they are many and small
    quiet = mapper.options.quiet or mapper.options.chips is not None
    return ProgressReporter(f"mapping {windows.scene.name}", count, unit="window", quiet=quiet)
