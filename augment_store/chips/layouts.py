"""How a chip set lies on disk: layouts as files, and the file of each chip's modality in them."""

from __future__ import annotations

import csv
import functools
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Final, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from augment_store.chips.band_names import known_band
from augment_store.chips.file_patterns import (
    BAND,
    SPLIT,
    check_band_word,
    check_inside,
    check_pattern,
    find_files,
    fixed_folder,
    id_in,
    split_type,
)
from augment_store.errors import ChipSetError, StoreError
from augment_store.io.file_kinds import found_folder, found_yaml
from augment_store.io.files import read_text
from augment_store.io.remote import RemotePath, as_path
from augment_store.modalities.definitions import (
    IGNORED_LABEL,
    INPUT_MODALITIES,
    REFERENCE_MODALITIES,
    Modality,
)
from augment_store.utils.identifiers import check_name
from augment_store.utils.text import single_line
from augment_store.utils.validation import STRICT, ValidationError, load_yaml, parse

SPLITS: Final = ("train", "val", "test")

SHIPPED: Final = (
    "impactmesh",
    "impactmesh_fire",
    "sen1floods11",
    "pastis",
    "terratorch",
    "terramesh",
    "bigearthnet",
    "folders",
)
"""Layouts that come with the package, in the order in which they are tried: the most general last."""

LAYOUT_FILES: Final = Path(__file__).with_name("layout_files")


def _listed(value: Any) -> Any:
    """Make a list of a single word."""
    # anything else is left as it is, for pydantic to refuse
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _local_rule(rule: str) -> str:
    """Return a rule for scenes that leads to no address and not out of the chip set: a stranger may have written it."""
    if isinstance(as_path(rule), RemotePath):
        raise ValueError(
            "expected an expression or a CSV file inside the chip set, not a URL; --scenes takes one"
        )
    if rule.lower().endswith(".csv") or "/" in rule:
        check_inside(rule)
    return rule


Paths = Annotated[tuple[Annotated[str, AfterValidator(check_inside)], ...], BeforeValidator(_listed)]
"""Alternative paths; the first that exists is used."""
Patterns = Annotated[tuple[Annotated[str, AfterValidator(check_pattern)], ...], BeforeValidator(_listed)]
"""Alternative files, with ``{id}`` for the chip (see `file_patterns`); the first that exists is used."""
StringList = Annotated[tuple[str, ...], BeforeValidator(_listed)]


@dataclass(frozen=True)
class Image:
    """The files of one modality.

    Attributes:
        files: Patterns of its file, relative to the layout's `data`; ``*`` stands for any one folder, as in
            ``*/{id}/S2.tif``, or is in the name of uncompressed tar archives, as in ``S2L2A/*.tar/{id}.zarr.zip``.
            With ``{band}`` there is a file for each word of `bands`, as in ``{id}/{band}.tif``.
        bands: Bands in the order of the file, by TerraTorch's names or what others call them (``B02``, ``red``); bands
            of other names are ignored. Empty: TerraMind's own bands in their order. A word may name several bands of
            one file, as ``B02_B03_B04_B08`` does.
        absent: Bands that the sensor or the data set does not have; they enter as no data, at which the input audit
            stops until the user accepts it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    files: Annotated[Patterns, Field(min_length=1)]
    bands: StringList = ()
    absent: StringList = ()

    def __post_init__(self) -> None:
        by_band = {BAND in pattern for pattern in self.files}
        if by_band == {True, False} or (by_band == {True} and not self.bands):
            raise ValueError(
                f"{BAND} stands for each word of bands: expected it in all files, and bands: [B02, B03, …]"
            )
        for word in self.bands if self.by_band else ():
            check_band_word(word)

    @property
    def by_band(self) -> bool:
        """Return whether bands lie in several files."""
        return BAND in self.files[0]

    def patterns(self, word: str | None = None) -> tuple[str, ...]:
        """Return the patterns of the file of a word of `bands`, by default of the first, which stands for all."""
        chosen = word if word is not None else next(iter(self.bands), "")
        return tuple(pattern.replace(BAND, chosen) for pattern in self.files)

    def names(self, modality: Modality) -> tuple[str, ...]:
        """Return TerraTorch's names of the bands in their order; a band that is not the modality's keeps its own."""
        return tuple(name for word in self.bands for name in bands_of_word(word, modality)) or modality.bands


def bands_of_word(word: str, modality: Modality) -> tuple[str, ...]:
    """Return TerraTorch's names of the bands that a word of a layout means: one, or several as ``B02_B03`` does."""
    if word in modality.bands:
        return (word,)
    known = known_band(word, modality)
    if known:
        return (known,)
    each = [known_band(part, modality) for part in word.split("_")]
    # all of them, or the word is a name of its own
    return tuple(name for name in each if name) if all(each) else (word,)


