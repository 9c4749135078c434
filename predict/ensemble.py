"""The runs that predict together: opened, and made sure that they see and say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augment_store.chips.layouts import Layout, load_layout, shipped_layout
from augment_store.chips.units import Units
from augment_store.modalities.definitions import NATIVE, S1_MODALITIES, S2_MODALITIES
from augment_store.store.spec import GenerationSpec
from augment_store.utils.text import format_size
from finetune.augment.controls import SHUFFLE
from finetune.data.transform_checks import PixelGrid, find_grid
from finetune.errors import ConfigError, RunError
from finetune.log_filters import notify
from finetune.model.shapes import check_shape
from finetune.run.load import LoadedRun, load_run
from finetune.run.manifest import RunManifest
from finetune.run.preflight import PathOverrides
from finetune.run.temperature import TEMPERATURE, Temperature


@dataclass(frozen=True)
class TrainedRun:
    """A run that predicts.

    Attributes:
        loaded: Its network and datamodule.
        manifest: What it was trained on.
        temperature: What its logits are divided by; 1 if it was not calibrated.
    """

    loaded: LoadedRun
    manifest: RunManifest
    temperature: float = 1.0

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of its classes, by label."""
        count = self.loaded.config["model"]["init_args"]["model_args"].get("num_classes", 0)
        return self.loaded.datamodule.class_names or tuple(f"class {label}" for label in range(count))

    @property
    def spec(self) -> GenerationSpec | None:
        """Return the spec by which the maps that it reads are generated; None if it reads none."""
        maps = self.loaded.datamodule.augmentation.maps
        return None if maps is None else maps.spec

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return the modalities that the network, its control or the generator of its maps reads."""
        datamodule, spec = self.loaded.datamodule, self.spec
        generator = () if spec is None else tuple(entry.name for entry in spec.inputs)
        return tuple(dict.fromkeys((*datamodule.bands, *generator)))

    @property
    def chip_shape(self) -> tuple[int, int] | None:
        """Return height and width of the chips that it was trained on; None if nothing recorded them."""
        extent = self.loaded.datamodule.augmentation.extent
        return self.manifest.data.chip_shape or (None if extent is None else extent.shape)

    @property
    def layout(self) -> Layout:
        """Return a layout with the units on disk of the chips that it was trained on."""
        named = self.manifest.data.layout
        # a layout that was detected is one that ships, and those have the usual units
        return shipped_layout("folders") if named is None else load_layout(named)

    @property
    def units(self) -> Units:
        """Return the units on disk that the maps which it reads were generated from, or else the layout's."""
        if self.spec is None:
            return Units.of(self.layout)
        inputs = self.spec.inputs
        radar = next((i.unit for i in inputs if i.name in S1_MODALITIES and i.unit != NATIVE), None)
        return Units(radar or "dB", next((i.offset for i in inputs if i.name in S2_MODALITIES), 0.0))


@dataclass(frozen=True)
class Ensemble:
    """Runs that predict together, one or more.

    Attributes:
        runs: The runs.
        window: Height and width in pixels of what the networks see at a time.
    """

    runs: tuple[TrainedRun, ...]
    window: tuple[int, int]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes, by label."""
        return self.runs[0].class_names

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return all modalities that are read, those of the first run first."""
        return tuple(dict.fromkeys(name for run in self.runs for name in run.modalities))

    @property
    def dates(self) -> int:
        """Return the number of dates that each run sees."""
        return len(self.runs[0].loaded.datamodule.reading.timesteps)


def load_ensemble(folders: Sequence[Path], store: Path | None, window: int | None) -> Ensemble:
    """Load runs with their best checkpoints, and make sure that they can predict together.

    Args:
        folders: Run directories.
        store: Where the store that they were trained with is now; None for where they read it.
        window: Side of a window in pixels; None for the size of the training chips.

    Raises:
        RunError: If a run did not finish, or its store is missing or another one.
        ConfigError: If runs differ in classes, dates or the size of chips, or a run cannot map a scene.
        AugmentStoreError: If a run cannot be loaded.
    """
    runs = tuple(_open(folder, store) for folder in folders)
    for run in runs[1:]:
        for what in ("class_names", "chip_shape", "units"):
            one, other = getattr(runs[0], what), getattr(run, what)
            if one != other and not (what == "chip_shape" and window):
                raise _differ(runs[0], run, what, one, other)
        dates = [len(each.loaded.datamodule.reading.timesteps) for each in (runs[0], run)]
        if dates[0] != dates[1]:
            raise _differ(runs[0], run, "number of timesteps", *dates)
    shape = runs[0].chip_shape if window is None else (window, window)
    if shape is None:
        raise RunError(
            f"{folders[0]}: does not record the size of its training chips, as runs of earlier versions; give it by "
            "--window PX"
        )
    for run in runs:
        _check_maps_windows(run, shape)
    return Ensemble(runs, shape)


def _open(folder: Path, store: Path | None) -> TrainedRun:
    manifest = RunManifest.read(folder)
    # before loading: an unfinished run may have checkpoints already
    manifest.check_complete(folder)
    record = manifest.augment
    if record.control == SHUFFLE:
        raise ConfigError(
            f"{folder}: trained with --control {SHUFFLE}, on the maps of other chips, which a scene does not have; "
            "predict with a run of the arm itself"
        )
    place = store or (Path(record.store) if record.store else None)
    if record.fingerprint and place is not None and not (place / "zarr.json").is_file():
        raise RunError(
            f"{folder}: trained on maps of {place}, where there is no store; maps of a scene are generated by its "
            "spec, so name the store with --store"
        )
    # a baseline has no store, and must not be given one
    paths = PathOverrides(store=store if record.store else None)
    loaded = load_run(folder, "best", paths, manifest)
    opened = loaded.datamodule.augmentation
    found = opened.store.fingerprint if opened.store is not None and opened.depends_on_store else ""
    if found != record.fingerprint:
        raise RunError(
            f"{folder}: trained on maps of a store with fingerprint {record.fingerprint[:12] or 'none'}, but that of "
            f"{place} is {found[:12] or 'none'}; name the right one with --store"
        )
    return TrainedRun(loaded, manifest, _temperature(loaded))


def _temperature(loaded: LoadedRun) -> float:
    found = Temperature.read(loaded.source)
    if found is None:
        return 1.0
    if not found.fits(loaded.checkpoint_sha256):
        notify(f"{loaded.source / TEMPERATURE}: fitted to another checkpoint than the best, and not applied")
        return 1.0
    return found.value


def _differ(one: TrainedRun, other: TrainedRun, what: str, *values: object) -> ConfigError:
    sources = one.loaded.source, other.loaded.source
    told = ", ".join(f"{source} has {value}" for source, value in zip(sources, values, strict=True))
    return ConfigError(f"{what.replace('_', ' ')}: {told}; runs that predict together have the same")


def _check_maps_windows(run: TrainedRun, shape: tuple[int, int]) -> None:
    """Make sure that a run predicts each pixel of a window where it lies.

    Raises:
        ConfigError: If its transforms move pixels, or its network does not take the shape.
    """
    if find_grid(run.loaded.datamodule.transforms["predict"], shape) != PixelGrid():
        raise ConfigError(
            f"{run.loaded.source}: its test_transform crops, scales or moves the pixels of {format_size(shape)}, so "
            "that they are not where the map has them; train with a test_transform that leaves them in place"
        )
    check_shape(run.loaded.task, shape)
