"""Chips on disk: opening a chip set, and reading a chip's modalities and mask."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.georeference import Georeference, read_georeference
from augment_store.chips.layouts import (
    SPLITS,
    Layout,
    check_id,
    chip_file,
    data_folder,
    find_layout,
    list_ids,
    read_split,
    root_above,
)
from augment_store.chips.rasters import pick_bands, read_raster
from augment_store.chips.scenes import SCENE_PATTERN, scenes_by_rule
from augment_store.errors import ChipDataError, ChipNotFoundError, ChipSetError
from augment_store.io.files import printable
from augment_store.io.remote import RemotePath, as_path
from augment_store.io.tar import is_archived
from augment_store.modalities.definitions import IGNORED_LABEL, INPUT_MODALITIES
from augment_store.modalities.values import missing
from augment_store.utils.text import format_size, pluralize

DIGEST_BYTES = 16


@dataclass(frozen=True)
class Chip:
    """One chip's raw rasters, as they are on disk.

    Attributes:
        chip_id: Id of the chip.
        rasters: ``[T or 1, C, H, W]`` per modality, in the file's own data type and units.
        positions: Position in its file of each timestep of a raster, ``[T or 1]``; of one that is not named, the
            raster is the whole file.
    """

    chip_id: str
    rasters: Mapping[str, NDArray[Any]]
    positions: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)

    @property
    def timesteps(self) -> int:
        """Number of timesteps T; a modality with one raster stands for all of them."""
        return max(int(raster.shape[0]) for raster in self.rasters.values())

    @property
    def shape(self) -> tuple[int, int]:
        """Height H and width W in pixels."""
        height, width = next(iter(self.rasters.values())).shape[-2:]
        return int(height), int(width)

    def at(self, timestep: int) -> dict[str, NDArray[Any]]:
        """Return the rasters ``[C, H, W]`` of one timestep, by modality."""
        return {name: at_timestep(raster, timestep) for name, raster in self.rasters.items()}

    def series_index(self, modalities: Sequence[str]) -> NDArray[np.int32]:
        """Position in its file of each timestep, ``[modality, T]``; always 0 where one raster stands for all."""
        rows = [self.positions.get(name, np.arange(len(self.rasters[name]))) for name in modalities]
        return np.stack([np.broadcast_to(row, self.timesteps) for row in rows]).astype(np.int32)

    def digests(self) -> NDArray[np.uint8]:
        """128-bit BLAKE2b digest of each timestep's raw input, ``[T, 16]``.

        It covers names, data types, shapes and values, so that equal digests mean equal input.
        """
        rows = []
        for timestep in range(self.timesteps):
            state = hashlib.blake2b(digest_size=DIGEST_BYTES)
            for name, raster in sorted(self.at(timestep).items()):
                state.update(f"{name}|{raster.dtype.newbyteorder('<').str}|{raster.shape}|".encode())
                state.update(np.ascontiguousarray(raster, dtype=raster.dtype.newbyteorder("<")).tobytes())
            rows.append(np.frombuffer(state.digest(), dtype=np.uint8))
        return np.stack(rows)


def at_timestep(raster: NDArray[Any], timestep: int | Sequence[int]) -> NDArray[Any]:
    """Return a raster's timestep, or several; a raster of length 1 stands for every timestep.

    Args:
        raster: Values ``[T or 1, …]``.
        timestep: Timestep counted from 0, which drops the axis, or a sequence of them, which keeps it.

    Raises:
        ChipDataError: If a timestep does not exist: wrapping around would hand out another date.
    """
    length = raster.shape[0]
    wanted = [timestep] if isinstance(timestep, int) else list(timestep)
    if length != 1 and wanted and not 0 <= min(wanted) <= max(wanted) < length:
        raise ChipDataError(f"timestep {timestep} asked for; there are {length}, counted from 0")
    positions = [0] * len(wanted) if length == 1 else wanted
    picked: NDArray[Any] = raster[positions[0] if isinstance(timestep, int) else positions]
    return picked


class ChipSet:
    """A folder of chips in some layout.

    Args:
        root: Root folder of the chip set.
        layout: How its files are named; see `augment_store.chips.layouts`.
        ids: Chips to limit it to, or None for all.

    Raises:
        ChipSetError: If no chip is left, or an id is not a valid file name.
    """

    def __init__(self, root: Path, layout: Layout, ids: Iterable[str] | None = None) -> None:
        self.root = root
        self.layout = layout
        self.folder = data_folder(root, layout) or root / layout.data[0]
        self._ids_of: dict[str, frozenset[str]] = {}
        found = self._listed() if ids is None else ids
        self.ids = tuple(sorted(check_id(chip_id, root) for chip_id in found))
        if not self.ids:
            expected = ", ".join(str(self.folder / pattern) for pattern in layout.patterns()[:2])
            above = root_above(root)
            hint = f"; give the chip set's root, {above}" if above else ""
            if isinstance(root, RemotePath) and any(map(is_archived, map(Path, layout.patterns()))):
                hint = "; archives at a URL are not read, so copy them to a local folder"
            raise ChipSetError(
                f"{root}: no chips found in the layout {layout.name!r}; expected files such as {expected}{hint}"
            )

    def __len__(self) -> int:
        """Return the number of chips."""
        return len(self.ids)

    def __repr__(self) -> str:
        return printable(f"<ChipSet {self.root}: {pluralize(len(self), 'chip')}, layout {self.layout.name}>")

    def _repr_html_(self) -> str:
        from augment_store.chips.notebook_view import chips_html  # it needs this class

        return chips_html(self)

    @classmethod
    def open(cls, root: str | Path, layout: str | None = None, splits: Sequence[Path] = ()) -> Self:
        """Opens a chip set, detecting its layout if none is named.

        Args:
            root: Root folder of the chip set, or its URL.
            layout: Name of a shipped layout, path of a layout file, or None to detect it.
            splits: Split files to limit it to; empty for all chips.

        Raises:
            ChipSetError: If there are no chips, the layout is unknown or a split file is unusable.
        """
        root = as_path(root)
        found = cls(root, find_layout(root, layout))
        return found.limited_to(splits) if splits else found

    def limited_to(self, splits: Sequence[Path]) -> Self:
        """This chip set, limited to the chips of some split files.

        Raises:
            ChipSetError: If a split file is unusable, or names a chip that has no file at all.
        """
        ids = {chip_id: split for split in splits for chip_id in self._split_ids(split)}
        known = set(self.ids)
        for chip_id, split in ids.items():
            if chip_id not in known:
                raise ChipSetError(
                    f"{split}: chip {chip_id!r} has no file under {self.folder}, which has chips such as "
                    f"{self.ids[0]!r}; correct the split file"
                )
        return type(self)(self.root, self.layout, ids)

    def _split_ids(self, path: Path) -> tuple[str, ...]:
        own = [str(self.split_path(split)) for split in self.splits] if not path.is_file() else []
        if own:
            raise ChipSetError(f"{path}: no such split file; this chip set has {', '.join(own)}")
        return self.read_split(path)

    def _listed(self) -> frozenset[str]:
        """Ids of every chip with at least one input modality on disk."""
        return frozenset().union(*(self.ids_of(name) for name in self.modalities))

    def ids_of(self, modality: str) -> frozenset[str]:
        """Ids of the chips that have a file of a modality, listed once."""
        if modality not in self._ids_of:
            patterns = self.layout.images[modality].files if modality in self.layout.images else ()
            found = (list_ids(self.folder, pattern) for pattern in patterns)
            self._ids_of[modality] = frozenset().union(*found)
        return self._ids_of[modality]

    def has(self, chip_id: str, modality: str) -> bool:
        """Whether a chip has a file of a modality."""
        return modality in self.layout.images and self.path(chip_id, modality).is_file()

    @property
    def modalities(self) -> tuple[str, ...]:
        """Input modalities this layout names."""
        return tuple(name for name in self.layout.images if name in INPUT_MODALITIES)

    @cached_property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """Chip ids of each split whose file is where the layout says."""
        paths = {name: self.split_path(name) for name in SPLITS}
        return {name: self.read_split(path) for name, path in paths.items() if path and path.is_file()}

    def read_split(self, path: Path) -> tuple[str, ...]:
        """Chip ids of a split file, which may name them by one of their files.

        Raises:
            ChipSetError: If the file is missing or empty, or an id is unsafe or appears twice.
        """
        return read_split(path, self.layout)

    def split_path(self, split: str) -> Path | None:
        """The file that lists a split's chips, or where it would be; None if the layout has no splits."""
        paths = [self.root / place for place in self.layout.splits.get(split, ())]  # type: ignore[call-overload]
        return next((path for path in paths if path.is_file()), paths[0] if paths else None)

    def scenes(self, rule: str | None = None, ids: Iterable[str] | None = None) -> dict[str, str]:
        """Scene of each chip.

        Args:
            rule: See `scenes_by_rule`; None for the layout's own.
            ids: Which chips, None for all.

        Raises:
            ChipSetError: If the rule leaves a chip without a scene.
        """
        own = self.layout.scenes or SCENE_PATTERN
        table = self.root / own
        return scenes_by_rule(
            self.ids if ids is None else ids, rule or (str(table) if table.is_file() else own)
        )

    def path(self, chip_id: str, modality: str) -> Path:
        """File that holds one modality of a chip, or the place where it is missing.

        Raises:
            ChipSetError: If the layout has no such modality.
        """
        if modality not in self.layout.images:
            known = ", ".join(self.layout.images)
            raise ChipSetError(f"layout {self.layout.name!r} has no modality {modality!r}; it has {known}")
        return self._first(self.layout.images[modality].files, chip_id)

    def mask_path(self, chip_id: str) -> Path | None:
        """File of a chip's reference mask, or where it is missing; None if the layout has no masks."""
        return self._first(self.layout.mask, chip_id) if self.layout.mask else None

    def _first(self, patterns: Sequence[str], chip_id: str) -> Path:
        places = (chip_file(self.folder / pattern.format(id=chip_id)) for pattern in patterns)
        missing = self.folder / patterns[0].format(id=chip_id)
        return next((path for path in places if path.is_file()), missing)

    def read(self, chip_id: str, modalities: Sequence[str]) -> Chip:
        """Reads modalities of one chip, raw.

        Raises:
            ChipNotFoundError: If a file is missing.
            ChipDataError: If a file cannot be read, or bands, type, shape, size or timesteps are wrong.
        """
        picked = {name: self._picked(chip_id, name) for name in modalities}
        rasters = {name: raster for name, (raster, _) in picked.items()}
        sizes = {name: format_size(raster.shape[-2:]) for name, raster in rasters.items()}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise ChipDataError(
                f"chip {chip_id}: modalities differ in size: {found}; expected one pixel grid"
            )
        times = {name: raster.shape[0] for name, raster in rasters.items() if raster.shape[0] > 1}
        if len(set(times.values())) > 1:
            raise ChipDataError(
                f"chip {chip_id}: modalities differ in timesteps {times}; expected one number, or 1"
            )
        return Chip(chip_id, rasters, {name: positions for name, (_, positions) in picked.items()})

    def raster(self, chip_id: str, modality: str) -> NDArray[Any]:
        """One modality of a chip, raw, ``[T or 1, C, H, W]`` with TerraMind's bands in TerraMind's order.

        Raises:
            ChipNotFoundError: If the file is missing; the message names a chip that is there.
            ChipDataError: If it cannot be read, or bands, type, shape, size or timesteps are wrong.
        """
        return self._picked(chip_id, modality)[0]

    def _picked(self, chip_id: str, modality: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """One modality of a chip, as `raster`, and the position in its file of each timestep."""
        path = self.path(chip_id, modality)
        if not path.is_file():
            others = sorted(self.ids_of(modality))
            there = (
                f"that folder has {pluralize(len(others), 'chip')}, such as {others[0]!r}"
                if others
                else "none is there"
            )
            raise ChipNotFoundError(f"{path}: no such file; {there}. A chip has one id in every folder")
        return pick_bands(read_raster(path), path, INPUT_MODALITIES[modality], self.layout)

    def mask(self, chip_id: str) -> NDArray[np.int64]:
        """Reference mask ``[H, W]``, label −1 where a pixel is ignored.

        Raises:
            ChipNotFoundError: If there is none.
            ChipDataError: If it cannot be read.
        """
        path = self.mask_path(chip_id)
        if path is None:
            raise ChipNotFoundError(
                f"chip {chip_id}: layout {self.layout.name!r} has no masks; name them in a layout file (--layout)"
            )
        mask: NDArray[np.int64] = read_raster(path)[0, 0].astype(np.int64)
        mask[np.isin(mask, self.layout.ignored_labels)] = IGNORED_LABEL
        return mask

    def georeference(self, chip_id: str) -> Georeference:
        """Georeferencing of a chip, from the first of its GeoTIFFs that has any; unknown if none does."""
        found = map(read_georeference, self.geotiffs(chip_id))
        return next((place for place in found if place.crs_wkt), Georeference())

    def geotiffs(self, chip_id: str) -> Iterator[Path]:
        """A chip's GeoTIFFs that exist, its DEM first and its mask last."""
        names = sorted(self.layout.images, key=lambda name: name != "DEM")
        for path in (*(self.path(chip_id, name) for name in names), self.mask_path(chip_id)):
            if path is not None and path.suffix.lower() in {".tif", ".tiff"} and path.is_file():
                yield path


def select_timesteps(
    chip: Chip, timesteps: Sequence[int], nodata: float | None = None
) -> dict[str, NDArray[np.float32]]:
    """A chip's rasters as float32 ``[C, T, H, W]``, or ``[C, H, W]`` for one timestep; no data is NaN.

    With 0 for NaN it equals, bit for bit, what the public reader of ImpactMesh (0.2.0) returns for chips whose only
    no-data value is −9999, as Phase 2's; that reader lets a DEM of −32768 and the −10000 of float16 through.

    Args:
        chip: Raw rasters.
        timesteps: Which timesteps, counted from 0; a raster without time stands for each of them.
        nodata: A value that means "no observation" in this data set, besides what `missing` knows.

    Raises:
        ChipDataError: If a timestep does not exist.
    """
    if not timesteps or min(timesteps) < 0 or max(timesteps) >= chip.timesteps:
        raise ChipDataError(
            f"chip {chip.chip_id}: timesteps {list(timesteps)} asked for; it has {chip.timesteps}"
        )
    stacked = {}
    for name, raster in chip.rasters.items():
        raw = at_timestep(raster, timesteps)
        picked = raw.astype(np.float32)
        unobserved = missing(raw, INPUT_MODALITIES[name])
        if nodata is not None:  # compared with None, NumPy would compare objects, one by one
            unobserved |= picked == nodata
        picked[unobserved] = np.nan
        stacked[name] = (
            picked[0] if len(timesteps) == 1 else np.ascontiguousarray(picked.transpose(1, 0, 2, 3))
        )
    return stacked
