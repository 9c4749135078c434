"""Files of chips by patterns such as ``S2L2A/{id}.tif``, ``{split}/{id}/{band}.tif`` and ``*/{id}/S2.tif``."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from augment_store.errors import ChipSetError
from augment_store.io.tar import SUFFIX as ARCHIVE
from augment_store.io.tar import ArchivedPath, archived, is_archived

SUFFIXES: Final = (".tif", ".tiff", ".zarr.zip", ".npy")
"""File types that chips are read from."""

SPLIT: Final = "{split}"
"""Part of a pattern that stands for the folder of a split."""

BAND: Final = "{band}"
"""What stands in a pattern for a word of the layout's ``bands``."""

_ANY: Final = "*"


def check_inside(path: str) -> str:
    """Return a path that does not lead out of the chip set, without ``./`` and ``//``.

    Raises:
        ValueError: If it might.
    """
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
        raise ValueError("expected a path inside the chip set, with /")
    # as found files are named, with which patterns are compared
    return str(PurePosixPath(path))


def check_band_word(word: str) -> str:
    """Return a word that may stand for ``{band}``: part of a name, which leads to no other folder.

    Raises:
        ValueError: If it might.
    """
    # nothing between two dots, or a dot beside one, is the folder above
    if set(word) & set("/\\*{}") or not word.strip("."):
        raise ValueError(
            f"bands: {word!r} stands for {BAND} in a file name; expected a name without / \\ * {{ }}"
        )
    return word


def check_pattern(path: str) -> str:
    """Return a pattern of a file inside the chip set that names the chip.

    Raises:
        ValueError: If it is none.
    """
    path = check_inside(path)
    parts = PurePosixPath(path).parts
    named = [part for part in parts if "{id}" in part]
    # twice in one part could be split at two places
    if not named or any(part.count("{id}") > 1 for part in named):
        raise ValueError("expected {id} in the file name or a folder, as in S2L2A/{id}.tif or {id}/B02.tif")
    folders = parts[:-1]
    if SPLIT in path and (folders.count(SPLIT), path.count(SPLIT)) != (1, 1):
        raise ValueError(f"expected {SPLIT} once, for a whole folder, as in {SPLIT}/S2L2A/{{id}}.tif")
    if set(path.partition(SPLIT)[0]) & set("{*") and SPLIT in path:
        raise ValueError(f"expected {SPLIT} before {{id}} and *, as in {SPLIT}/*/{{id}}.tif")
    bare = path.replace("{id}", "").replace(SPLIT, "").replace(BAND, "")
    # any other brace would have a meaning to `str.format`
    if set(bare) & set("{}"):
        raise ValueError(f"expected no braces but {{id}}, {SPLIT} and {BAND}")
    starred = [part for part in parts if "*" in part]
    if set(starred) - {_ANY} and not (starred == [folders[-1]] and _is_archive(folders[-1], parts[-1])):
        raise ValueError(
            "expected * for a whole folder, as in */S2L2A/{id}.tif, or in the name of archives, as in "
            "S2L2A/*.tar/{id}.zarr.zip"
        )
    if parts[-1] == _ANY or not path.lower().endswith(SUFFIXES):
        raise ValueError(f"expected a file of one of the types {', '.join(SUFFIXES)}")
    return path


def _is_archive(folder: str, name: str) -> bool:
    return folder.endswith(ARCHIVE) and folder.count("*") == 1 and "{id}" in name


def fixed_folder(pattern: str) -> str:
    """Return the folder of a pattern up to the first part that stands for several; ``.`` if that is the root."""
    parts = PurePosixPath(pattern).parts[:-1]
    free = (position for position, part in enumerate(parts) if set(part) & set("{*"))
    return str(PurePosixPath(*parts[: next(free, len(parts))]))


def is_searched(pattern: str) -> bool:
    """Return whether a chip's file has to be looked for in several folders."""
    parts = PurePosixPath(pattern).parts
    return _ANY in parts or SPLIT in parts


