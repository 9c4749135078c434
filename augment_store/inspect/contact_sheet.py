"""The contact sheet: a row per chip, a column per picture."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from numpy.typing import NDArray

from augment_store.chips.georeference import pixel_metres
from augment_store.inspect.statistics import MEASURES
from augment_store.inspect.store_inspector import StoreInspector
from augment_store.inspect.views import ChipView
from augment_store.io.files import atomic_write
from augment_store.modalities.definitions import LegendClass
from augment_store.modalities.pictures import color_confidence

MAX_ROWS: Final = 40
"""Chips a contact sheet can hold; more are for the page."""

_CELL: Final = 1.75
"""Shorter side of a picture in inches: beside it there must be room for a chip's name and numbers."""

_MAX_LENGTH: Final = 4.0
"""Most times a picture's cell is longer than that; in it a longer picture is drawn smaller."""

_MARGINS: Final = (1.9, 1.7)
"""Width and height in inches of all that is no picture: names at the left, heading and legends."""

_MAX_SAMPLES: Final = 4
"""Samples that get a column."""

_NAME_LETTERS: Final = 20
"""Letters of a chip's name that fit beside its row."""

_LEGEND_COLUMNS: Final = 4
_DPI: Final = 120
_NOTEBOOK_DPI: Final = 72
_INK: Final = "#22282c"
_QUIET: Final = "#626b70"
STYLE: Final[Any] = {
    "text.parse_math": False,  # a dollar sign in an id or class name is no formula
    "text.color": _INK,
    "font.size": 7,
    "legend.frameon": False,
}
"""Settings of Matplotlib under which a sheet is drawn."""


class SheetFigure(Figure):
    """A figure that shows itself in a notebook, whether or not Matplotlib draws inline there."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with mpl.rc_context(STYLE):
            self.savefig(buffer, format="png", dpi=_NOTEBOOK_DPI, facecolor="white")
        return buffer.getvalue()


def write_sheet(path: Path, inspector: StoreInspector, views: Sequence[ChipView], timestep: int) -> None:
    """Write a contact sheet as PNG.

    Args:
        path: File to write.
        inspector: The store.
        views: The chips, at most `MAX_ROWS`.
        timestep: The timestep they show, for the heading.

    Raises:
        OutputError: If the file cannot be written.
    """
    # drawn in memory, so that the file is then written whole or not at all
    buffer = io.BytesIO()
    # saved within the context too, since text is laid out only then
    with mpl.rc_context(STYLE):
        draw_sheet(inspector, views, timestep).savefig(buffer, format="png", dpi=_DPI, facecolor="white")
    atomic_write(path, [buffer.getvalue()])


def draw_sheet(inspector: StoreInspector, views: Sequence[ChipView], timestep: int) -> Figure:
    """Draw a contact sheet; columns that no chip has are left out."""
    rows = [_sheet_pictures(view, inspector) for view in views]
    # a chip may lack an input that others have; a column stays if any has it
    columns = [name for name in _column_names(inspector) if any(name in row for row in rows)]
    shape = inspector.store.extent.shape
    height, width = (_CELL * min(side / min(shape), _MAX_LENGTH) for side in shape)
    size = (len(columns) * width + _MARGINS[0], len(rows) * height + _MARGINS[1])
    figure = SheetFigure(
        figsize=size, layout="compressed"
    )  # close together, though pictures keep their shape
    # squeeze=False: [row, column] for a single chip too
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, view, row in zip(axes, views, rows, strict=True):
        for ax, name in zip(line, columns, strict=True):
            _show_picture(ax, row.get(name))
        _describe(line[0], view)
    for ax, name in zip(axes[0], columns, strict=True):
        ax.set_title(name, fontsize=8.5)
    figure.suptitle(_sheet_heading(inspector, timestep), x=0.01, ha="left", fontsize=8.5)
    _draw_legends(figure, inspector, views)
    return figure


def _column_names(inspector: StoreInspector) -> list[str]:
    samples = range(min(inspector.store.spec.sampling.samples, _MAX_SAMPLES))
    maps = [_map_name(inspector, sample) for sample in samples]
    return ["RGB", "radar VV, VH", "relief", *maps, "token probability", "confidence", "reference"]


def _map_name(inspector: StoreInspector, sample: int) -> str:
    spec = inspector.store.spec
    return f"{spec.modality}, sample {sample}" if spec.sampling.samples > 1 else spec.modality


def _sheet_pictures(view: ChipView, inspector: StoreInspector) -> dict[str, NDArray[np.uint8]]:
    found = {"RGB": view.rgb, "radar VV, VH": view.radar, "relief": view.relief}
    pictures = {name: picture for name, picture in found.items() if picture is not None}
    for sample, picture in enumerate(view.maps[:_MAX_SAMPLES]):
        pictures[_map_name(inspector, sample)] = picture.pixels()
    # [sample, y, x] → [y, x]: of sample 0, whose map is in the first column of maps
    pictures["token probability"] = color_confidence(view.token_probability[0])
    if view.confidence is not None:
        pictures["confidence"] = color_confidence(view.confidence[0])
    if view.reference is not None:
        pictures["reference"] = view.reference.picture.pixels()
    return pictures


def _show_picture(ax: Axes, picture: NDArray[np.uint8] | None) -> None:
    ax.set_axis_off()
    if picture is None:
        ax.text(0.5, 0.5, "none", ha="center", va="center", color=_QUIET, transform=ax.transAxes)
    else:
        # smoothing would show colors that belong to no class
        ax.imshow(picture, interpolation="nearest")


def _describe(ax: Axes, view: ChipView) -> None:
    """Write a chip's name and numbers to the left of its row, and draw a scale bar into its first picture."""
    facts = view.statistics
    # a measure that does not apply is NaN, and gets no line
    known = [(key, facts.measures[key]) for key in MEASURES if np.isfinite(facts.measures[key])]
    name = textwrap.wrap(facts.chip_id, _NAME_LETTERS)
    lines = [*filter(None, [facts.split]), *(f"{key} {value:.2f}" for key, value in known)]
    lines += [f"! {flag}" for flag in facts.flags]
    at: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "ha": "right",
        "va": "top",
    }
    ax.annotate("\n".join(name), (0, 1), (-6, 0), fontsize=8, fontweight="bold", **at)
    below = -11 * len(name) - 3  # points that the lines of the name take
    ax.annotate("\n".join(lines), (0, 1), (-6, below), color=_QUIET, linespacing=1.35, **at)
    metres = pixel_metres(view.georeference)
    if metres is not None:
        height, width = view.maps[0].codes.shape
        # in pixels of the picture, which are the units of its axes
        length = _round_length(min(height, width) * metres / 3)
        label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
        bar = AnchoredSizeBar(ax.transData, length / metres, label, "lower left", pad=0.2, sep=2)
        bar.patch.set(alpha=0.7, linewidth=0)
        ax.add_artist(bar)


