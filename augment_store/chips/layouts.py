"""How a chip set lies on disk: the two layouts, and the file of each chip's modality in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from augment_store.errors import ChipSetError

SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True)
class Layout:
    """File names of a chip set, with ``{id}`` for the chip and ``{split}`` for the split.

    Attributes:
        name: What users call the layout.
        data: Folder that holds the modality folders, relative to the chip set's root.
        images: Path of each modality's file, relative to `data`.
        mask: Path of the reference mask, relative to `data`.
        split: Path of a split file (one chip id a line), relative to the root.
    """

    name: str
    data: str
    images: Mapping[str, str]
    mask: str
    split: str


IMPACTMESH: Final = Layout(
    name="impactmesh",
    data="data",
    images={
        "S2L2A": "S2L2A/{id}_S2L2A.zarr.zip",
        "S1RTC": "S1RTC/{id}_S1RTC.zarr.zip",
        "DEM": "DEM/{id}_DEM.tif",
    },
    mask="MASK/{id}_annotation_flood.tif",
    split="split/impactmesh_flood_{split}.txt",
)
"""ImpactMesh's layout, which the Phase 2 NYC chips have."""

FOLDERS: Final = Layout(
    name="folders",
    data=".",
    images={name: f"{name}/{{id}}.tif" for name in ("S2L2A", "S1RTC", "S1GRD", "DEM", "LULC", "NDVI")},
    mask="MASK/{id}.tif",
    split="split/{split}.txt",
)
"""TerraTorch's generic multimodal layout: a folder per modality, a GeoTIFF per chip."""

LAYOUTS: Final[Mapping[str, Layout]] = {layout.name: layout for layout in (IMPACTMESH, FOLDERS)}


def list_ids(folder: Path, pattern: str) -> set[str]:
    """Ids of the files in `folder` that `pattern`, such as ``DEM/{id}_DEM.tif``, describes."""
    path = folder / pattern
    prefix, suffix = path.name.split("{id}")
    if not path.parent.is_dir():
        return set()
    names = (entry.name for entry in path.parent.iterdir())
    return {
        name[len(prefix) : len(name) - len(suffix)]
        for name in names
        if name.startswith(prefix) and name.endswith(suffix) and not name.startswith(".")
    }


def find_layout(root: Path, name: str | None = None) -> Layout:
    """Tells which layout a folder has: the one named, or the one whose files are there.

    Raises:
        ChipSetError: If there is no such folder, no such layout, or no chip of either layout in it.
    """
    if not root.is_dir():
        raise ChipSetError(f"{root}: no such folder; --chips takes the root folder of a chip set")
    if name is not None:
        if name not in LAYOUTS:
            raise ChipSetError(f"unknown layout {name!r}; expected one of {', '.join(LAYOUTS)}")
        return LAYOUTS[name]
    for layout in LAYOUTS.values():
        if any(list_ids(root / layout.data, pattern) for pattern in layout.images.values()):
            return layout
    expected = " or ".join(f"{root / ly.data / ly.images['S2L2A']}" for ly in LAYOUTS.values())
    raise ChipSetError(f"{root}: no chips found; expected files such as {expected}")


def check_id(chip_id: str, where: Path) -> str:
    """Returns a chip id that is safe to build file names from.

    Raises:
        ChipSetError: If the id is empty, holds a path separator or is a relative path step.
    """
    if not chip_id or re.search(r"[/\\\x00]", chip_id) or chip_id in {".", ".."}:
        raise ChipSetError(
            f"{where}: chip id {chip_id!r} holds a path separator or is empty; ids are file stems"
        )
    if not chip_id.isprintable():  # a file name that is not UTF-8 is not either
        raise ChipSetError(
            f"{where}: chip id {chip_id!a} is not printable UTF-8, so no store can hold it; rename the file"
        )
    return chip_id


def read_split(path: Path) -> tuple[str, ...]:
    """Chip ids of a split file, one a line; blank lines are skipped.

    Raises:
        ChipSetError: If the file is missing or empty, or an id is unsafe or appears twice.
    """
    if not path.is_file():
        raise ChipSetError(f"{path}: no such split file; expected a text file with one chip id a line")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ChipSetError(
            f"{path}: not a text file ({error.reason}); expected one chip id a line"
        ) from error
    ids = tuple(check_id(line, path) for line in lines if line)
    if not ids:
        raise ChipSetError(f"{path}: the split is empty; expected one chip id a line")
    twice = sorted({chip_id for chip_id in ids if ids.count(chip_id) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise ChipSetError(f"{path}: chip ids stand twice: {', '.join(twice[:5])}; remove the repeated lines")
    return ids
