"""Draw the README's first picture, one chip on its way through the pipeline: `python -m tools.readme_picture DEMO_RUN`.

DEMO_RUN is the folder that `python -m demo --out DEMO_RUN` made.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from augment_store import AugmentStore, ChipSet, LegendTable
from augment_store.modalities.definitions import IGNORED_LABEL, LULC_LEGEND, S2L2A, LegendClass
from augment_store.modalities.rendering import draw_hillshade, draw_radar, draw_rgb, palette

OUT: Final = Path("docs/images/pipeline.png")
ARMS: Final = {"baseline": "fine-tune\nwithout maps", "tim_lulc": "fine-tune\nwith maps"}
"""Runs of the demo, and what the picture calls them."""

BLUE: Final = S2L2A.bands.index("BLUE")
BRIGHT: Final = 2000
"""Reflectance × 10⁴ in blue that little but cloud has."""

WIDTH, HEIGHT, BOTTOM = 12.0, 2.35, 0.5
"""Size of the figure, and height of the line below the panels, in inches."""

INK: Final = "#22282c"
ACCENT: Final = "#2a7f8f"


@dataclass(frozen=True)
class Panel:
    """One picture of the row.

    Attributes:
        title: What it shows.
        pixels: ``[y, x, 3]`` uint8.
        arrow: Stage whose arrow leads to it; empty where it stands beside the one before.
    """

    title: str
    pixels: NDArray[np.uint8]
    arrow: str = ""


def choose_chip(chips: ChipSet) -> str:
    """Return the test chip with the most classes in its mask; of several, the one with the least cloud."""

    def rank(chip_id: str) -> tuple[int, float]:
        classes = np.setdiff1d(chips.mask(chip_id), [IGNORED_LABEL])
        clouds = (chips.raster(chip_id, "S2L2A")[0, BLUE] > BRIGHT).mean()
        return len(classes), -float(clouds)

    return max(chips.splits["test"], key=rank)


def paint(labels: NDArray[Any], legend: Sequence[LegendClass]) -> NDArray[np.uint8]:
    """Return a map ``[y, x]`` in the colors of its legend; ignored pixels are grey."""
    codes = np.where(labels == IGNORED_LABEL, 255, labels).astype(np.uint8)
    return palette(legend)[codes]


def panels(run: Path, chip_id: str, chips: ChipSet) -> list[Panel]:
    """Read and draw what each stage of the demo made of a chip."""
    store = AugmentStore.open(run / "stores" / "lulc")
    table = LegendTable.load()  # the demo's world has the classes of New York
    s2, radar, dem = (chips.raster(chip_id, name)[0].astype(float) for name in ("S2L2A", "S1RTC", "DEM"))
    predictions = []
    for arm, title in ARMS.items():
        (path,) = (run / "runs" / arm).rglob(f"predictions/{chip_id}.tif")
        with rasterio.open(path) as file:
            predictions.append((title, file.read(1)))
    return [
        Panel("Sentinel-2", draw_rgb(s2)),
        Panel("Sentinel-1", draw_radar(radar)),
        Panel("elevation", draw_hillshade(dem)),
        Panel("land cover,\nin the store", paint(store.read(chip_id, "lulc")[0, 0], LULC_LEGEND), "generate"),
        *(
            Panel(title, paint(labels, table.classes), "" if number else "finetune")
            for number, (title, labels) in enumerate(predictions)
        ),
        Panel("reference", paint(chips.mask(chip_id), table.classes), "eval"),
    ]


def verdict(run: Path) -> str:
    """Return the headline of the demo's report."""
    first = (run / "report" / "report.md").read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("# ")


def draw(shown: Sequence[Panel], headline: str) -> Figure:
    """Draw the panels in a row, an arrow before each stage, and the verdict below."""
    widths = [1.45 if panel.arrow else 1.08 for panel in shown]
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    left, unit = 0.005, 0.99 / sum(widths)
    for panel, width in zip(shown, widths, strict=True):
        left += (width - 1.0) * unit
        ax = figure.add_axes((left, BOTTOM / HEIGHT, unit, unit * WIDTH / HEIGHT))
        show_panel(ax, panel)
        if panel.arrow:
            _arrow(figure, panel.arrow, left - 0.02 * unit, 0.42 * unit, unit * WIDTH / HEIGHT)
        left += unit
    words = textwrap.fill(f"The demo's verdict: {headline}", 130)
    figure.text(
        0.5, 0.45 * BOTTOM / HEIGHT, words, ha="center", va="center", fontsize=10, color=INK, weight="bold"
    )
    return figure


def show_panel(ax: Axes, panel: Panel) -> None:
    """Draw a panel without axes, its title above it."""
    ax.imshow(panel.pixels, interpolation="nearest")
    ax.set_title(panel.title, fontsize=9, color=INK, pad=4)
    ax.set_axis_off()


def _arrow(figure: Figure, stage: str, right: float, length: float, side: float) -> None:
    middle = BOTTOM / HEIGHT + side / 2
    ax = figure.add_axes((right - length, middle - 0.1, length, 0.2))
    ax.set_axis_off()
    arrow = {"arrowstyle": "-|>", "color": ACCENT, "lw": 2.2, "mutation_scale": 16}
    ax.annotate("", xy=(1.0, 0.4), xytext=(0.05, 0.4), xycoords="axes fraction", arrowprops=arrow)
    ax.text(0.5, 0.75, stage, ha="center", va="bottom", fontsize=8, color=ACCENT, weight="bold")


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.readme_picture", description=__doc__)
    parser.add_argument("run", type=Path, metavar="DEMO_RUN", help="folder that `python -m demo` made")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="PNG", help=f"file to write (default: {OUT})"
    )
    parser.add_argument("--chip", metavar="ID", help="which chip (default: the test chip with most classes)")
    parsed = parser.parse_args(arguments)
    chips = ChipSet.open(parsed.run / "chips")
    figure = draw(panels(parsed.run, parsed.chip or choose_chip(chips), chips), verdict(parsed.run))
    # not a palette of 128 colors: radar's noise would take them all, and classes change theirs
    figure.savefig(parsed.out, dpi=120, pil_kwargs={"optimize": True})
    sys.stdout.write(f"{parsed.out}: {parsed.out.stat().st_size // 1000} kB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