def _round_length(most: float) -> float:
    """Return the longest of 1, 2, 5, 10, 20 … m that is at most `most`, at least 1 m."""
    # as many powers of ten as `most` has digits: the next one is larger than it
    steps = (step * 10.0**power for power in range(len(str(int(most)))) for step in (1, 2, 5))
    return max((step for step in steps if step <= most), default=1.0)


def _sheet_heading(inspector: StoreInspector, timestep: int) -> str:
    store = inspector.store
    when = f", timestep {timestep} of 0 to {store.extent.timesteps - 1}" if store.extent.timesteps > 1 else ""
    return f"{store.path.name}\n{inspector.title}{when}; {inspector.progress}; {store.fingerprint[:12]}"


def _draw_legends(figure: Figure, inspector: StoreInspector, views: Sequence[ChipView]) -> None:
    """Draw the map's legend if it has the legend's colors, and the reference's if that differs."""
    kind = inspector.kind
    references = [view.reference.picture.classes for view in views if view.reference is not None]
    if kind.drawn_by_legend:
        _draw_legend(figure, "map", kind.legend, "outside lower left")
    if references and references[0] != kind.legend:
        _draw_legend(figure, "reference", references[0], "outside lower right")


def _draw_legend(
    figure: Figure,
    title: str,
    classes: Sequence[LegendClass],
    where: Literal["outside lower left", "outside lower right"],
) -> None:
    patches = [Patch(facecolor=entry.hex, edgecolor=_QUIET, lw=0.4, label=entry.name) for entry in classes]
    figure.legend(
        handles=patches, loc=where, ncols=_LEGEND_COLUMNS, title=title, alignment="left", handlelength=1
    )