@dataclass(frozen=True)
class Layout:
    """File names of a chip set, and what readers must know about its files. Paths are relative to the chip set's root.

    Attributes:
        name: What users call the layout.
        images: Files of each modality.
        description: One line that says what has this layout.
        data: Folder that holds the modality folders; of several, the first that has chips.
        mask: Patterns of the reference mask, relative to `data`.
        splits: Files that list each split's chips: an id a line, or the name of one of the chip's files. Where patterns
            have ``{split}``, the names of its folders instead, by default ``train``, ``val`` and ``test``.
        scenes: Rule for a chip's scene, as `--scenes` takes it; None for the default.
        timesteps: Timesteps of every chip, or None where files may have any number; a GeoTIFF then holds the bands of
            the first, those of the second, and so on.
        evenly_spaced: How many timesteps to take of each chip's series, from the first to the last in even steps, so
            that series of different lengths give chips of one length; None for all of them.
        interleave: How a GeoTIFF without names of bands holds several timesteps: ``time`` if all bands of the first
            come first, ``band`` if all timesteps of the first band do.
        mask_band: Which band of a mask holds the labels, counted from 1; ``one-hot`` for a band of 0 and 1 for each
            class; None where masks have one band.
        s1_unit: Unit of radar on disk.
        s2_offset: Subtracted from Sentinel-2's values.
        ignored_labels: Labels or codes in masks to ignore, besides −1.
        labels: Label of each code in the masks, where these are not labels from 0; others are refused.
        legend: Legend table of the masks' classes, one that ships; None if masks may have any classes. One with codes
            makes labels of them, unless `labels` does.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    images: Annotated[Mapping[str, Image], Field(min_length=1)]
    description: str = ""
    data: Annotated[Paths, Field(min_length=1)] = (".",)
    mask: Patterns = ()
    splits: Mapping[Literal["train", "val", "test"], Paths] = field(default_factory=dict)
    scenes: Annotated[str, AfterValidator(_local_rule)] | None = None
    timesteps: Annotated[int, Field(ge=1, le=1000)] | None = None
    evenly_spaced: Annotated[int, Field(ge=2, le=1000)] | None = None
    interleave: Literal["time", "band"] = "time"
    mask_band: Annotated[int, Field(ge=1, le=1000)] | Literal["one-hot"] | None = None
    s1_unit: Literal["dB", "linear", "amplitude"] = "dB"
    s2_offset: float = 0.0
    ignored_labels: Annotated[tuple[int, ...], BeforeValidator(_listed)] = ()
    labels: Mapping[int, Annotated[int, Field(ge=IGNORED_LABEL)]] = field(default_factory=dict)
    legend: str | None = None

    def __post_init__(self) -> None:
        known = {**INPUT_MODALITIES, **REFERENCE_MODALITIES}
        for name, image in self.images.items():
            if name not in known:
                raise ValueError(f"images: no modality {name!r}; expected {', '.join(known)}")
            _check_bands(name, image, known[name])
        if any(BAND in pattern for pattern in self.mask):
            raise ValueError(f"mask: expected no {BAND}, as a mask is one file")
        if self.by_folder and any("/" in folder for folders in self.splits.values() for folder in folders):
            raise ValueError(f"splits: expected names of folders, which {SPLIT} of the patterns stands for")

    def patterns(self) -> tuple[str, ...]:
        """Return the patterns of every image's file; of its first one, where bands have a file each."""
        return tuple(pattern for image in self.images.values() for pattern in image.patterns())

    def file_patterns(self) -> tuple[str, ...]:
        """Return the patterns of all files: of every image, of each of its bands that has one, and of masks."""
        words = ((image, word) for image in self.images.values() for word in (image.bands or [""]))
        return (*(pattern for image, word in words for pattern in image.patterns(word)), *self.mask)

    @property
    def by_folder(self) -> bool:
        """Return whether each split's chips lie in a folder of its own."""
        return any(SPLIT in pattern for pattern in (*self.patterns(), *self.mask))

    def folders(self, split: str) -> tuple[str, ...]:
        """Return the names that a split's folder may have, where `by_folder`."""
        return self.splits.get(split, () if self.splits else (split,))  # type: ignore[call-overload,no-any-return]

    @property
    def split_folders(self) -> tuple[str, ...]:
        """Return the names of all splits' folders; none where splits are files."""
        return tuple(name for split in SPLITS for name in self.folders(split)) if self.by_folder else ()


