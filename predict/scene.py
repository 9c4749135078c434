"""Scenes to map: rasters that are read window by window, and the chips that these windows are to all other code."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.transform import Affine

from augment_store.chips.chip import Chip
from augment_store.chips.chip_set import ChipSet
from augment_store.chips.declarations import FileContent
from augment_store.chips.georeference import Georeference, is_known
from augment_store.chips.layouts import Layout, load_layout
from augment_store.chips.raster_grid import check_grid, open_raster, read_window
from augment_store.chips.rasters import ModalityRaster, pick_bands
from augment_store.errors import ChipDataError, ChipSetError
from augment_store.io.remote import RemotePath, as_path
from augment_store.modalities.definitions import INPUT_MODALITIES
from augment_store.utils.text import format_size, pluralize
from generate.model.windows import WindowGrid
from predict.options import check_scene_files
from predict.region import Box, Outside, box_of_bounds, open_mask


class Scene(Protocol):
    """What is mapped as a whole: rasters of several modalities on one grid."""

    @property
    def name(self) -> str:
        """Return its name, by which its windows draw their random numbers."""

    @property
    def shape(self) -> tuple[int, int]:
        """Return its height and width in pixels."""

    @property
    def georeference(self) -> Georeference:
        """Return where it lies."""

    def timesteps(self, trained: tuple[int, ...]) -> tuple[int, ...]:
        """Return which of its timesteps a run sees that was trained on these."""

    def hold(self, boxes: Sequence[Box], modalities: Sequence[str]) -> None:
        """Make ready to read modalities of windows that lie side by side, in place of those before."""

    def read(self, box: Box, modalities: Sequence[str]) -> Chip:
        """Read modalities of a window, raw."""

    def outside(self, box: Box) -> NDArray[np.bool_] | None:
        """Return which pixels ``[h, w]`` of a window are not to be mapped; None if all are."""


class HeldPart(NamedTuple):
    """A part of a scene's rasters that was read at once, and what each raster holds there."""

    box: Box
    contents: Mapping[DatasetReader, FileContent]


