"""Trial of a YAML's transforms on a real sample, before anything is trained: what they destroy, invent or move."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import albumentations as A  # noqa: N812 - the name everyone knows it by
import numpy as np
import torch
from albumentations.core.composition import BaseCompose
from numpy.typing import NDArray

from augment_store.chips.georeference import Georeference
from augment_store.utils.text import format_size
from finetune.data.dataset import ChipDataset
from finetune.data.transforms import COVERED, TRIES, Transforms, every_step, one_shape, steps_of
from finetune.errors import ConfigError

CLIPPED_SHARE: Final = 0.05
"""Values that a transform may set to exactly 0 or 1 before it counts as one that clips."""

MIN_VALUES: Final = 100
"""An image with fewer values that differ, such as an empty one, shows nothing about a transform."""

BILINEAR: Final = 1
"""OpenCV's number of bilinear resampling."""

SAME_POSITION: Final = 0.01
"""Pixels by which positions may differ through rounding."""

MAX_SIDE: Final = 4096
"""Side of an image in pixels up to which a ratio of two sides is found exactly."""

KEPT_SHARE: Final = 0.1
"""Least share of an image's different values that a photometric transform must keep."""

Images = Mapping[str, NDArray[np.float32]]


def check_values(transforms: Transforms, images: Images, mask: NDArray[Any] | None) -> None:
    """Try each transform on each image, one after another, and look at the values that come out.

    Args:
        transforms: Albumentations transforms, or None.
        images: ``[H, W, C]`` or ``[T, H, W, C]`` by modality, in the units in which transforms get them.
        mask: ``[H, W]``, or None.

    Raises:
        ConfigError: If a transform fails, clips or flattens the values, or mixes labels.
    """
    for step in every_step(steps_of(transforms)):
        # 0 and 6: nearest neighbor and its exact form
        if getattr(step, "mask_interpolation", 0) not in (0, 6):
            raise ConfigError(
                f"transform {type(step).__name__}: mask_interpolation {step.mask_interpolation} makes labels between "
                "those of the mask; leave it out"
            )
    for modality, image in images.items():
        state: dict[str, Any] = {"image": image}
        state |= {} if mask is None else {"mask": mask}
        for step in steps_of(transforms):
            # a choice such as OneOf runs one of its members; each of them is tried, and the last result goes on
            for member in _members(step):
                made = _apply(member, state)
                if isinstance(member, A.ImageOnlyTransform):
                    _compare(modality, type(member).__name__, state["image"], made["image"])
            state = made


def check_bands(modality: str, before: Sequence[int], after: Sequence[int]) -> None:
    """Make sure that transforms leave bands and timesteps as they are.

    Args:
        modality: Name of the image.
        before: Its shape before them, ``[C, ..., H, W]``.
        after: Its shape behind them.

    Raises:
        ConfigError: If they do not; statistics of one band would standardize others, without a word.
    """
    if tuple(before[:-2]) != tuple(after[:-2]):
        raise ConfigError(
            f"transforms make images of {modality} {list(after)} of {list(before)}, and other bands or timesteps than "
            f"the means are of; leave them as they are (data.init_args.bands chooses bands)"
        )


def _members(step: Any) -> Iterator[Any]:
    yield from every_step(step.transforms) if isinstance(step, BaseCompose) else (step,)


def _apply(step: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    """Run one transform for certain, on a copy."""
    # a copy: `p` of the YAML's own transform must stay for training
    certain = copy.deepcopy(step)
    certain.p = 1.0
    try:
        made: dict[str, Any] = A.Compose([certain], is_check_shapes=False, seed=0)(**state)
    except Exception as error:
        # some libraries quote a whole array in their message
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"transform {type(step).__name__} fails on a chip of this data set: {reason}; leave it out"
        ) from error
    return made


