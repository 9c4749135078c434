"""Map a scene, or the chips of a chip set: audited first, and with a store that keeps what is generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from augment_store.chips.chip_set import ChipSet
from augment_store.io.lock import store_lock
from augment_store.io.remote import as_path
from augment_store.store.history import command_line
from augment_store.store.schema import ChipShape
from augment_store.utils.progress import track
from augment_store.utils.text import pluralize
from finetune.errors import ConfigError
from finetune.log_filters import notify
from generate.api import option_words
from generate.audit.audit import audit_chips
from predict.mapper import Mapper, load_mapper
from predict.options import PredictOptions
from predict.scene import ChipScene
from predict.scene_map import map_scene, predict_share
from predict.shares import Share, other_shares


def run_prediction(options: PredictOptions) -> list[Path]:
    """Map a scene, or each chip of a chip set.

    Args:
        options: What the user asks for, checked.

    Returns:
        The files with the map of classes, or with the first layer asked for.

    Raises:
        AugmentStoreError: If a run, its store or weights, a scene or the output cannot be used.
    """
    mapper = load_mapper(options, Share(0, options.devices))
    if options.chips is not None:
        chips = ChipSet.open(as_path(options.chips), options.layout)
        _audit(mapper, chips)
        with other_shares(options) as check:
            _map_chips(mapper, chips, check)
        return [options.path(options.layers[0], chip_id) for chip_id in chips.ids]
    with mapper.open_scene() as windows:
        # read once for the error that it may give, which the audit would wrap
        windows.read(windows.ids[0], mapper.ensemble.modalities)
        _audit(mapper, windows)
        with _keeping(mapper):
            map_scene(mapper, windows)
    return [options.path(options.layers[0])]


def run_share(options: PredictOptions, share: Share) -> None:
    """Do a share of the work, beside the process that has audited the inputs.

    Args:
        options: What the user asks for, checked.
        share: The share.

    Raises:
        AugmentStoreError: If anything cannot be used or written.
    """
    mapper = load_mapper(options, share)
    if options.chips is None:
        predict_share(mapper)
    else:
        _map_chips(mapper, ChipSet.open(as_path(options.chips), options.layout))


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


def _map_chips(mapper: Mapper, chips: ChipSet, check: Callable[[], None] | None = None) -> None:
    """Map each chip of this process's share into a file of its own, and check before each."""
    ids = mapper.share.of(chips.ids)
    for chip_id in track(ids, "mapping", len(ids), quiet=mapper.options.quiet):
        if check is not None:
            check()
        map_scene(mapper, mapper.windows(ChipScene(chips, chip_id, mapper.ensemble.modalities)), chip_id)


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