@dataclass
class RasterScene:
    """A scene of rasters that a user names.

    Attributes:
        name: Its name.
        sources: Open rasters of each modality: one with all dates, or one for each.
        dates: Dates that a temporal modality has.
        layout: Layout that says which bands a file has, and in which order its dates come.
        part: The part of the rasters that is the scene.
        mask: Tells which pixels are left out; None for none.
    """

    name: str
    sources: Mapping[str, Sequence[DatasetReader]]
    dates: int
    layout: Layout
    part: Box
    mask: Outside | None = None
    _held: HeldPart | None = field(default=None, init=False)

    @property
    def _first(self) -> DatasetReader:
        return next(iter(self.sources.values()))[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Return its height and width in pixels."""
        return self.part.height, self.part.width

    @property
    def georeference(self) -> Georeference:
        """Return where it lies; unknown where its rasters do not say."""
        if self._first.crs is None or self._first.transform.is_identity:
            return Georeference()
        corner = self._first.window_transform(self.part.window)
        return Georeference(self._first.crs.to_wkt(), tuple(corner)[:6])

    def timesteps(self, trained: tuple[int, ...]) -> tuple[int, ...]:
        """Return all of its timesteps, which are as many as a run sees."""
        return tuple(range(len(trained)))

    def hold(self, boxes: Sequence[Box], modalities: Sequence[str]) -> None:
        """Read what windows cover by one read of each raster, in place of what was held, and cut them out of it.

        GDAL decodes whole blocks and keeps a few, so that windows which are read one by one decode a block of the file
        again for each. It holds what the rasters hold, and not what is made of it, so that a window is the same
        whichever are held with it.
        """
        self._held = None
        if not boxes:
            return
        joint = boxes[0].around(*boxes[1:]).within(self.part)
        sources = [source for name in modalities for source in self.sources[name]]
        # what cannot be read at once is left to the windows, of which perhaps none lies on what is broken
        with suppress(ChipDataError):
            self._held = HeldPart(joint, {source: read_window(source, joint.window) for source in sources})

    def read(self, box: Box, modalities: Sequence[str]) -> Chip:
        """Read modalities of a window, raw.

        Raises:
            ChipDataError: If a raster cannot be read, or has other bands or dates.
        """
        box = box.within(self.part)
        rasters: dict[str, NDArray[Any]] = {}
        notes: dict[str, tuple[str, ...]] = {}
        for name in modalities:
            parts = [self._read(name, source, box) for source in self.sources[name]]
            rasters[name] = np.concatenate([part.values for part in parts])
            self._check_dates(name, len(rasters[name]))
            # each note once, whichever of the files gave it
            notes[name] = tuple(dict.fromkeys(note for part in parts for note in part.notes))
        return Chip(self.name, rasters, notes={name: found for name, found in notes.items() if found})

    def outside(self, box: Box) -> NDArray[np.bool_] | None:
        """Return which pixels ``[h, w]`` of a window are not to be mapped; None if all are."""
        return None if self.mask is None else self.mask(box.within(self.part))

    def _read(self, name: str, source: DatasetReader, box: Box) -> ModalityRaster:
        modality = INPUT_MODALITIES[name]
        # several files are a date each; in one, the dates may lie among the bands
        series = self.dates if modality.temporal and len(self.sources[name]) == 1 else None
        self._check_bands(name, source)
        image = self.layout.images.get(name)
        return pick_bands(self._content(source, box), source.name, modality, self.layout, image, series)

    def _content(self, source: DatasetReader, box: Box) -> FileContent:
        held = self._held
        if held is None or source not in held.contents or not held.box.covers(box):
            return read_window(source, box.window)
        return held.contents[source].part(*box.relative_to(held.box).slices)

    def _check_bands(self, name: str, source: DatasetReader) -> None:
        """Say of a series of another length that it is one, and not that it has wrong bands."""
        modality = INPUT_MODALITIES[name]
        found, left = divmod(source.count, len(modality.bands))
        # one band counts any number of dates, which could as well be other bands
        if modality.temporal and len(modality.bands) > 1 and not left and found > 1:
            self._check_dates(name, found * len(self.sources[name]))

    def _check_dates(self, name: str, found: int) -> None:
        expected = self.dates if INPUT_MODALITIES[name].temporal else 1
        if found != expected:
            files = ", ".join(PurePath(source.name).name for source in self.sources[name])
            raise ChipDataError(
                f"{files}: {pluralize(found, 'date')} of {name}; the run takes {expected}: name a raster for each, in "
                f"order, as in --scene {name}=first.tif {name}=second.tif, or one with all bands of the first date, "
                "then those of the second"
            )


@contextmanager
def open_scene(
    files: Mapping[str, Sequence[str]],
    modalities: Sequence[str],
    dates: int,
    layout: str | None = None,
    bounds: tuple[float, float, float, float] | None = None,
    mask: Path | None = None,
) -> Iterator[RasterScene]:
    """Open the rasters of a scene and make sure that they lie on one grid.

    Args:
        files: Paths or URLs by modality, one with all dates or one for each.
        modalities: Modalities that are needed; others are not opened.
        dates: Dates that each temporal modality must have.
        layout: Layout whose bands the files have; None for TerraMind's, by their names or in their order.
        bounds: West, south, east and north of the part to map; None for all.
        mask: Polygons around what is mapped, or a raster of 0 where it is not; None for all.

    Raises:
        ChipSetError: If a modality is missing.
        ChipDataError: If a raster cannot be opened, or lies on another grid.
    """
    check_scene_files(files, modalities)
    with ExitStack() as stack:
        remote = any(isinstance(as_path(file), RemotePath) for paths in files.values() for file in paths)
        if remote:
            # a server's folder is not listed for files beside the raster
            stack.enter_context(rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"))
        sources = {
            name: tuple(stack.enter_context(open_raster(file)) for file in files[name]) for name in modalities
        }
        first = next(iter(sources.values()))[0]
        for source in (source for opened in sources.values() for source in opened):
            check_grid(source, first)
        name = _name_of(modalities[0], files[modalities[0]][0])
        # how many dates there are is the run's to say, and not the layout's
        described = dataclasses.replace(load_layout(layout or "folders"), timesteps=None, evenly_spaced=None)
        outside = stack.enter_context(open_mask(mask, first))
        yield RasterScene(name, sources, dates, described, box_of_bounds(first, bounds), outside)


def _name_of(modality: str, file: str) -> str:
    """Return the name of a scene by its first raster: the file's, without its type and the modality's name."""
    return PurePath(file).name.partition(".")[0].removesuffix(f"_{modality}")


@dataclass
class ChipScene:
    """A chip of a chip set, mapped as a scene of its own.

    Attributes:
        chips: The chip set.
        name: Id of the chip.
        modalities: Modalities that are read.
    """

    chips: ChipSet
    name: str
    modalities: Sequence[str]

    def __post_init__(self) -> None:
        self._chip = self.chips.read(self.name, self.modalities)

    @property
    def shape(self) -> tuple[int, int]:
        """Return its height and width in pixels."""
        return self._chip.shape

    @property
    def georeference(self) -> Georeference:
        """Return where it lies."""
        return self.chips.georeference(self.name)

    def timesteps(self, trained: tuple[int, ...]) -> tuple[int, ...]:
        """Return the timesteps that a run was trained on, as chips have the same.

        Raises:
            ChipDataError: If the chip does not have them.
        """
        if max(trained) >= self._chip.timesteps:
            raise ChipDataError(
                f"chip {self.name}: {pluralize(self._chip.timesteps, 'timestep')}; the run was trained on timesteps "
                f"{' '.join(map(str, trained))}, counted from 0: give chips that have them"
            )
        return trained

    def hold(self, boxes: Sequence[Box], modalities: Sequence[str]) -> None:
        """Do nothing: a chip is in memory as a whole."""

    def read(self, box: Box, modalities: Sequence[str]) -> Chip:
        """Return modalities of a window, raw."""
        # [T, C, H, W] → [T, C, h, w]
        rasters = {name: self._chip.rasters[name][..., *box.slices] for name in modalities}
        return Chip(self.name, rasters, self._chip.positions, self._chip.notes)

    def outside(self, box: Box) -> None:
        """Return None: a chip is mapped as a whole."""


class SceneWindows(ChipSet):
    """The windows of a scene as a chip set.

    Args:
        scene: The scene.
        shape: Height and width of a window in pixels.
        modalities: All that is read of a window.
        layout: Layout that says in which units the values are on disk.

    Attributes:
        grid: Where the windows lie; they overlap by half or more.

    Raises:
        ChipSetError: If the scene is smaller than a window.
    """

    def __init__(
        self, scene: Scene, shape: tuple[int, int], modalities: Sequence[str], layout: Layout
    ) -> None:
        if any(length < side for length, side in zip(scene.shape, shape, strict=True)):
            raise ChipSetError(
                f"{scene.name}: {format_size(scene.shape)}, smaller than a window of {format_size(shape)}, the size "
                "of the training chips; give a larger scene, or a smaller --window"
            )
        self.scene = scene
        self.grid = WindowGrid.of_shape(scene.shape, shape)
        self._read_of_each = tuple(modalities)
        self._boxes = {
            self.window_id(row, column): Box(top, left, *shape)
            for row, top in enumerate(self.grid.rows.starts)
            for column, left in enumerate(self.grid.columns.starts)
        }
        # windows are read by threads, and GDAL's rasters by one at a time
        self._lock = threading.Lock()
        super().__init__(Path(scene.name), layout, self._boxes)

    def window_id(self, row: int, column: int) -> str:
        """Return the chip id of a window; a scene that is one window keeps its name, as a chip does."""
        return f"{self.scene.name}_r{row:03d}c{column:03d}" if self.grid.several else self.scene.name

    def hold(self, ids: Sequence[str]) -> None:
        """Read windows of one row together, in place of those before, before each is read on its own."""
        with self._lock:
            self.scene.hold([self._boxes[chip_id] for chip_id in ids], self._read_of_each)

    def outside(self, chip_id: str) -> NDArray[np.bool_] | None:
        """Return which pixels ``[h, w]`` of a window are not to be mapped; None if all are."""
        with self._lock:
            return self.scene.outside(self._boxes[chip_id])

    def ids_of(self, modality: str) -> frozenset[str]:
        """Return all windows for a modality that is read, none for another."""
        return frozenset(self.ids) if modality in self._read_of_each else frozenset()

    def read(self, chip_id: str, modalities: Sequence[str]) -> Chip:
        """Read modalities of a window, raw.

        Raises:
            ChipDataError: If a raster cannot be read, or has other bands or dates.
        """
        with self._lock:
            found = self.scene.read(self._boxes[chip_id], modalities)
        return dataclasses.replace(found, chip_id=chip_id)

    def georeference(self, chip_id: str) -> Georeference:
        """Return where a window lies; unknown if the scene does not say."""
        place, box = self.scene.georeference, self._boxes[chip_id]
        corner = Affine(*place.transform) @ Affine.translation(box.left, box.top)
        return Georeference(place.crs_wkt, tuple(corner)[:6]) if is_known(place) else place

    def georeferences(self, chip_id: str) -> Iterator[tuple[Path, Georeference]]:
        """Yield nothing: the rasters were compared when the scene was opened."""
        return iter(())

    def geotiffs(self, chip_id: str) -> Iterator[Path]:
        """Yield nothing: no file is a window's own."""
        return iter(())