def _compare(modality: str, name: str, before: Any, after: Any) -> None:
    """Refuse a photometric transform whose result is clipped, constant or not finite."""
    old, new = np.asarray(before), np.asarray(after)
    known = len(np.unique(old[np.isfinite(old)]))
    # ToTensorV2 and the like change the order of dimensions, and nothing else
    if known < MIN_VALUES or new.size != old.size or new.shape != old.shape:
        return
    if not np.isfinite(new).all():
        raise ConfigError(f"transform {name} makes values of {modality} that are not finite; leave it out")
    bounds = (new == 0) | (new == 1)
    # values that were 0 or 1 before were not clipped
    clipped = float((bounds & (new != old)).mean())
    inside = bool(((new >= 0) & (new <= 1)).all()) and not bool(((old >= 0) & (old <= 1)).all())
    left = len(np.unique(new)) / known
    if inside and clipped > CLIPPED_SHARE:
        raise ConfigError(
            f"transform {name} sets {clipped:.0%} of the values of {modality} to 0 or 1, since it takes images of 0 to "
            f"1 and these have {old.min():.4g} to {old.max():.4g}; leave it out, or take one that only moves pixels"
        )
    if left < KEPT_SHARE:
        raise ConfigError(
            f"transform {name} leaves {left:.1%} of the different values of {modality}; leave it out, or take one "
            "that only moves pixels"
        )


@dataclass(frozen=True)
class Fill:
    """Pixels that transforms make where no image is.

    Attributes:
        share: Largest share of a mask's pixels in one of the trials.
        labels: Labels that they get.
        transform: Name of the first transform that makes some.
    """

    share: float
    labels: frozenset[int]
    transform: str


