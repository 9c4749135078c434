"""Windows put together, row by row of windows: only the strip of the scene that a row touches is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from generate.model.windows import WindowGrid

CPU = torch.device("cpu")


class RollingRows:
    """Rows of a scene from the top of a row of windows on; finished ones are taken off, and empty ones follow.

    Args:
        grid: The windows.
        leading: Axes before rows and columns.
        dtype: Type of the values.
    """

    def __init__(self, grid: WindowGrid, leading: tuple[int, ...], dtype: Any) -> None:
        self._grid = grid
        self._values: NDArray[Any] = np.zeros((*leading, grid.rows.window, grid.columns.length), dtype)
        self._taken = 0

    def window(self, column: int) -> NDArray[Any]:
        """Return the part ``[…, h, w]`` that a window of the present row covers, to be changed in place."""
        self._move()
        left = self._grid.columns.starts[column]
        return self._values[..., left : left + self._grid.columns.window]

    def take(self, rows: int) -> NDArray[Any]:
        """Take off the first rows; return them ``[…, rows, W]`` as a view that is lost with the next window."""
        self._move()
        self._taken = rows
        return self._values[..., :rows, :]

    def _move(self) -> None:
        """Move on by the rows that were taken, which are no copy, as a scene's rows take most of the memory."""
        if not self._taken:
            return
        width = self._grid.columns.length
        # [leading, h, W] → leading × [h·W]: NumPy moves values along one axis without a copy
        for values in self._values.reshape(-1, self._values.shape[-2] * width):
            values[: -self._taken * width] = values[self._taken * width :]
            values[-self._taken * width :] = 0
        self._taken = 0


def finished_rows(grid: WindowGrid, row: int) -> range:
    """Return the rows of the scene that a row of windows completes: those that no later one covers."""
    starts = grid.rows.starts
    return range(starts[row], starts[row + 1] if row + 1 < len(starts) else grid.rows.length)


class Strip:
    """The strip of a scene under the present row of windows.

    Args:
        grid: The windows.
        channels: Values blended of each pixel, members × classes.
        picked: Values taken from one window of each pixel, of the generated map; 0 for none.
        dtype: Type of the latter.
    """

    def __init__(self, grid: WindowGrid, channels: int, picked: int = 0, dtype: Any = np.uint8) -> None:
        self._grid = grid
        self._blended = RollingRows(grid, (channels,), np.float64)
        self._weight = RollingRows(grid, (), np.float64)
        self._observed = RollingRows(grid, (), np.bool_)
        self._picked = RollingRows(grid, (picked,), dtype)
        # nothing where no generated map is a layer
        self._largest = RollingRows(grid, (min(picked, 1),), np.float64)

    def add(
        self,
        window: tuple[int, int],
        probabilities: NDArray[np.float64],
        unobserved: NDArray[np.bool_],
        generated: NDArray[Any] | None = None,
    ) -> None:
        """Add a window.

        Args:
            window: Its row and column; rows come in order.
            probabilities: ``[channels, h, w]``.
            unobserved: Pixels ``[h, w]`` that the map leaves out.
            generated: Generated map ``[picked, h, w]``.
        """
        column = window[1]
        weight: NDArray[np.float64] = self._grid.weight(window, CPU).numpy()
        # in the order of the windows, so that the sums have the same bits in every run
        self._blended.window(column)[...] += probabilities * weight
        self._weight.window(column)[...] += weight
        self._observed.window(column)[...] = ~unobserved
        if generated is not None:
            # of the window in whose middle a pixel lies, as classes cannot be blended
            [largest], picked = self._largest.window(column), self._picked.window(column)
            nearer = weight > largest
            picked[:, nearer] = generated[:, nearer]
            largest[nearer] = weight[nearer]

    def take(self, row: int) -> BlendedRows:
        """Take off the rows that a row of windows completes; they are lost with the next window."""
        rows = finished_rows(self._grid, row)
        weight = self._weight.take(len(rows))
        blended = self._blended.take(len(rows))
        covered = weight > 0
        # 1 but for rounding where all windows are there, exactly 1 where there is one, less where some were left out
        np.divide(blended, weight, out=blended, where=covered)
        self._largest.take(len(rows))
        observed = self._observed.take(len(rows)) & covered
        return BlendedRows(blended, observed, self._picked.take(len(rows)))


class BlendedRows:
    """Finished rows of a scene.

    Args:
        probabilities: ``[channels, rows, W]``.
        observed: Pixels ``[rows, W]`` that the map has.
        generated: Generated map ``[picked, rows, W]``.
    """

    def __init__(
        self, probabilities: NDArray[np.float64], observed: NDArray[np.bool_], generated: NDArray[Any]
    ) -> None:
        self.probabilities = probabilities
        self.observed = observed
        self.generated = generated

    def pieces(self, width: int) -> Iterator[BlendedRows]:
        """Yield the rows in pieces of some columns."""
        for left in range(0, self.observed.shape[-1], width):
            part = (..., slice(left, left + width))
            yield BlendedRows(self.probabilities[part], self.observed[part], self.generated[part])