def _check_bands(name: str, image: Image, modality: Modality) -> None:
    expected = modality.bands
    listed = (*image.names(modality), *image.absent)
    missing = [band for band in expected if band not in listed]
    fault = "a band appears twice" if len(set(listed)) < len(listed) else f"{' '.join(missing)} missing"
    if missing or len(set(listed)) < len(listed):
        raise ValueError(
            f"images.{name}.bands: {fault}; expected {' '.join(expected)} in any order, those that the data do not "
            f"have under images.{name}.absent"
        )


@functools.cache
def shipped_layout(name: str) -> Layout:
    """Return one of the layouts that come with the package."""
    return parse(Layout, load_yaml((LAYOUT_FILES / f"{name}.yaml").read_text(encoding="utf-8")))


def load_layout(name: str) -> Layout:
    """Return a shipped layout by its name, or one from a YAML file.

    Raises:
        ChipSetError: If there is neither, or the file is not a layout; the message names the key.
    """
    if name in SHIPPED:
        return shipped_layout(name)
    path = Path(name)
    if not path.is_file():
        raise ChipSetError(f"unknown layout {name!r}; expected one of {', '.join(SHIPPED)}, or a YAML file")
    try:
        plain = load_yaml(read_text(path))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ChipSetError(f"{path}: cannot be read as YAML ({single_line(error)})") from error
    try:
        return parse(Layout, plain)
    except ValidationError as error:
        remedy = f": {error}; compare with tim-store layouts show folders"
        raise ChipSetError(f"{path}: not a layout{found_yaml(plain, 'a layout') or remedy}") from error


def wherever_run(name: str | None) -> str | None:
    """Return a layout as a record names it: a file by its absolute path, so that the record is valid in any folder."""
    return str(Path(name).resolve()) if name and name not in SHIPPED and Path(name).is_file() else name


def data_folder(root: Path, layout: Layout) -> Path | None:
    """Return the folder under `root` with the layout's modality folders, or None if they hold no chip."""
    folders = (root / data for data in layout.data)
    return next((folder for folder in folders if _has_file(folder, layout.patterns(), layout)), None)


def _has_file(folder: Path, patterns: Iterable[str], layout: Layout) -> bool:
    # `any` stops at the first file
    return any(True for pattern in patterns for _ in find_files(folder, pattern, layout.split_folders))


def find_layout(root: Path, name: str | None = None) -> Layout:
    """Return the layout named, or the one whose files are in `root`.

    Args:
        root: Root folder of the chip set.
        name: A layout that ships with the package, the path of a YAML file, or None to detect it.

    Raises:
        ChipSetError: If there is no such folder, no such layout, or no chip of any layout in it.
    """
    if not root.is_dir():
        raise ChipSetError(f"{root}: no such folder; --chips takes the root folder of a chip set")
    if name is not None:
        return load_layout(name)
    above = root_above(root)
    if above is not None:
        raise ChipSetError(f"{root}: a folder inside a chip set; give the chip set's root, {above}")
    for layout in map(shipped_layout, SHIPPED):
        if data_folder(root, layout) is not None:
            return _by_masks(root, layout)
    raise ChipSetError(
        f"{root}: no chips found{found_folder(root)}; expected files such as S2L2A/{{id}}.tif or "
        f"data/S2L2A/{{id}}_S2L2A.zarr.zip{_what_is_there(root)}. tim-store layouts lists the layouts; --layout "
        "FILE describes another"
    )


