"""Spatial random processes the procedural world is drawn from.

All functions are pure: what they return depends only on the generator passed in and the arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatGrid = NDArray[np.float32]
IntGrid = NDArray[np.int32]

NEIGHBOURS: Final = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


@dataclass(frozen=True)
class Cells:
    """A tessellation into roughly rectangular cells: fields, or the blocks of a town.

    Attributes:
        index: [H, W] number of the cell each pixel lies in, from 0.
        edge: [H, W] distance to the nearest cell border in pixels, approximately.
        count: How many cell numbers there are.
    """

    index: IntGrid
    edge: FloatGrid
    count: int

    def constant(self, rng: np.random.Generator) -> FloatGrid:
        """Draw standard normal noise [H, W] that is constant inside each cell."""
        return rng.standard_normal(self.count, dtype=np.float32)[self.index]


def standardised(field: FloatGrid) -> FloatGrid:
    """Shift and scale a field to mean 0 and standard deviation 1."""
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def _frequencies(shape: tuple[int, int]) -> FloatGrid:
    """Radial spatial frequency [H, W // 2 + 1] of `rfft2`, in cycles per pixel."""
    return np.asarray(
        np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]), dtype=np.float32
    )


def _filtered_noise(rng: np.random.Generator, transfer: FloatGrid, shape: tuple[int, int]) -> FloatGrid:
    # white noise filtered as a spectrum; the result wraps around at the borders
    spectrum = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32)) * transfer
    return standardised(np.asarray(np.fft.irfft2(spectrum, s=shape), dtype=np.float32))


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], length: float) -> FloatGrid:
    """Gaussian random field with Gaussian correlation.

    Args:
        rng: Source of randomness.
        shape: Height and width in pixels.
        length: Standard deviation of the smoothing kernel in pixels.

    Returns:
        Field [H, W] with mean 0 and standard deviation 1.
    """
    # the Fourier transform of a Gaussian kernel of that standard deviation
    transfer = np.exp(-2.0 * (np.pi * length * _frequencies(shape)) ** 2)
    return _filtered_noise(rng, np.asarray(transfer, dtype=np.float32), shape)


def fractal_field(rng: np.random.Generator, shape: tuple[int, int], slope: float) -> FloatGrid:
    """Gaussian random field with a power-law spectrum, as natural terrain and clouds have.

    Args:
        rng: Source of randomness.
        shape: Height and width in pixels.
        slope: Exponent of the amplitude spectrum; larger is smoother (terrain: about 2).

    Returns:
        Field [H, W] with mean 0 and standard deviation 1.
    """
    frequency = _frequencies(shape)
    # the field's mean: a negative power of infinity is 0, while that of 0 would be infinite
    frequency[0, 0] = np.inf
    return _filtered_noise(rng, frequency**-slope, shape)


def rotated_grid(shape: tuple[int, int], angle: float) -> tuple[FloatGrid, FloatGrid]:
    """Return coordinates (u, v) of every pixel in a frame turned by `angle` radians, in pixels from the centre."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y - np.float32(shape[0] / 2), x - np.float32(shape[1] / 2)
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    return x * cosine + y * sine, y * cosine - x * sine


def draw_cells(
    rng: np.random.Generator, shape: tuple[int, int], spacing: float, aspect: float = 1.0
) -> Cells:
    """Tessellate the plane around the points of a jittered, randomly turned grid (Chebyshev distance).

    Args:
        rng: Source of randomness.
        shape: Height and width in pixels.
        spacing: Mean side of a cell across, in pixels.
        aspect: Length of a cell divided by its width.

    Returns:
        The tessellation.
    """
    u, v = rotated_grid(shape, rng.uniform(0.0, np.pi))
    u, v = u / np.float32(spacing * aspect), v / np.float32(spacing)
    row, column = np.floor(v).astype(np.int32), np.floor(u).astype(np.int32)
    # a cell more on every side, since a pixel looks at its cell's neighbors too
    row0, column0 = int(row.min()) - 1, int(column.min()) - 1
    rows, columns = int(row.max()) - row0 + 2, int(column.max()) - column0 + 2
    # away from the cells' borders, so that no two points come close
    jitter = rng.uniform(0.25, 0.75, size=(2, rows * columns)).astype(np.float32)
    nearest = np.full(shape, np.inf, dtype=np.float32)
    second = nearest.copy()
    index = np.zeros(shape, dtype=np.int32)
    for dy, dx in NEIGHBOURS:
        number = (row + dy - row0) * columns + (column + dx - column0)
        distance = np.maximum(
            np.abs(v - row - dy - jitter[0][number]), aspect * np.abs(u - column - dx - jitter[1][number])
        )
        closer = distance < nearest
        # before `nearest` is replaced: what was nearest becomes second
        second = np.where(closer, nearest, np.minimum(second, distance))
        nearest = np.where(closer, distance, nearest)
        index = np.where(closer, number, index)
    # both distances are equal on a border, so half their difference is the way to it
    return Cells(index=index, edge=(second - nearest) * np.float32(spacing / 2), count=rows * columns)


def blur(stack: FloatGrid, side_weight: float) -> FloatGrid:
    """Three-tap separable blur of the last two axes, edges repeated.

    Args:
        stack: Values [..., H, W].
        side_weight: Weight of each of the two neighbours along an axis; the centre keeps the rest.

    Returns:
        Blurred values [..., H, W].
    """
    side, centre = np.float32(side_weight), np.float32(1.0 - 2.0 * side_weight)
    for axis in (-2, -1):
        moved = np.moveaxis(stack, axis, -1)
        result = centre * moved
        result[..., 1:] += side * moved[..., :-1]
        result[..., :-1] += side * moved[..., 1:]
        # the neighbor that a border pixel lacks is the pixel itself
        result[..., 0] += side * moved[..., 0]
        result[..., -1] += side * moved[..., -1]
        stack = np.moveaxis(result, -1, axis)
    return stack
