"""A layout guessed from the names of files and their bands, where none that ships fits."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from augment_store.chips.chip_folder import MASK
from augment_store.chips.file_patterns import BAND, SPLIT, SUFFIXES, split_type
from augment_store.chips.file_roles import (
    ROLES,
    FileLook,
    band_of,
    describe_bands,
    look_at,
    product_of,
    role_by_content,
    role_of,
    words_of,
)
from augment_store.errors import ChipSetError
from augment_store.modalities.definitions import INPUT_MODALITIES
from augment_store.utils.text import join_first

SPLIT_WORDS: Final = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Words of folders and lists by the split they mean."""

_SEPARATORS: Final = "_-. "

_OPEN: Final = {
    "S1": "; rename it S1GRD if it is not terrain-corrected",
    "S2": "; rename it S2L1C if it is not Level-2A",
}
"""What to say of roles whose words leave the product open."""


@dataclass(frozen=True)
class GuessedFiles:
    """Files of one pattern.

    Attributes:
        pattern: Their pattern, with ``{id}``.
        ids: The chips that have one.
        role: What their names say they hold; empty if nothing.
        bands: Words that ``{band}`` stands for; empty where a file holds all bands.
        example: One of the files, relative to the root.
    """

    pattern: str
    ids: frozenset[str]
    role: str
    bands: tuple[str, ...]
    example: PurePosixPath


@dataclass(frozen=True)
class LayoutGuess:
    """A layout as its file holds it, and what it rests on.

    Attributes:
        plain: Keys of a layout file.
        notes: What was guessed, a line each.
    """

    plain: Mapping[str, Any]
    notes: tuple[str, ...]


def guess_layout(root: Path, name: str) -> LayoutGuess:
    """Guess the layout of a folder.

    Args:
        root: The folder.
        name: Name of the layout.

    Raises:
        ChipSetError: If its files say too little; the message names what would help.
    """
    files = raster_files(root)
    if not files:
        raise ChipSetError(f"{root}: no file of the types {', '.join(SUFFIXES)}, of which chips are made")
    groups = group_files(files)
    images, masks, notes = _sort_into_images(root, groups)
    if not images:
        found = join_first(group.pattern for group in groups)
        raise ChipSetError(
            f"{root}: none of the files ({found}) looks like an input ({', '.join(INPUT_MODALITIES)}): neither names "
            "nor bands say so; tim-store layouts show folders prints a layout file to describe them"
        )
    plain: dict[str, Any] = {"name": name, "images": images}
    if masks:
        plain["mask"] = masks
    folders = _split_folders(files) if any(SPLIT in group.pattern for group in groups) else {}
    if folders:
        plain["splits"] = folders
    return LayoutGuess(plain, tuple(notes))


def raster_files(root: Path) -> tuple[PurePosixPath, ...]:
    """Return the rasters under a folder, relative to it, in order; none in hidden folders."""
    # a Zarr store is a folder of files, none of which has these types; other folders may be named like a raster
    files = (path for path in root.rglob("*") if split_type(path.name)[1] and path.is_file())
    found = (PurePosixPath(path.relative_to(root).as_posix()) for path in files)
    return tuple(sorted(path for path in found if not any(part.startswith(".") for part in path.parts)))


