"""Which scene a chip was cut from: by a pattern on its id, or by a table."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from augment_store.errors import ChipSetError
from augment_store.io.files import read_text
from augment_store.io.remote import as_path
from augment_store.utils.identifiers import MAX_NAME_BYTES
from augment_store.utils.text import pluralize

SCENE_PATTERN: Final = r"(?:_r\d+c\d+|_\d+_\d+)$"
"""What is stripped from an id by default: ``_r<row>c<col>``, or the ``_<row>_<col>`` of TerraMesh ids."""


def scenes_by_rule(ids: Iterable[str], rule: str) -> dict[str, str]:
    """Return the scene of each chip, by the rule that `--scenes` was given.

    Args:
        ids: Chip ids.
        rule: Path of a CSV file with the columns chip and scene, or else a regular expression; what it matches is
            stripped from an id.

    Raises:
        ChipSetError: If the rule is neither, matches no id, or does not give every chip a scene.
    """
    path, chip_ids = as_path(rule), tuple(ids)
    if path.suffix == ".csv" or path.is_file():
        return scenes_by_table(chip_ids, path)
    return scenes_by_expression(chip_ids, rule)


def scenes_by_expression(ids: Iterable[str], rule: str) -> dict[str, str]:
    """Return the scene of each chip by a regular expression that was meant as one; see `scenes_by_rule`.

    Raises:
        ChipSetError: If it matches no id, or as `scenes_by_pattern`.
    """
    chip_ids = tuple(ids)
    scenes = scenes_by_pattern(chip_ids, rule)
    # the default may match nothing: then each chip is a scene of its own
    if chip_ids and rule != SCENE_PATTERN and all(chip_id == scene for chip_id, scene in scenes.items()):
        raise ChipSetError(  # as a mistyped file name does
            f"--scenes {rule!r} is not a file, and as a regular expression it matches no chip id, such as "
            f"{chip_ids[0]!r}; give a CSV file of chip and scene, or an expression for what to strip from an id"
        )
    return scenes


def scenes_by_pattern(ids: Iterable[str], pattern: str = SCENE_PATTERN) -> dict[str, str]:
    """Return the scene of each chip: its id without what `pattern` matches.

    Raises:
        ChipSetError: If `pattern` is not a regular expression, or leaves an id empty or too long.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ChipSetError(
            f"--scenes {pattern!r} is neither a file nor a regular expression: {error}"
        ) from error
    scenes = {chip_id: expression.sub("", chip_id) for chip_id in ids}
    empty = [chip_id for chip_id, scene in scenes.items() if not scene]
    if empty:
        raise ChipSetError(f"--scenes {pattern!r} leaves nothing of chip id {empty[0]!r}")
    _check_scenes(f"--scenes {pattern!r}", scenes.values())
    return scenes


def scenes_by_table(ids: Iterable[str], table: Path) -> dict[str, str]:
    """Return the scene of each chip from a CSV file with the two columns chip and scene; a header line is optional.

    Raises:
        ChipSetError: If the file cannot be read as such, lacks a chip, or names an invalid scene.
    """
    try:
        rows = [row for row in csv.reader(read_text(table).splitlines()) if row]
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ChipSetError(
            f"{table}: cannot read the scene table ({reason}); expected a CSV file with the columns chip and scene"
        ) from error
    if any(len(row) != 2 for row in rows):
        raise ChipSetError(f"{table}: expected two columns, chip and scene, in every row")
    # Accents are one character in some files and two in others: both sides are compared in one form.
    # A header line becomes an entry that no chip asks for.
    known: Mapping[str, str] = {_composed(chip.strip()): scene.strip() for chip, scene in rows}
    wanted = {chip_id: _composed(chip_id) for chip_id in ids}
    # an empty scene is none
    missing = [chip_id for chip_id, form in wanted.items() if not known.get(form)]
    if missing:
        raise ChipSetError(
            f"{table}: no scene for {pluralize(len(missing), 'chip')}, the first {missing[0]!r}; add a row for each"
        )
    scenes = {chip_id: known[form] for chip_id, form in wanted.items()}
    _check_scenes(str(table), scenes.values())
    return scenes


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _check_scenes(source: str, scenes: Iterable[str]) -> None:
    """Make sure that exported files can be named after scenes; the export replaces path separators."""
    # each once, as many chips share a scene
    for scene in dict.fromkeys(scenes):
        if not scene.isprintable() or len(scene.encode()) > MAX_NAME_BYTES:
            raise ChipSetError(
                f"{source}: scene {scene[:60]!r} is invalid: it is not printable, or longer than "
                f"{MAX_NAME_BYTES} bytes; "
                "rename the scene"
            )
