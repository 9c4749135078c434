"""Chips on disk: opening a chip set, and reading a chip's modalities and mask."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.georeference import Georeference, read_georeference
from augment_store.chips.layouts import SPLITS, Layout, check_id, find_layout, list_ids, read_split
from augment_store.chips.rasters import read_raster
from augment_store.errors import ChipDataError, ChipSetError
from augment_store.modalities import INPUT_MODALITIES, PATCH_SIZE, Modality

DIGEST_BYTES = 16


@dataclass(frozen=True)
class Chip:
    """One chip's raw rasters, as they are on disk.

    Attributes:
        chip_id: Id of the chip.
        rasters: ``[T or 1, C, H, W]`` per modality, in the file's own data type and units.
    """

    chip_id: str
    rasters: Mapping[str, NDArray[Any]]

    @property
    def timesteps(self) -> int:
        """Number of timesteps T; a modality with one raster stands for all of them."""
        return max(int(raster.shape[0]) for raster in self.rasters.values())

    @property
    def size(self) -> int:
        """Side H = W in pixels."""
        return int(next(iter(self.rasters.values())).shape[-1])

    def at(self, timestep: int) -> dict[str, NDArray[Any]]:
        """Rasters ``[C, H, W]`` of one timestep, by modality."""
        return {name: raster[timestep % raster.shape[0]] for name, raster in self.rasters.items()}

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


class ChipSet:
    """A folder of chips in one of the two layouts.

    Args:
        root: Root folder of the chip set.
        layout: How its files are named; see `augment_store.chips.layouts`.
        ids: Chips it is limited to, or None for all that are there.

    Raises:
        ChipSetError: If no chip is left, or an id cannot be a file name.
    """

    def __init__(self, root: Path, layout: Layout, ids: Iterable[str] | None = None) -> None:
        self.root = root
        self.layout = layout
        self.folder = root / layout.data
        found = self._listed() if ids is None else ids
        self.ids = tuple(sorted(check_id(chip_id, root) for chip_id in found))
        if not self.ids:
            raise ChipSetError(f"{root}: no chips found in the layout {layout.name!r}")

    @classmethod
    def open(cls, root: str | Path, layout: str | None = None, splits: Sequence[Path] = ()) -> Self:
        """Opens a chip set, finding its layout where none is named.

        Args:
            root: Root folder of the chip set.
            layout: ``impactmesh``, ``folders``, or None to find out.
            splits: Split files whose chips it is limited to; empty for all chips.

        Raises:
            ChipSetError: If there are no chips, the layout is unknown or a split file is unusable.
        """
        root = Path(root)
        found = cls(root, find_layout(root, layout))
        return found.limited_to(splits) if splits else found

    def limited_to(self, splits: Sequence[Path]) -> Self:
        """This chip set with the chips of some split files only.

        Raises:
            ChipSetError: If a split file is unusable, or names a chip that has no file at all.
        """
        ids = {chip_id: split for split in splits for chip_id in read_split(split)}
        known = set(self.ids)
        for chip_id, split in ids.items():
            if chip_id not in known:
                raise ChipSetError(
                    f"{split}: chip {chip_id!r} has no file under {self.folder}; correct the split file"
                )
        return type(self)(self.root, self.layout, ids)

    def _listed(self) -> set[str]:
        """Ids of every chip with at least one input modality on disk."""
        return set().union(*(list_ids(self.folder, self.layout.images[name]) for name in self.modalities))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Input modalities this layout names."""
        return tuple(name for name in self.layout.images if name in INPUT_MODALITIES)

    @cached_property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """Chip ids of each split whose file is at the layout's place."""
        paths = {name: self.root / self.layout.split.format(split=name) for name in SPLITS}
        return {name: read_split(path) for name, path in paths.items() if path.is_file()}

    def path(self, chip_id: str, modality: str) -> Path:
        """File that holds one modality of a chip.

        Raises:
            ChipSetError: If the layout has no such modality.
        """
        if modality not in self.layout.images:
            known = ", ".join(self.layout.images)
            raise ChipSetError(f"layout {self.layout.name!r} has no modality {modality!r}; it has {known}")
        return self.folder / self.layout.images[modality].format(id=chip_id)

    def read(self, chip_id: str, modalities: Sequence[str]) -> Chip:
        """Reads modalities of one chip, raw.

        Raises:
            ChipNotFoundError: If a file is missing.
            ChipDataError: If a file cannot be read, or bands, type, shape, size or timesteps are wrong.
        """
        rasters = {name: self._raster(chip_id, INPUT_MODALITIES[name]) for name in modalities}
        sizes = {name: raster.shape[-1] for name, raster in rasters.items()}
        if len(set(sizes.values())) > 1:
            raise ChipDataError(f"chip {chip_id}: modalities differ in size {sizes}; expected one pixel grid")
        times = {name: raster.shape[0] for name, raster in rasters.items() if raster.shape[0] > 1}
        if len(set(times.values())) > 1:
            raise ChipDataError(
                f"chip {chip_id}: modalities differ in timesteps {times}; expected one number, or 1"
            )
        return Chip(chip_id, rasters)

    def _raster(self, chip_id: str, modality: Modality) -> NDArray[Any]:
        path = self.path(chip_id, modality.name)
        raster = read_raster(path)
        if not raster.shape[0]:
            raise ChipDataError(f"{path}: no timestep; expected one or more")
        if raster.dtype.kind not in "iuf":
            raise ChipDataError(
                f"{path}: data type {raster.dtype}; expected integers or floats in {modality.unit}"
            )
        _, bands, height, width = raster.shape
        if bands != len(modality.bands):
            expected = f"{len(modality.bands)} ({' '.join(modality.bands)})"
            raise ChipDataError(f"{path}: {bands} bands; expected {expected}")
        if height != width or height % PATCH_SIZE:
            raise ChipDataError(
                f"{path}: {height} × {width} pixels; expected a square, its side a multiple of {PATCH_SIZE}"
            )
        return raster

    def mask(self, chip_id: str) -> NDArray[np.int64]:
        """Reference mask ``[H, W]``, label −1 where a pixel is ignored.

        Raises:
            ChipNotFoundError: If there is none.
            ChipDataError: If it cannot be read.
        """
        mask: NDArray[np.int64] = read_raster(self.folder / self.layout.mask.format(id=chip_id))[0, 0].astype(
            np.int64
        )
        return mask

    def georeference(self, chip_id: str) -> Georeference:
        """Georeferencing of a chip, from the first of its GeoTIFFs that has any; unknown where none has."""
        patterns = [*self.layout.images.values(), self.layout.mask]
        for pattern in sorted(patterns, key=lambda pattern: not pattern.startswith("DEM")):
            path = self.folder / pattern.format(id=chip_id)
            if path.suffix == ".tif" and path.is_file():
                found = read_georeference(path)
                if found.crs_wkt:
                    return found
        return Georeference()


def select_timesteps(
    chip: Chip, timesteps: Sequence[int], nodata: float = -9999.0
) -> dict[str, NDArray[np.float32]]:
    """A chip's rasters as float32 ``[C, T, H, W]``, or ``[C, H, W]`` for one timestep; no data is NaN.

    Equal to what the public reader of ImpactMesh (0.2.0) returns before it replaces NaN.

    Args:
        chip: Raw rasters.
        timesteps: Which timesteps, counted from 0; a raster without time stands for each of them.
        nodata: Value that means "no observation" besides NaN.

    Raises:
        ChipDataError: If a timestep is not there.
    """
    if not timesteps or min(timesteps) < 0 or max(timesteps) >= chip.timesteps:
        raise ChipDataError(
            f"chip {chip.chip_id}: timesteps {list(timesteps)} asked for; it has {chip.timesteps}"
        )
    stacked = {}
    for name, raster in chip.rasters.items():
        picked = raster[[t % raster.shape[0] for t in timesteps]].astype(np.float32)
        picked[picked == nodata] = np.nan
        stacked[name] = (
            picked[0] if len(timesteps) == 1 else np.ascontiguousarray(picked.transpose(1, 0, 2, 3))
        )
    return stacked