def group_files(files: Sequence[PurePosixPath]) -> list[GuessedFiles]:
    """Sort files by the pattern that their names suggest, those of most chips first."""
    depth = _split_depth(files)
    chip_folders = _chip_folders(files)
    found: dict[tuple[str, str], dict[str, list[tuple[str, PurePosixPath]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for path in files:
        pattern, chip_id, band, role = _parse_path(path, depth, chip_folders)
        found[pattern, role][chip_id].append((band, path))
    groups = []
    for (pattern, role), by_chip in found.items():
        every = [each for members in by_chip.values() for each in members]
        words = tuple(sorted({band for band, _ in every if band}, key=_fine_bands_first))
        groups.append(GuessedFiles(pattern, frozenset(by_chip), role, words, every[0][1]))
    return sorted(_aligned(groups), key=lambda group: (-len(group.ids), group.pattern))


def _parse_path(
    path: PurePosixPath, depth: int | None, chip_folders: Collection[PurePosixPath]
) -> tuple[str, str, str, str]:
    """Return a file's pattern, chip, band (empty if it holds all) and role (empty if its name says none)."""
    folders = [SPLIT if place == depth else part for place, part in enumerate(path.parts[:-1])]
    stem, kind = split_type(path.name)
    inside = path.parent in chip_folders
    if inside:
        chip_id = folders[-1]
        folders[-1] = "{id}"
        # a name may repeat the chip's, as BigEarthNet's do
        pattern = stem.replace(chip_id, "{id}", 1) if "{id}" not in stem else stem
    else:
        chip_id, pattern = _split_stem(stem)
    band = next((word for word in _tokens(pattern.replace("{id}", "")) if band_of(word)), "")
    if not inside and not band:
        word = _tokens(chip_id)[-1:] or [""]
        if band_of(word[0]) and len(chip_id) > len(word[0]) + 1:
            band = word[0]
            # the separator before it stays in the pattern
            chip_id, pattern = chip_id[: -len(band) - 1], f"{{id}}{chip_id[-len(band) - 1]}{band}"
    inner = pattern.replace("{id}", " ")
    own = role_of(inner.replace(band, " ") if band else inner) or ""
    # the nearest folder that says something
    by_folder = next(
        filter(None, map(role_of, reversed([f for f in folders if f not in {"{id}", SPLIT}]))), ""
    )
    # img_1.tif may lie in a folder of masks
    role = by_folder if by_folder and own in {"", *_OPEN} else own
    named = pattern.replace(band, BAND, 1) if band else pattern
    return "/".join([*folders, f"{named}{kind}"]), chip_id, band, role


def _tokens(text: str) -> list[str]:
    for separator in _SEPARATORS:
        text = text.replace(separator, " ")
    return text.split()


def _split_stem(stem: str) -> tuple[str, str]:
    """Return the chip of a file's name and the name's pattern: words at either end that say a role are not its id."""
    for separator in _SEPARATORS:
        parts = stem.split(separator)
        for count in (2, 1):
            if len(parts) > count and _is_role(parts[-count:]):
                return separator.join(parts[:-count]), separator.join(["{id}", *parts[-count:]])
            if len(parts) > count and _is_role(parts[:count]):
                return separator.join(parts[count:]), separator.join([*parts[:count], "{id}"])
    return stem, "{id}"


def _is_role(parts: Sequence[str]) -> bool:
    """Return whether words say a role together, as ``S2`` and ``L2A`` do; a single letter in a name says nothing."""
    word = "".join(parts).lower()
    return len(word) > 1 and word in ROLES


def _split_depth(files: Sequence[PurePosixPath]) -> int | None:
    """Return at which depth folders are named after at least two splits; None if nowhere."""
    seen: dict[int, set[str]] = defaultdict(set)
    for path in files:
        for depth, part in enumerate(path.parts[:-1]):
            if part.lower() in SPLIT_WORDS:
                seen[depth].add(SPLIT_WORDS[part.lower()])
    return next((depth for depth, splits in sorted(seen.items()) if len(splits) > 1), None)


def _split_folders(files: Sequence[PurePosixPath]) -> dict[str, str]:
    """Return the name of each split's folder."""
    depth = _split_depth(files)
    names = {path.parts[depth] for path in files if depth is not None and len(path.parts) > depth + 1}
    return {SPLIT_WORDS[name.lower()]: name for name in sorted(names) if name.lower() in SPLIT_WORDS}


def _chip_folders(files: Sequence[PurePosixPath]) -> frozenset[PurePosixPath]:
    """Return the folders that hold the files of one chip each: their files' names say roles or bands, theirs do not."""
    inside: dict[PurePosixPath, list[str]] = defaultdict(list)
    for path in files:
        # the folder's own name is that of the chip
        inside[path.parent].append(split_type(path.name)[0].replace(path.parent.name, " "))
    return frozenset(
        folder
        for folder, names in inside.items()
        if folder.name
        and role_of(folder.name) is None
        and folder.name.lower() not in SPLIT_WORDS
        and all(map(_says, names))
        # several of one kind are files of several chips
        and len(set(map(_says, names))) == len(names)
    )


def _says(name: str) -> str:
    """Return the role or the band that a name says, empty if neither."""
    bands = [word for word in _tokens(name) if band_of(word)]
    return bands[0] if bands else role_of(name) or ""


def _fine_bands_first(word: str) -> tuple[int, str]:
    """Sort the bands of 10 m first, as the first band has the grid of the others."""
    fine = ("BLUE", "GREEN", "RED", "NIR_BROAD")
    return (0 if band_of(word) in fine else 1, word.lower())


def _aligned(groups: Sequence[GuessedFiles]) -> Iterator[GuessedFiles]:
    """Strip from ids what all files of one pattern share and those of others do not, such as ``_S2Hand``."""
    for group in groups:
        others = [other for other in groups if other is not group]
        alone = others and not any(group.ids & other.ids for other in others)
        end = _shared_end(group.ids) if alone and group.pattern.count("{id}") == 1 else ""
        if end:
            ids = frozenset(chip_id.removesuffix(end) for chip_id in group.ids)
            yield dataclasses.replace(group, ids=ids, pattern=group.pattern.replace("{id}", f"{{id}}{end}"))
        else:
            yield group


def _shared_end(ids: Collection[str]) -> str:
    """Return the end that several ids share, from a separator on, with a letter in it; empty if there is none."""
    first = min(ids)
    ends = [first[place:] for place in range(1, len(first)) if first[place] in _SEPARATORS]
    if len(ids) < 2:
        return ""
    return next(
        (e for e in ends if any(map(str.isalpha, e)) and all(i.endswith(e) and i != e for i in ids)), ""
    )


def _sort_into_images(root: Path, groups: Sequence[GuessedFiles]) -> tuple[dict[str, Any], str, list[str]]:
    """Return the images of a layout by modality, the pattern of its masks, and what was guessed."""
    images: dict[str, Any] = {}
    masks, notes = "", []
    for group in groups:
        look = look_at(root / group.example)
        role = group.role or role_by_content(look) or ""
        why = "by their names" if group.role else "by their bands"
        name = _modality_of(group, role, look)
        if name == MASK and not masks and not group.bands:
            masks = group.pattern
            notes.append(f"masks are {group.pattern}, {why}")
        elif name in INPUT_MODALITIES and name not in images:
            try:
                keys, how = _bands_of(group, name, look)
            except ValueError as error:
                notes.append(
                    f"{group.pattern} is left out: {error}; add it to the layout's images if it is one"
                )
                continue
            images[name] = {"files": group.pattern, **keys}
            notes.append(f"{name} is {group.pattern}, {why}; {how}{_OPEN.get(role, '')}")
        else:
            what = "nothing says what it is" if not name else f"there is another {name}"
            notes.append(f"{group.pattern} is left out: {what}")
    ordered = {name: images[name] for name in INPUT_MODALITIES if name in images}
    return ordered, masks, notes


def _modality_of(group: GuessedFiles, role: str, look: FileLook) -> str:
    if group.bands:
        known = {band_of(word) for word in group.bands}
        if known & {"VV", "VH"}:
            return "S1GRD" if role == "S1GRD" else "S1RTC"
        # only Level-1C has the band of cirrus
        return "S2L1C" if role == "S2L1C" or "CIRRUS" in known else "S2L2A"
    return product_of(role, len(look.values))


def _bands_of(group: GuessedFiles, name: str, look: FileLook) -> tuple[dict[str, Any], str]:
    modality = INPUT_MODALITIES[name]
    if not group.bands:
        return describe_bands(modality, look.names, len(look.values))
    known = {band_of(word) for word in group.bands}
    absent = [band for band in modality.bands if band not in known]
    keys = {"bands": list(group.bands), **({"absent": absent} if absent else {})}
    return keys, f"a file for each of {len(group.bands)} bands"


def split_lists(root: Path, known: Collection[str]) -> dict[str, str]:
    """Return text files under a folder that list the chips of splits, by split, relative to the folder.

    Args:
        root: The folder.
        known: Ids of the chips, one of which a list must begin with.
    """
    found: dict[str, str] = {}
    for path in sorted([*root.rglob("*.txt"), *root.rglob("*.csv")]):
        names = [SPLIT_WORDS[word] for word in words_of(path.stem) if word in SPLIT_WORDS]
        if len(names) == 1 and names[0] not in found and path.is_file():
            with path.open(encoding="utf-8", errors="replace") as lines:
                first = lines.readline().split(",")[0].strip()
            if any(chip_id in first for chip_id in known if chip_id):
                found[names[0]] = path.relative_to(root).as_posix()
    return found