def _by_masks(root: Path, found: Layout) -> Layout:
    """Choose among layouts that have the same images the first one whose masks are there; else the one found."""
    alike = (layout for layout in map(shipped_layout, SHIPPED) if layout.images == found.images)
    folders = ((layout, root / data) for layout in alike for data in layout.data)
    # a generator, so that no more masks are looked for once one is found
    there = (layout for layout, folder in folders if _has_file(folder, layout.mask, layout))
    return next(there, found)


def root_above(folder: Path) -> Path | None:
    """Return the root of the chip set whose data folder or modality folder is `folder`; None if it is neither."""
    if not isinstance(folder, RemotePath):
        folder = Path(os.path.abspath(folder))  # noqa: PTH100 - a link named `data` is a folder of that name
    for layout in map(shipped_layout, SHIPPED):
        for data in layout.data:
            modalities = {fixed_folder(f"{data}/{pattern}") for pattern in layout.patterns()}
            # "." is the root itself, not a folder below it
            for inner in {data, *modalities} - {"."}:
                depth = len(PurePosixPath(inner).parts)
                if folder.parts[-depth:] != PurePosixPath(inner).parts:
                    continue
                above = folder.parents[depth - 1]
                # a folder may bear such a name by chance: there must be chips
                if data_folder(above, layout) == above / data:
                    return above
    return None


def _what_is_there(root: Path) -> str:
    """Return a few of the files under a folder, for a message; none at a URL, where listing takes long."""
    if isinstance(root, RemotePath):
        return ""
    paths = (path for pattern in ("*", "*/*") for path in sorted(root.glob(pattern)))
    found = (path for path in paths if path.is_file() and not path.name.startswith("."))
    # the range first: `zip` then stops before it looks for a fourth file
    names = [str(path.relative_to(root)) for _, path in zip(range(3), found, strict=False)]
    return f", found {', '.join(names)} …" if names else ""


def check_id(chip_id: str, where: Path) -> str:
    """Return a chip id that is safe to build file names from, and that a store accepts.

    Raises:
        ChipSetError: If `check_name` refuses it.
    """
    try:
        check_name(f"{where}: chip id", chip_id)
    except StoreError as error:
        raise ChipSetError(f"{error}; an id is part of a file name, so rename the file") from error
    return chip_id


def read_split(path: Path, layout: Layout | None = None) -> tuple[str, ...]:
    """Return the chip ids of a split file, one a line (in a CSV file, the first column); blank lines are skipped.

    Args:
        path: The split file.
        layout: Layout whose file names may stand for ids.

    Raises:
        ChipSetError: If the file is missing or empty, or an id is unsafe or appears twice.
    """
    if not path.is_file():
        raise ChipSetError(f"{path}: no such split file; expected a text file with one chip id a line")
    try:
        lines = read_text(path).splitlines()
        words = [row[0] for row in csv.reader(lines) if row] if path.suffix == ".csv" else lines
    except (OSError, ValueError, csv.Error) as error:
        raise ChipSetError(f"{path}: not a text file ({error}); expected one chip id a line") from error
    names = (word.strip() for word in words)
    ids = tuple(check_id(_id_of(name, layout) if layout else name, path) for name in names if name)
    if not ids:
        raise ChipSetError(f"{path}: the split is empty; expected one chip id a line")
    twice = sorted(chip_id for chip_id, times in Counter(ids).items() if times > 1)
    if twice:
        raise ChipSetError(
            f"{path}: chip ids appear twice: {', '.join(twice[:5])}; remove the repeated lines"
        )
    return ids


def _id_of(name: str, layout: Layout) -> str:
    """Return the id in a file name or path of the layout; what matches none of its patterns is taken as an id."""
    # a path only if it has a file type; a bare id is left whole, to be checked
    if not split_type(name)[1]:
        return name
    parts = name.replace("\\", "/").split("/")
    # from the file up, as far as the pattern's last part that names the chip
    for pattern in layout.file_patterns():
        reversed_parts = list(reversed(PurePosixPath(pattern).parts))
        depth = next(depth for depth, part in enumerate(reversed_parts) if "{id}" in part)
        if depth < len(parts) and (found := id_in(parts[-1 - depth], reversed_parts[depth])):
            return found
    return parts[-1]