def try_transforms(dataset: ChipDataset, transforms: Transforms) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return height and width of a dataset's first chip, and what its transforms make of them.

    Args:
        dataset: Chips of one split.
        transforms: Its Albumentations transforms, or None.

    Raises:
        ConfigError: If they destroy values or bands, or give shapes that differ from draw to draw.
    """
    seeds = itertools.count()
    with torch.random.fork_rng(devices=[]):  # training then draws as it would without this look
        images, mask, maps = dataset.read_raw(dataset.members.ids[0])

        def draw() -> tuple[int, int]:
            # a new seed for each draw, as for another sample
            made, _, _ = dataset.transform(images, mask, maps, next(seeds))
            for name, image in images.items():
                check_bands(name, image.shape, made[name].shape)
            height, width = next(iter(made.values())).shape[-2:]
            return height, width

        # [C, …, H, W] → […, H, W, C], as Albumentations takes images
        check_values(transforms, {name: np.moveaxis(image, 0, -1) for name, image in images.items()}, mask)
        made = one_shape(draw, transforms)
    height, width = next(iter(images.values())).shape[-2:]
    return (height, width), made


def find_fill(transforms: Transforms, shape: tuple[int, int]) -> Fill | None:
    """Find out whether transforms such as rotations and pads label pixels where no image is; None if they do not.

    Args:
        transforms: Albumentations transforms, or None.
        shape: Height and width of a chip in pixels.
    """
    for step in filter(_moves, steps_of(transforms)):
        share, labels = 0.0, set[int]()
        for member in _members(step):
            certain = copy.deepcopy(member)
            certain.p = 1.0
            # a rotation draws its angle, so the largest of several shares counts
            for seed in range(TRIES):
                compose = A.Compose([certain], is_check_shapes=False, seed=seed)
                state = {
                    "image": np.zeros((*shape, 1), np.float32),
                    "mask": np.full(shape, COVERED, np.int16),
                }
                mask = np.asarray(compose(**state)["mask"])
                share = max(share, float((mask != COVERED).mean()))
                labels |= set(np.unique(mask[mask != COVERED]).tolist())
        if labels:
            return Fill(share, frozenset(labels), type(step).__name__)
    return None


@dataclass(frozen=True)
class PixelGrid:
    """Position of a transformed image in its chip: row = row₀ + rows · i, column = column₀ + columns · j.

    Attributes:
        row: Row of the upper edge, in pixels of the chip.
        rows: Chip rows per row of the image; negative where it is turned upside down.
        column: Column of the left edge.
        columns: Chip columns per column of the image.
    """

    row: float = 0.0
    rows: float = 1.0
    column: float = 0.0
    columns: float = 1.0

    def place(self, chip: Georeference) -> Georeference:
        """Return the georeference of the image, given that of its chip."""
        # x = a · column + b · row + c, y = d · column + e · row + f
        a, b, c, d, e, f = chip.transform
        moved = (
            *(a * self.columns, b * self.rows, c + a * self.column + b * self.row),
            *(d * self.columns, e * self.rows, f + d * self.column + e * self.row),
        )
        return Georeference(chip.crs_wkt, moved)


def find_grid(transforms: Transforms, shape: tuple[int, int]) -> PixelGrid | None:
    """Find where transforms take the pixels of a chip; None if that is no grid, or differs between two runs.

    The numbers of the chip's rows and columns go through the transforms as an image does, resampled bilinearly, so that
    each pixel of the result tells where its center comes from.

    Args:
        transforms: Albumentations transforms, or None.
        shape: Height and width of a chip in pixels.
    """
    spatial = [step for step in steps_of(transforms) if _moves(step)]
    if not spatial:
        return PixelGrid()
    # a set: draws that agree leave one entry
    grids = {_trace(spatial, shape, seed) for seed in range(TRIES)}
    return grids.pop() if len(grids) == 1 else None


def check_stays(transforms: Transforms, shape: tuple[int, int]) -> None:
    """Make sure that TerraTorch's own command writes predictions where their pixels are.

    Args:
        transforms: Albumentations transforms of the samples to predict, or None.
        shape: Height and width of a chip in pixels.

    Raises:
        ConfigError: If transforms crop, scale or move pixels; it would write them at the chip's corner.
    """
    if find_grid(transforms, shape) != PixelGrid():
        raise ConfigError(
            f"the transforms of samples to predict crop, scale or move the pixels of {format_size(shape)}, and "
            "terratorch predict writes them at the chip's corner; leave such steps out, or predict by tim-finetune"
        )


def _moves(step: Any) -> bool:
    # photometric steps and changes of type or order move nothing, and may not take one band
    return any(isinstance(member, A.DualTransform) for member in _members(step))


def _trace(steps: Sequence[Any], shape: tuple[int, int], seed: int) -> PixelGrid | None:
    """Trace the pixels of a chip once, with the random draws of a seed."""
    traced = copy.deepcopy(list(steps))
    for step in every_step(traced):
        # nearest neighbor would round positions, and cubic overshoot at the edges
        if hasattr(step, "interpolation"):
            step.interpolation = BILINEAR
    # [H, W, 2]: row and column of each pixel
    positions = np.moveaxis(np.indices(shape), 0, -1).astype(np.float32)
    compose = A.Compose(traced, is_check_shapes=False, seed=seed)
    made = compose(image=positions, mask=np.full(shape, COVERED, np.int16))
    # filled pixels come from nowhere in the chip
    if not (np.asarray(made["mask"]) == COVERED).all():
        return None
    rows, columns = np.moveaxis(np.asarray(made["image"]), -1, 0)
    # turned, so that columns run along the first axis as rows do
    along, across = _fit_line(rows), _fit_line(columns.T)
    return PixelGrid(*along, *across) if along and across else None


def _fit_line(source: NDArray[Any]) -> tuple[float, float] | None:
    """Find edge and step of a line of source positions ``[N, M]``, the same in every column; None if there is none."""
    line = source[:, 0].astype(np.float64)
    # half of it, since near its ends resampling repeats the chip's edge
    first, last = len(line) // 4, len(line) - 1 - len(line) // 4
    # the source row differs along a row of the result: turned by 90° or warped
    if last <= first or np.ptp(source, axis=1).max() > SAME_POSITION:
        return None
    step = (line[last] - line[first]) / (last - first)
    apart = np.abs(line - line[first] - step * (np.arange(len(line)) - first))
    if apart[first : last + 1].max() > SAME_POSITION or apart.max() > 1:
        return None
    # + 0.5: from numbers of pixels to their centers
    edge = line[first] + 0.5 - step * (first + 0.5)
    # sides are whole pixels, so both are ratios of them, and the rest is noise of 32 bits
    exact = [float(Fraction(value).limit_denominator(MAX_SIDE)) for value in (edge, step)]
    return exact[0], exact[1]
