"""Draw the picture of a scene's map for the documents: `python -m tools.scene_picture DEMO_RUN`.

A scene of the demo's world, 1,024 px on each side, that no split has is mapped with the demo's run on generated maps.
DEMO_RUN is the folder that `python -m demo --out DEMO_RUN` made.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import rasterio
from matplotlib.figure import Figure
from numpy.typing import NDArray

from augment_store.modalities.rendering import draw_rgb
from augment_store.testing import write_tif
from demo.world.scenes import CHIP_SIDE, MAX_SIDE_PIXELS, Raster, draw_scene
from predict import predict
from tools.readme_picture import Panel, show_panel

OUT: Final = Path("docs/images/scene_map.webp")
SCENE: Final = 90_000
"""Number of a scene that no run of the demo has seen."""

LAYERS: Final = ("class", "entropy", "generated")


def write_scene(raster: Raster, folder: Path) -> dict[str, str]:
    """Write a scene's rasters, all bands of the first date first; return their files by modality."""
    made: dict[str, NDArray[Any]] = {
        "S2L2A": raster.s2l2a,
        "S1RTC": raster.s1rtc.astype(np.float32),
        "DEM": raster.dem,
    }
    files = {name: folder / f"{raster.name}_{name}.tif" for name in made}
    for name, values in made.items():
        write_tif(files[name], values.reshape(-1, *values.shape[-2:]), raster.west, raster.north)
    return {name: str(file) for name, file in files.items()}


def panels(s2l2a: NDArray[np.int16], out: Path) -> list[Panel]:
    """Draw a scene's first date and the files of its map.

    Args:
        s2l2a: Sentinel-2 of the first date, ``[C, y, x]``.
        out: The map; other layers lie beside it.
    """
    entropy = out.with_name(f"{out.stem}_entropy.tif")
    with rasterio.open(entropy) as source:
        # light where it is undecided
        undecided = mpl.colormaps["magma"](source.read(1), bytes=True)[..., :3]
    generated = out.with_name(f"{out.stem}_generated.tif")
    return [
        Panel("natural colors", draw_rgb(s2l2a.astype(float))),
        Panel(out.name, _in_own_colors(out)),
        Panel(entropy.name, undecided),
        Panel(f"{generated.name}, first date", _in_own_colors(generated)),
    ]


def _in_own_colors(path: Path) -> NDArray[np.uint8]:
    """Return the first band of a map of classes ``[y, x, 3]`` in the colors that the file has."""
    with rasterio.open(path) as source:
        colors: Mapping[int, Sequence[int]] = source.colormap(1)
        codes: NDArray[Any] = source.read(1)
    table = np.array([colors[code][:3] for code in range(256)], np.uint8)
    painted: NDArray[np.uint8] = table[codes]
    return painted


def draw(shown: Sequence[Panel]) -> Figure:
    """Draw panels in a row."""
    figure = Figure(figsize=(12.0, 3.3), facecolor="white", layout="constrained")
    for ax, panel in zip(figure.subplots(1, len(shown)), shown, strict=True):
        show_panel(ax, panel)
    return figure


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.scene_picture", description=__doc__)
    parser.add_argument("run", type=Path, metavar="DEMO_RUN", help="folder that `python -m demo` made")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="WEBP", help=f"file to write (default: {OUT})"
    )
    parsed = parser.parse_args(arguments)
    chips = MAX_SIDE_PIXELS // CHIP_SIDE
    raster = draw_scene(SCENE, rows=chips, columns=chips, timesteps=2)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "map.tif"
        predict(parsed.run / "runs" / "tim_lulc", out, scene=write_scene(raster, Path(folder)), layers=LAYERS)
        figure = draw(panels(raster.s2l2a[0], out))
    figure.savefig(parsed.out, dpi=110, pil_kwargs={"quality": 80})
    sys.stdout.write(f"{parsed.out}: {parsed.out.stat().st_size // 1000} kB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
