"""Distinct colors for the classes of any legend, chosen by name where the name says one, and never twice.

Distances are those of CIELAB (CIE 1976), the smallest over three readers: normal color vision, protanopia and
deuteranopia, the latter two as simulated by Machado, Oliveira and Fernandes (2009) at full severity.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]

NAMED: Final[tuple[tuple[str, Rgb], ...]] = (
    # the first entry that matches counts, so the more specific stand first
    (r"cloud shadow|shadow", (70, 70, 90)),
    (r"cloud|haze", (190, 200, 210)),
    (r"snow|ice|glacier", (215, 240, 255)),
    (r"burn|fire|scar", (150, 30, 20)),
    (r"mangrove|marsh|bog|peat|wetland|swamp|flooded veg|moor", (70, 150, 160)),
    (r"^(no|not|non|other|background|unknown|void|unlabel)|background|void|unlabel", (130, 130, 130)),
    (r"flood|inundat", (30, 100, 230)),
    (r"water|sea|ocean|lake|river|lagoon|estuar|intertidal", (49, 113, 173)),
    (r"urban|built|developed|building|city|residen|industr|commerc|road|rail|airport|port area|impervious",
     (220, 50, 75)),
    (r"bare|barren|sand|rock|beach|dune|desert|soil|mineral|quarry|dump", (180, 160, 130)),
    (r"shrub|scrub|heath|sclerophyll|bush", (170, 145, 50)),
    (r"grass|pasture|meadow|herb|rangeland|lichen|moss", (120, 185, 75)),
    (r"vineyard|fruit|orchard|olive|grove|berry|grape", (140, 60, 130)),
    (r"tree|forest|wood|timber|coniferous|broad-?lea|deciduous|evergreen", (0, 75, 45)),
    (r"crop|agri|arable|wheat|corn|maize|barley|rape|beet|sunflower|potato|soy|rice|sorghum|triticale|field|legum",
     (255, 235, 150)),
    (r"land|ground", (210, 170, 95)),
)  # fmt: skip
"""Patterns of class names, in lower case, and the color that maps usually give such a class."""

APART: Final = (18, 16, 14, 12, 10, 8, 6, 4, 2)
"""Smallest distances that are tried, the largest first; a larger one would move classes from their usual colors."""

_PROTAN: Final = (
    (0.152286, 1.052583, -0.204868),
    (0.114503, 0.786281, 0.099216),
    (-0.003882, -0.048116, 1.051998),
)
_DEUTAN: Final = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.011820, 0.042940, 0.968881),
)
READERS: Final = (np.eye(3), np.array(_PROTAN), np.array(_DEUTAN))
"""From linear red, green and blue to what a reader sees."""

# steps of 32, so 729 colors to choose from
_LEVELS: Final = (0, 32, 64, 96, 128, 160, 192, 224, 255)


def lab(colors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert sRGB colors ``[n, 3]`` in 0..255 to CIELAB (D65) as each reader sees them, ``[reader, n, 3]``."""
    share = np.asarray(colors, float) / 255
    # sRGB's transfer function, IEC 61966-2-1
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    # [n, 3] → [reader, n, 3]; a simulated color may leave the gamut
    seen = np.clip(np.stack([linear @ reader.T for reader in READERS]), 0, 1)
    # linear sRGB to XYZ, from the same standard; below, D65's white as its divisor
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = seen @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    # CIELAB's cube root, with its straight line near black
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def distances(one: Sequence[Rgb], other: Sequence[Rgb]) -> NDArray[np.float64]:
    """Return the distances ``[n, m]`` between colors, the smallest over all readers."""
    ours, theirs = (lab(np.array(colors, float).reshape(-1, 3)) for colors in (one, other))
    # [reader, n, 1, 3] − [reader, 1, m, 3] → [reader, n, m] → [n, m]
    apart: NDArray[np.float64] = np.linalg.norm(ours[:, :, None] - theirs[:, None], axis=-1).min(axis=0)
    return apart


def class_colors(names: Sequence[str]) -> tuple[Rgb, ...]:
    """Choose a color for each class: the usual one for its name, or one near it, never too near another class'.

    Args:
        names: Names of the classes, in order; the same list always gives the same colors.
    """
    wanted = [_usual(name) for name in names]
    for apart in APART:
        # the largest distance at which every class finds a color
        if (found := _spread_colors(wanted, apart)) is not None:
            return found
    pool, _ = _color_pool()
    return tuple(pool[label % len(pool)] for label in range(len(names)))  # hundreds of classes: no reader can


def _usual(name: str) -> Rgb | None:
    text = name.lower().replace("_", " ").strip()
    return next((rgb for pattern, rgb in NAMED if re.search(pattern, text)), None)


def _like(usual: Rgb, colors: Sequence[Rgb]) -> NDArray[np.float64]:
    """Return the distances of colors from a usual one in normal vision, where green must stay green."""
    # [0] is the reader with normal vision
    ours, theirs = lab(np.array([usual], float))[0], lab(np.array(colors, float))[0]
    apart: NDArray[np.float64] = np.linalg.norm(theirs - ours, axis=-1)
    return apart


@functools.cache
def _color_pool() -> tuple[tuple[Rgb, ...], NDArray[np.float64]]:
    """Return colors that are neither nearly white nor nearly black, with their distances from one another."""
    every = [(red, green, blue) for red in _LEVELS for green in _LEVELS for blue in _LEVELS]
    # L* of each color in normal vision
    lightness = lab(np.array(every, float))[0, :, 0]
    kept = tuple(rgb for rgb, light in zip(every, lightness, strict=True) if 20 <= light <= 93)
    return kept, distances(kept, kept)


def _spread_colors(wanted: Sequence[Rgb | None], apart: float) -> tuple[Rgb, ...] | None:
    """Give every class a color at least this far from all others, or None if there is no such color left."""
    pool, between = _color_pool()
    taken: dict[int, Rgb] = {}
    # usual colors first: an unnamed class must not take the blue of a later water
    for label, rgb in enumerate(wanted):
        if rgb is not None and (not taken or distances([rgb], list(taken.values())).min() >= apart):
            taken[label] = rgb
    # for each color of the pool, how far the nearest taken one is
    nearest = distances(pool, list(taken.values())).min(axis=1) if taken else np.full(len(pool), np.inf)
    for label in (label for label in range(len(wanted)) if label not in taken):
        usual = wanted[label]
        free = np.flatnonzero(nearest >= apart)
        if not free.size:
            return None
        # beside its usual color if that is taken, else as far from all others as can be
        cost = -nearest[free] if usual is None else _like(usual, [pool[index] for index in free])
        chosen = int(free[np.argmin(cost)])
        taken[label] = pool[chosen]
        nearest = np.minimum(nearest, between[chosen])
    return tuple(taken[label] for label in range(len(wanted)))
