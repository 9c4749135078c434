"""The contact sheet: a row per chip, a column per picture."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.georeference import pixel_metres
from augment_store.inspect.images import colour_confidence
from augment_store.inspect.statistics import MEASURES
from augment_store.inspect.store_inspector import StoreInspector
from augment_store.inspect.views import ChipView
from augment_store.io.files import atomic_write
from augment_store.modalities.definitions import LegendClass

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Legends = dict[str, tuple[LegendClass, ...]]

MAX_ROWS: Final = 40
"""Chips a contact sheet can hold; more are for the page."""

_CELL: Final = 1.75
"""Shorter side of a picture in inches: beside it there must be room for a chip's name and numbers."""

_MAX_LENGTH: Final = 4.0
"""Most times a picture's cell is longer than that; in it a longer picture is drawn smaller."""

_SAMPLES: Final = 4
"""Samples that get a column."""

_LINE: Final = 0.2
_ENTRY: Final = 1.2
_INDENT: Final = 0.95
"""Height of a legend's line, width of an entry and of the legend's name, in inches."""

_NAME_LETTERS: Final = 20
"""Letters of a chip's name that fit beside its row."""

_DPI: Final = 120
_INK: Final = "#22282c"
_QUIET: Final = "#626b70"


def write_sheet(path: Path, survey: StoreInspector, views: Sequence[ChipView], timestep: int) -> None:
    """Writes a contact sheet as PNG.

    Args:
        path: File to write.
        survey: The store.
        views: The chips, at most `MAX_ROWS`.
        timestep: The timestep they show, for the heading.

    Raises:
        OutputError: If the file cannot be written.
    """
    figure = draw_sheet(survey, views, timestep)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white")
    atomic_write(path, [buffer.getvalue()])


def draw_sheet(survey: StoreInspector, views: Sequence[ChipView], timestep: int) -> Figure:
    """Draws a contact sheet; columns that no chip has are left out."""
    rows = [_pictures(view, survey) for view in views]
    columns = [name for name in _column_names(survey) if any(name in row for row in rows)]
    legends = _legends(survey, views)
    cell = _cell(survey.store.extent.shape)
    figure = _empty_sheet((len(rows) * cell[0], len(columns) * cell[1]), legends)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, view, row in zip(axes, views, rows, strict=True):
        for place, name in zip(line, columns, strict=True):
            _show(place, row.get(name))
        _describe(line[0], view)
    for place, name in zip(axes[0], columns, strict=True):
        place.set_title(name, fontsize=8.5, color=_INK, pad=5)
    _head(figure, survey, timestep)
    _draw_legends(figure, legends)
    return figure


def _cell(shape: tuple[int, int]) -> tuple[float, float]:
    """Height and width in inches of a picture's cell."""
    height, width = (_CELL * min(side / min(shape), _MAX_LENGTH) for side in shape)
    return height, width


def _empty_sheet(pictures: tuple[float, float], legends: Legends) -> Figure:
    """A figure with room for the pictures, the names to their left, the heading above, the legends below.

    Args:
        pictures: Height and width in inches of all pictures together.
        legends: The legends.
    """
    from matplotlib.figure import Figure

    width = pictures[1] + 1.9
    foot = sum(_lines(classes, width) * _LINE + 0.12 for classes in legends.values()) + 0.2
    height = pictures[0] + 0.75 + foot
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=1.75 / width,
        right=1 - 0.15 / width,
        top=1 - 0.75 / height,
        bottom=foot / height,
        wspace=0.04,
        hspace=0.04,
    )
    return figure


def _column_names(survey: StoreInspector) -> list[str]:
    samples = range(min(survey.store.spec.sampling.samples, _SAMPLES))
    maps = [_map_name(survey, sample) for sample in samples]
    return ["RGB", "radar VV, VH", "relief", *maps, "token probability", "confidence", "reference"]


def _map_name(survey: StoreInspector, sample: int) -> str:
    several = survey.store.spec.sampling.samples > 1
    return f"{survey.store.spec.modality}, sample {sample}" if several else survey.store.spec.modality


def _pictures(view: ChipView, survey: StoreInspector) -> dict[str, NDArray[np.uint8]]:
    found = {"RGB": view.rgb, "radar VV, VH": view.radar, "relief": view.relief}
    pictures = {name: picture for name, picture in found.items() if picture is not None}
    for sample, picture in enumerate(view.maps[:_SAMPLES]):
        pictures[_map_name(survey, sample)] = picture.pixels()
    pictures["token probability"] = colour_confidence(view.token_probability[0])
    if view.confidence is not None:
        pictures["confidence"] = colour_confidence(view.confidence[0])
    if view.reference is not None:
        pictures["reference"] = view.reference.picture.pixels()
    return pictures