def find_files(folder: Path, pattern: str, splits: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield the id of each file that matches a pattern, and the pattern with the folders found for ``*``.

    Args:
        folder: Folder that the pattern is relative to.
        pattern: Pattern without ``{band}``.
        splits: Names of folders that ``{split}`` stands for.
    """
    if is_archived(folder / pattern):
        for chip_id in ids_among(archived(folder / pattern), PurePosixPath(pattern).name):
            yield chip_id, pattern
        return
    yield from _search(folder, PurePosixPath(pattern).parts, (), None, splits)


def _search(
    base: Path, parts: Sequence[str], done: tuple[str, ...], chip_id: str | None, splits: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Go one part of a pattern further; `done` are those before it, `chip_id` is None until one names the chip."""
    part, rest = parts[0], parts[1:]
    if part in {_ANY, SPLIT}:
        for name in sorted(_names(base)) if part == _ANY else splits:
            # a folder called {id} would be taken for the chip's in the pattern that is returned
            if not name.startswith(".") and "{id}" not in name and (base / name).is_dir():
                yield from _search(base / name, rest, (*done, name), chip_id, splits)
    elif "{id}" in part and chip_id is None:
        for found in ids_among(_names(base), part):
            if not rest:
                yield found, str(PurePosixPath(*done, part))
            else:
                yield from _search(base / part.format(id=found), rest, (*done, part), found, splits)
    elif rest:
        yield from _search(base / part.format(id=chip_id), rest, (*done, part), chip_id, splits)
    # the last part, behind a folder that named the chip
    elif any((base / name).is_file() for name in spellings(part.format(id=chip_id))):
        yield chip_id or "", str(PurePosixPath(*done, part))


def _names(folder: Path) -> Iterable[str]:
    return (entry.name for entry in folder.iterdir()) if folder.is_dir() else ()


def ids_among(names: Iterable[str], pattern: str) -> Iterator[str]:
    """Yield the ids in names that match a pattern; hidden files are drafts, and what macOS puts beside a file."""
    for name in names:
        found = None if name.startswith(".") else id_in(name, pattern)
        if found:
            yield found


def locate(folder: Path, pattern: str, splits: Sequence[str] = ()) -> dict[str, str]:
    """Return the ids of the files that match a pattern, each with the pattern of its own folders.

    Raises:
        ChipSetError: If two folders hold a file of one id.
    """
    found: dict[str, str] = {}
    for chip_id, filled in find_files(folder, pattern, splits):
        if found.setdefault(chip_id, filled) != filled:
            both = " and ".join(
                str(folder / each.replace("{id}", chip_id)) for each in (found[chip_id], filled)
            )
            raise ChipSetError(
                f"chip {chip_id} is in two folders: {both}; an id names one chip, so rename one, or give --chips "
                "the folder of one of them with a layout of its own"
            )
    return found


def without_others(found: dict[str, str], pattern: str, others: Iterable[str]) -> dict[str, str]:
    """Leave out the files of another pattern of the same folder, as of ``{id}_mask.tif`` where ``{id}.tif`` is sought.

    Args:
        found: Ids by `locate`.
        pattern: The pattern that found them.
        others: All patterns of the layout.
    """
    folder, name = PurePosixPath(pattern).parent, PurePosixPath(pattern).name
    beside = {
        path.name for path in map(PurePosixPath, others) if path.parent == folder and "{id}" in path.name
    }
    # those whose every file matches this pattern too
    longer = [each for each in beside - {name} if "{id}" in name and id_in(each.replace("{id}", "x"), name)]
    # only of a chip that is there: elsewhere a chip may be called so
    return {
        chip_id: path
        for chip_id, path in found.items()
        if not any(id_in(name.replace("{id}", chip_id), each) in found for each in longer)
    }


def chip_file(path: Path) -> Path:
    """Return the file at a path, or the one in an archive of a path such as ``S2L2A/*.tar/a.zarr.zip``."""
    archive = archived(path).get(path.name) if is_archived(path) else None
    return path if archive is None else ArchivedPath(archive, path.name)


def id_in(name: str, pattern: str) -> str | None:
    """Return the id in a name such as ``a_DEM.tif`` by a pattern such as ``{id}_DEM.tif``; None if it does not match.

    The file type may be in capitals, as ``a_DEM.TIF``.
    """
    prefix, suffix = pattern.split("{id}")
    stem, kind = split_type(suffix)
    # longer, so that the id is not empty and the ends do not overlap
    found = name.startswith(prefix) and len(name) > len(prefix) + len(suffix)
    # the type in any case, the rest as written
    found = found and name.lower().endswith(kind.lower()) and name[: len(name) - len(kind)].endswith(stem)
    return name[len(prefix) : len(name) - len(suffix)] if found else None


def split_type(name: str) -> tuple[str, str]:
    """Return a name without its file type, and the type."""
    kind = next((known for known in SUFFIXES if name.lower().endswith(known)), "")
    return (name[: len(name) - len(kind)], name[len(name) - len(kind) :]) if kind else (name, "")


def spellings(name: str) -> tuple[str, ...]:
    """Return a file name as it may be spelled on disk: ``.TIF`` or ``.Tif``, accents in one character or two."""
    stem, kind = split_type(name)
    forms = (stem, *(unicodedata.normalize(form, stem) for form in ("NFC", "NFD") if not stem.isascii()))
    kinds = (kind, kind.upper(), kind.lower(), kind[:1] + kind[1:].capitalize())
    # each once, the name as written first, which callers rely on
    return tuple(dict.fromkeys(f"{form}{each}" for each in kinds for form in forms))
