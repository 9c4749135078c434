"""How an image is laid out for the network: padded to a square or, where asked for, in overlapping square windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from augment_store.modalities.definitions import PATCH_SIZE, patches


@dataclass(frozen=True)
class WindowAxis:
    """One side of an image, and where windows begin along it.

    Attributes:
        length: Pixels of the image.
        window: Pixels that the network sees at a time.
        starts: First pixel of each window; a single one ends beyond the image by the padding, the last of several where
            the image does.
    """

    length: int
    window: int
    starts: tuple[int, ...]

    @classmethod
    def of(cls, length: int, window: int) -> Self:
        """One window where it is long enough, or else evenly spaced ones that overlap by half or more.

        Args:
            length: Pixels of the image.
            window: Pixels of a window.
        """
        if length <= window:
            # the image fits; `padding` says how far the window reaches beyond it
            return cls(length, window, (0,))
        beyond = length - window
        # rounded up, so that no step is longer than half a window
        steps = -(-beyond // (window // 2))
        # spread over whole pixels, the last window ending with the image
        return cls(length, window, tuple(step * beyond // steps for step in range(steps + 1)))

    @property
    def padding(self) -> int:
        """Return the pixels by which the last window ends beyond the image."""
        return self.starts[-1] + self.window - self.length


@lru_cache(maxsize=16)
def shares(side: WindowAxis, device: torch.device) -> Tensor:
    """Share of each window in each of its pixels, float64 ``[windows, window]``; the shares of a pixel add up to 1.

    A Hann window, sin²(π (i + ½) / n), over the sum of all windows: it fades where the network sees least around a
    pixel, and is exactly 1 where there is one window. Made on the CPU, so that every device blends with the same bits,
    and kept, since every batch of a run asks for the same.
    """
    # + ½: no pixel gets weight 0, so that no sum to divide by is 0
    middles = (torch.arange(side.window, dtype=torch.float64) + 0.5) / side.window
    ramp = (torch.pi * middles).sin().square()
    total = torch.zeros(side.length + side.padding, dtype=torch.float64)
    for start in side.starts:
        total[start : start + side.window] += ramp
    return torch.stack([ramp / total[start : start + side.window] for start in side.starts]).to(device)


@dataclass(frozen=True)
class WindowGrid:
    """The windows of images of one size, row by row."""

    rows: WindowAxis
    columns: WindowAxis

    @classmethod
    def of(cls, height: int, width: int, window: int | None, step: int = PATCH_SIZE) -> Self:
        """Squares, since TerraMind's embedding of tokens takes nothing else.

        Args:
            height: Rows of the image.
            width: Columns of the image.
            window: Side of a window, a multiple of `step`; None, or more than the image needs, for one around it all.
            step: What the network and its decoder need a side to be a multiple of.
        """
        # rounded up to a multiple of `step`
        whole = -(-max(height, width) // step) * step
        side = min(window or whole, whole)
        return cls(WindowAxis.of(height, side), WindowAxis.of(width, side))

    @classmethod
    def of_shape(cls, image: tuple[int, int], window: tuple[int, int]) -> Self:
        """Windows of any shape, for networks that take others than squares.

        Args:
            image: Rows and columns of the image.
            window: Rows and columns of a window.
        """
        return cls(WindowAxis.of(image[0], window[0]), WindowAxis.of(image[1], window[1]))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the number of each window along the rows and along the columns."""
        columns = range(len(self.columns.starts))
        return ((row, column) for row in range(len(self.rows.starts)) for column in columns)

    @property
    def several(self) -> bool:
        """Tell whether there is more than one window."""
        return len(self.rows.starts) * len(self.columns.starts) > 1

    @property
    def grid(self) -> tuple[int, int]:
        """Return the tokens of a window along y and x."""
        return self.rows.window // PATCH_SIZE, self.columns.window // PATCH_SIZE

    @property
    def padded_shape(self) -> tuple[int, int]:
        """Return the pixels along y and x that all windows together cover."""
        return self.rows.length + self.rows.padding, self.columns.length + self.columns.padding

    def padded(self, image: Tensor) -> Tensor:
        """Pad images ``[B, C, H, W]`` at the lower and right edge with its pixels, as far as the windows reach."""
        if not (self.rows.padding or self.columns.padding):
            return image
        # from the last axis on: left, right, top, bottom
        return functional.pad(image, (0, self.columns.padding, 0, self.rows.padding), mode="replicate")

    def tokens(self, tokens: Tensor) -> Tensor:
        """Drop the values ``[..., ty, tx]`` of tokens that stand for nothing but padding."""
        # windows overlap, so that no token is one patch's alone; the store keeps none of them
        if self.several:
            return tokens
        return tokens[..., : patches(self.rows.length), : patches(self.columns.length)]

    def cut(self, padded: Tensor, window: tuple[int, int]) -> Tensor:
        """Cut one window out of ``[..., padded y, padded x]``."""
        top, left = self.rows.starts[window[0]], self.columns.starts[window[1]]
        return padded[..., top : top + self.rows.window, left : left + self.columns.window]

    def weight(self, window: tuple[int, int], device: torch.device) -> Tensor:
        """Share of a window in each of its pixels, float64 ``[window y, window x]``."""
        rows, columns = shares(self.rows, device)[window[0]], shares(self.columns, device)[window[1]]
        # [window y, 1] × [window x]
        return rows[:, None] * columns


class WindowBlender:
    """The weighted mean of what was made of an image's windows, window by window.

    Args:
        windows: The windows.
    """

    def __init__(self, windows: WindowGrid) -> None:
        self._windows = windows
        self._made = torch.empty(0)

    def add(self, window: tuple[int, int], values: Tensor) -> None:
        """Add the result of one window, ``[..., window y, window x]``; windows come in their order."""
        # the weight of a single window is 1
        if not self._windows.several:
            self._made = values
            return
        # made here, where the number of channels and the type are known
        if window == (0, 0):
            self._made = values.new_zeros((*values.shape[:-2], *self._windows.padded_shape))
        # float64 shares, in the type of the values
        weight = self._windows.weight(window, values.device).to(values)
        self._windows.cut(self._made, window).add_(values * weight)

    def add_patches(self, window: tuple[int, int], values: Tensor) -> None:
        """Add values ``[..., ty, tx]`` that stand for the patches of one window."""
        if self._windows.several:
            # to pixels, since windows need not begin where a patch does
            values = values.repeat_interleave(PATCH_SIZE, dim=-2).repeat_interleave(PATCH_SIZE, dim=-1)
        self.add(window, values)

    def image(self) -> Tensor:
        """Return the blended image ``[..., H, W]``, without the padding."""
        return self._made[..., : self._windows.rows.length, : self._windows.columns.length]

    def patches(self) -> Tensor:
        """Return blended patches ``[B, S, ty, tx]``: the mean over the pixels that the image has of each patch."""
        if not self._windows.several:
            return self._windows.tokens(self._made)
        # a patch that the edge cuts has the mean of its pixels there; rounded weights may exceed 1 in sum
        return functional.avg_pool2d(self.image(), PATCH_SIZE, ceil_mode=True).clamp(0, 1)
