"""`counts.csv`: the counts that every number of the report is computed from, so that a reader can check them."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Iterator
from typing import Final

from eval.compare.arms import Comparison

COLUMNS: Final = ("arm", "run", "seed", "scene", "reference", "predicted", "pixels")
NOTHING: Final = ""
"""The predicted class of pixels without a prediction."""

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell that spreadsheets run as a formula (OWASP, CSV injection)."""


def to_csv(comparison: Comparison) -> Iterator[bytes]:
    """Yield the pixels by run, scene, reference and predicted class; a row each, those without pixels as well.

    Millions of rows differ in a scene and a number, so cells are written once and the table comes scene by scene.
    """
    yield f"{','.join(COLUMNS)}\n".encode()
    names = [_as_cell(name) for name in comparison.class_names]
    # the same in every run, as the comparison has made sure
    scenes = [_as_cell(scene) for scene in comparison.arms[0].scores[0].counts.scenes]
    # `recompute.read_counts` reshapes rows to [scene, class, class + 1], so their order is part of the file
    pairs = [f",{reference},{predicted}," for reference in names for predicted in (*names, NOTHING)]
    # one scene's rows in pieces: run and scene, classes, pixels
    pieces = ["", "", ""] * len(pairs)
    pieces[1::3] = pairs
    for arm in comparison.arms:
        for number, score in enumerate(arm.scores, start=1):
            seed = "" if score.origin.seed is None else score.origin.seed
            run = f"{_as_cell(arm.name)},{number},{seed},"
            for scene, counts in zip(scenes, score.counts.by_scene(), strict=True):
                pieces[0::3] = [run + scene] * len(pairs)
                pieces[2::3] = map(_last_cell, counts.ravel().tolist())
                yield "".join(pieces).encode()


@functools.lru_cache(maxsize=2**16)
def _last_cell(pixels: int) -> str:
    """Write a number of pixels, of which there are a few different ones among millions."""
    return f"{pixels}\n"


def _as_cell(text: str) -> str:
    """Write a text as a cell, after an apostrophe if a spreadsheet would run it: names may be a stranger's."""
    # spreadsheets skip blanks and quotes before they look for a formula
    safe = f"'{text}" if text.lstrip(" '\"").startswith(FORMULA) else text
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([safe, ""])
    return line.getvalue().removesuffix(",\n")