def _show(place: Axes, picture: NDArray[np.uint8] | None) -> None:
    place.set_xticks([])
    place.set_yticks([])
    for edge in place.spines.values():
        edge.set_visible(False)
    if picture is None:
        place.text(
            0.5, 0.5, "none", ha="center", va="center", fontsize=7, color=_QUIET, transform=place.transAxes
        )
    else:
        place.imshow(picture, interpolation="nearest")


def _describe(place: Axes, view: ChipView) -> None:
    """Writes a chip's name and numbers to the left of its row, and a scale bar below them."""
    facts = view.statistics
    known = [(key, facts.measures[key]) for key in MEASURES if np.isfinite(facts.measures[key])]
    lines = [f"{facts.split} " if facts.split else "", *(f"{key} {value:.2f}" for key, value in known)]
    lines += [f"! {flag}" for flag in facts.flags]
    at: dict[str, Any] = {"transform": place.transAxes, "ha": "right", "va": "top"}
    name = textwrap.wrap(facts.chip_id, _NAME_LETTERS)
    shape = view.maps[0].codes.shape
    # distances are parts of the shorter side
    down, aside = (_CELL / side for side in _cell((shape[0], shape[1])))
    right, below = -0.06 * aside, 1 - (0.13 + 0.085 * (len(name) - 1)) * down
    place.text(right, 1 - 0.01 * down, "\n".join(name), fontsize=8, fontweight="bold", color=_INK, **at)
    place.text(right, below, "\n".join(filter(None, lines)), fontsize=7, color=_QUIET, linespacing=1.35, **at)
    metres = pixel_metres(view.georeference)
    if metres is not None:
        _scale_bar(place, shape[1] * metres, (down, aside))


def _scale_bar(place: Axes, across: float, parts: tuple[float, float]) -> None:
    """Draws a round length, of about a third of a square's side, beside a chip `across` metres wide.

    Args:
        place: The chip's first picture.
        across: Width of the chip.
        parts: `_CELL` as a part of the picture's height and width.
    """
    down, aside = parts
    length = max(step for step in _round_lengths(across) if step <= max(across * aside / 3, 1))
    right = -0.06 * aside
    ends, low = [right - length / across, right], 0.06 * down
    place.plot(ends, [low, low], color=_INK, lw=1.6, transform=place.transAxes, clip_on=False)
    words = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    at: dict[str, Any] = {"transform": place.transAxes, "ha": "right", "va": "bottom"}
    place.text(right, 0.09 * down, words, fontsize=7, color=_INK, **at)


def _round_lengths(across: float) -> Iterable[float]:
    return (step * 10.0**power for power in range(len(str(int(across))) + 1) for step in (1, 2, 5))


def _head(figure: Figure, survey: StoreInspector, timestep: int) -> None:
    width, height = figure.get_size_inches()
    store = survey.store
    figure.text(
        0.2 / width, 1 - 0.14 / height, store.path.name, fontsize=11, fontweight="bold", color=_INK, va="top"
    )
    when = f", timestep {timestep} of 0 to {store.extent.timesteps - 1}" if store.extent.timesteps > 1 else ""
    facts = f"{survey.title}{when}; {survey.progress}; {store.fingerprint[:12]}"
    figure.text(0.2 / width, 1 - 0.36 / height, facts, fontsize=7.5, color=_QUIET, va="top")


def _legends(survey: StoreInspector, views: Sequence[ChipView]) -> Legends:
    """The map's legend if it has the legend's colours, and the reference's if that differs."""
    kind = survey.kind
    own = {"map": kind.legend} if kind.drawn_by_legend else {}
    references = [view.reference.picture.classes for view in views if view.reference is not None]
    other = {"reference": references[0]} if references and references[0] != kind.legend else {}
    return {**own, **other}


def _lines(classes: Sequence[LegendClass], width: float) -> int:
    return -(-len(classes) // _per_line(width))


def _per_line(width: float) -> int:
    return max(1, int((width - _INDENT) / _ENTRY))


def _draw_legends(figure: Figure, legends: Legends) -> None:
    width, height = figure.get_size_inches()
    top = sum(_lines(classes, width) * _LINE + 0.12 for classes in legends.values())
    for name, classes in legends.items():
        figure.text(0.2 / width, top / height, name, fontsize=7.5, color=_QUIET, va="center")
        for index, entry in enumerate(classes):
            line, column = divmod(index, _per_line(width))
            left, middle = (_INDENT + column * _ENTRY) / width, (top - line * _LINE) / height
            figure.text(
                left,
                middle,
                "  ",
                fontsize=5,
                va="center",
                bbox={"facecolor": entry.hex, "edgecolor": _QUIET, "linewidth": 0.4, "pad": 1.5},
            )
            figure.text(left + 0.14 / width, middle, entry.name, fontsize=7, color=_INK, va="center")
        top -= _lines(classes, width) * _LINE + 0.12
