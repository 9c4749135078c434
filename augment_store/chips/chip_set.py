"""Chips on disk: opening a chip set, and reading a chip's modalities and mask."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip import Chip
from augment_store.chips.file_patterns import (
    SPLIT,
    chip_file,
    is_searched,
    locate,
    spellings,
    without_others,
)
from augment_store.chips.georeference import Georeference, coarser, is_known, pixel_side, read_georeference
from augment_store.chips.labels import LabelRaster, read_labels, translate_labels
from augment_store.chips.layouts import (
    SPLITS,
    Layout,
    check_id,
    data_folder,
    find_layout,
    read_split,
    root_above,
)
from augment_store.chips.rasters import ModalityRaster, read_band_files, read_modality
from augment_store.chips.scenes import SCENE_PATTERN, scenes_by_expression, scenes_by_rule, scenes_by_table
from augment_store.errors import ChipDataError, ChipNotFoundError, ChipSetError
from augment_store.io.files import printable
from augment_store.io.remote import RemotePath, as_path
from augment_store.io.tar import is_archived
from augment_store.modalities.definitions import INPUT_MODALITIES
from augment_store.modalities.legend_table import LegendTable
from augment_store.utils.text import format_size, pluralize

_GEOTIFF: Final = frozenset({".tif", ".tiff"})
_ZIPPED: Final = frozenset({".zip"})


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
        self._located: dict[str, dict[str, str]] = {}
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
        """Open a chip set, detecting its layout if none is named.

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
        """Return this chip set, limited to the chips of some split files.

        Raises:
            ChipSetError: If a split file is unusable, or names a chip that has no file at all.
        """
        # keeps the split file of each id for the message, and ids in two files once
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
        # only if the file is missing, since `splits` reads every split file
        own = [str(self.split_path(split)) for split in self.splits] if not path.exists() else []
        if own:
            raise ChipSetError(f"{path}: no such split file; this chip set has {', '.join(own)}")
        return self.read_split(path)

    def _listed(self) -> frozenset[str]:
        """Return the ids of every chip with at least one input modality on disk."""
        return frozenset().union(*(self.ids_of(name) for name in self.modalities))

    def ids_of(self, modality: str) -> frozenset[str]:
        """Return the ids of the chips that have a file of a modality, listed once."""
        if modality not in self.layout.images:
            return frozenset()
        return frozenset().union(*(self._locate(p) for p in self.layout.images[modality].patterns()))

    @property
    def mask_ids(self) -> frozenset[str]:
        """Return the ids of all masks, which may be those of no chip."""
        return frozenset().union(*(self._locate(pattern) for pattern in self.layout.mask))

    def _locate(self, pattern: str) -> Mapping[str, str]:
        """Return the ids of a pattern's files with the pattern of their folders, listed once."""
        if pattern not in self._located:
            found = locate(self.folder, pattern, self.layout.split_folders)
            self._located[pattern] = without_others(found, pattern, self.layout.file_patterns())
        return self._located[pattern]

    def has(self, chip_id: str, modality: str) -> bool:
        """Return whether a chip has a file of a modality."""
        return modality in self.layout.images and self.path(chip_id, modality).is_file()

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return the input modalities this layout names."""
        return tuple(name for name in self.layout.images if name in INPUT_MODALITIES)

    @cached_property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """Return the chip ids of each split whose file is where the layout says."""
        paths = {name: self.split_path(name) for name in SPLITS}
        return {name: self.read_split(path) for name, path in paths.items() if path and path.exists()}

    def read_split(self, path: Path) -> tuple[str, ...]:
        """Return the chip ids of a split file, which may name them by one of their files, or of a split's folder.

        Raises:
            ChipSetError: If the file is missing or empty, or an id is unsafe or appears twice.
        """
        folder = path.absolute()  # as a command line may give it
        name = next((name for name in self.layout.split_folders if folder in self._split_folders(name)), None)
        if name is None:
            return tuple(self._spelled(chip_id) for chip_id in read_split(path, self.layout))
        known = {
            chip_id
            for pattern in self.layout.patterns()
            for chip_id, found in self._locate(pattern).items()
            if SPLIT in pattern and found.startswith(f"{pattern.partition(SPLIT)[0]}{name}/")
        }
        if not known:
            raise ChipSetError(f"{path}: the split's folder has no image of the layout {self.layout.name!r}")
        return tuple(sorted(known))

    def _split_folders(self, name: str) -> dict[Path, None]:
        """Return where images of a split may lie, given the name of its folder, in the layout's order."""
        root, patterns = self.folder.absolute(), (p for p in self.layout.patterns() if SPLIT in p)
        return dict.fromkeys(root / pattern.partition(SPLIT)[0] / name for pattern in patterns)

    def _spelled(self, chip_id: str) -> str:
        """Return an id as the files spell it: accents are one character on some disks and two on others."""
        if chip_id.isascii():
            return chip_id
        return next((form for form in spellings(chip_id) if form in self._known), chip_id)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.ids)

    def split_path(self, split: str) -> Path | None:
        """Return the file or folder of a split's chips, or where it would be; None if the layout has no splits."""
        if self.layout.by_folder:
            paths = [path for name in self.layout.folders(split) for path in self._split_folders(name)]
        else:
            paths = [self.root / place for place in self.layout.splits.get(split, ())]  # type: ignore[call-overload]
        return next((path for path in paths if path.exists()), paths[0] if paths else None)

    def scenes(self, rule: str | None = None, ids: Iterable[str] | None = None) -> dict[str, str]:
        """Return the scene of each chip.

        Args:
            rule: See `scenes_by_rule`; None for the layout's own.
            ids: Which chips, None for all.

        Raises:
            ChipSetError: If the rule leaves a chip without a scene.
        """
        own = self.layout.scenes or SCENE_PATTERN
        chosen = self.ids if ids is None else ids
        if rule is not None:
            return scenes_by_rule(chosen, rule)
        # A layout may be a stranger's: its rule names a table inside the chip set, or is an expression.
        if own.lower().endswith(".csv") or ("/" in own and (self.root / own).is_file()):
            return scenes_by_table(chosen, self.root / own)
        return scenes_by_expression(chosen, own)

    def path(self, chip_id: str, modality: str) -> Path:
        """Return the file that holds one modality of a chip, or where it is missing.

        Raises:
            ChipSetError: If the layout has no such modality.
        """
        if modality not in self.layout.images:
            known = ", ".join(self.layout.images)
            raise ChipSetError(f"layout {self.layout.name!r} has no modality {modality!r}; it has {known}")
        return self._first(self.layout.images[modality].patterns(), chip_id)

    def band_paths(self, chip_id: str, modality: str) -> tuple[Path, ...]:
        """Return the files of a modality whose bands lie in several; the one file of another."""
        image = self.layout.images[modality]
        if not image.by_band:
            return (self.path(chip_id, modality),)
        return tuple(self._first(image.patterns(word), chip_id) for word in image.bands)

    def mask_path(self, chip_id: str) -> Path | None:
        """Return the file of a chip's reference mask, or where it is missing; None if the layout has no masks."""
        return self._first(self.layout.mask, chip_id) if self.layout.mask else None

    def _first(self, patterns: Sequence[str], chip_id: str) -> Path:
        expected = [self.folder / self._filled(pattern, chip_id) for pattern in patterns]
        # As written first, for all patterns; only then other spellings, which cost a look at the disk each.
        found = next((path for path in map(chip_file, expected) if path.is_file()), None)
        # not at a URL, where every look is a request
        if found is None and not isinstance(self.folder, RemotePath):
            # the first spelling is the name as written, which was tried above
            others = (path.with_name(name) for path in expected for name in spellings(path.name)[1:])
            found = next((path for path in map(chip_file, others) if path.is_file()), None)
        return expected[0] if found is None else found

    def _filled(self, pattern: str, chip_id: str) -> str:
        """Return the path of a chip's file; where a folder may have any name, by the listing."""
        found = self._locate(pattern).get(chip_id, pattern) if is_searched(pattern) else pattern
        return found.replace("{id}", chip_id)

    def read(self, chip_id: str, modalities: Sequence[str]) -> Chip:
        """Read modalities of one chip, raw.

        Raises:
            ChipNotFoundError: If a file is missing.
            ChipDataError: If a file cannot be read, or bands, type, shape, size or timesteps are wrong.
        """
        picked = {name: self._read(chip_id, name) for name in modalities}
        rasters = {name: found.values for name, found in picked.items()}
        sizes = {name: format_size(raster.shape[-2:]) for name, raster in rasters.items()}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise ChipDataError(
                f"chip {chip_id}: modalities differ in size: {found}; expected one pixel grid"
            )
        # a single raster stands for every timestep, so it contradicts no number
        times = {name: raster.shape[0] for name, raster in rasters.items() if raster.shape[0] > 1}
        if len(set(times.values())) > 1:
            raise ChipDataError(
                f"chip {chip_id}: modalities differ in timesteps {times}; expected one number, or 1"
            )
        positions = {name: found.positions for name, found in picked.items()}
        notes = {name: found.notes for name, found in picked.items() if found.notes}
        return Chip(chip_id, rasters, positions, notes)

    def raster(self, chip_id: str, modality: str) -> NDArray[Any]:
        """Return one modality of a chip, raw, ``[T or 1, C, H, W]`` with TerraMind's bands in TerraMind's order.

        Raises:
            ChipNotFoundError: If the file is missing; the message names a chip that is there.
            ChipDataError: If it cannot be read, or bands, type, shape, size or timesteps are wrong.
        """
        return self._read(chip_id, modality).values

    def _read(self, chip_id: str, modality: str) -> ModalityRaster:
        path = self.path(chip_id, modality)
        if not path.is_file():
            others = sorted(self.ids_of(modality))
            there = (
                f"that folder has {pluralize(len(others), 'chip')}, such as {others[0]!r}"
                if others
                else "none is there"
            )
            raise ChipNotFoundError(f"{path}: no such file; {there}. A chip has one id in every folder")
        kind = INPUT_MODALITIES[modality]
        if self.layout.images[modality].by_band:
            return read_band_files(self.band_paths(chip_id, modality), kind, self.layout)
        return read_modality(path, kind, self.layout)

    def mask(self, chip_id: str) -> NDArray[np.int64]:
        """Return the reference mask ``[H, W]``, label −1 where a pixel is ignored.

        Raises:
            ChipNotFoundError: If there is none.
            ChipDataError: If it cannot be read, or does not hold one label a pixel.
        """
        return self.read_mask(chip_id).labels

    def read_mask(self, chip_id: str) -> LabelRaster:
        """Return the mask as `mask` does, with what its file declares."""
        path = self.mask_path(chip_id)
        if path is None:
            raise ChipNotFoundError(
                f"chip {chip_id}: layout {self.layout.name!r} has no masks; name them in a layout file (--layout)"
            )
        found = read_labels(path, self.layout.mask_band)
        return translate_labels(found, path, self._codes, self.layout.ignored_labels)

    @cached_property
    def _codes(self) -> Mapping[int, int]:
        """Label of each code in the masks; empty where they have labels."""
        legend = self.layout.legend
        return self.layout.labels or (LegendTable.load(Path(legend)).codes if legend else {})

    def with_legend(self, table: LegendTable | None) -> Self:
        """Return this chip set with the codes of a legend table, unless the layout says which labels masks have."""
        if table is None or self._codes or not table.codes:
            return self
        return type(self)(self.root, dataclasses.replace(self.layout, labels=table.codes), self.ids)

    def georeference(self, chip_id: str) -> Georeference:
        """Return where a chip lies, by the first of its files that says so; unknown if none does."""
        return next((place for _, place in self.georeferences(chip_id)), Georeference())

    def georeferences(self, chip_id: str) -> Iterator[tuple[Path, Georeference]]:
        """Yield each file of a chip that says where it lies, GeoTIFFs first, among them the DEM first."""
        for path in (*self.geotiffs(chip_id), *self._files(chip_id, _ZIPPED)):
            place = read_georeference(path)
            if is_known(place):
                yield path, place
        yield from self._other_bands(chip_id)

    def _other_bands(self, chip_id: str) -> Iterator[tuple[Path, Georeference]]:
        """Yield the places of bands in files of their own, on the grid of their first one."""
        for name, image in self.layout.images.items():
            if not image.by_band or chip_id not in self.ids_of(name):
                continue
            first, *others = self.band_paths(chip_id, name)
            grid = _place(first)
            for path in others if is_known(grid) else ():
                place = _place(path) if path.is_file() else Georeference()
                if is_known(place):
                    # coarser bands are repeated, so their pixels are cut into whole parts
                    parts = max(round(pixel_side(place) / pixel_side(grid)), 1)
                    yield path, coarser(place, 1 / parts)

    def geotiffs(self, chip_id: str) -> Iterator[Path]:
        """Yield a chip's GeoTIFFs that exist, its DEM first and its mask last."""
        yield from self._files(chip_id, _GEOTIFF)

    def _files(self, chip_id: str, suffixes: Set[str]) -> Iterator[Path]:
        # False sorts first and sorting is stable: the DEM, then the layout's order
        names = sorted(self.layout.images, key=lambda name: name != "DEM")
        # by the listing, as each look for a file that is not there is several, one for each spelling
        names = [name for name in names if chip_id in self.ids_of(name)]
        for name in (*names, None):  # None for the mask; one after another, as callers may stop at the first
            path = self.mask_path(chip_id) if name is None else self.path(chip_id, name)
            if path is not None and path.suffix.lower() in suffixes and path.is_file():
                yield path


def _place(path: Path) -> Georeference:
    """Return where a file lies; unknown for NumPy files, which cannot say."""
    return read_georeference(path) if path.suffix.lower() in _GEOTIFF | _ZIPPED else Georeference()
