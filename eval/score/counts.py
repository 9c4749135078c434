"""Confusion counts per chip, from which every metric and every interval is computed."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from augment_store.io.files import atomic_path
from augment_store.modalities.definitions import IGNORED_LABEL
from eval.errors import EvaluationError

_NAMES: Final = ("chip_id", "scene_id", "class_name")

Confusion = NDArray[np.int64]
"""``[…, reference, prediction]`` pixels. The column after the last class counts pixels without a prediction."""


def count_pixels(reference: NDArray[Any], predicted: NDArray[Any], classes: int) -> Confusion:
    """Return the confusion counts ``[class, class + 1]`` of one chip.

    Args:
        reference: Labels of any shape, −1 where a pixel is ignored.
        predicted: Labels of the same shape, −1 where nothing is predicted, which counts as a miss.
        classes: Number of classes.

    Raises:
        EvaluationError: If shapes differ, or a label is not a class.
    """
    if reference.shape != predicted.shape:
        raise EvaluationError(f"reference {reference.shape} and prediction {predicted.shape} differ in shape")
    counted = reference != IGNORED_LABEL
    rows, columns = reference[counted].astype(np.int64), predicted[counted].astype(np.int64)
    # before the counting, where a label out of range would land in the cell of another pair
    for labels, lowest in ((rows, 0), (columns, IGNORED_LABEL)):
        if labels.size and not lowest <= labels.min() <= labels.max() < classes:
            raise EvaluationError(
                f"labels {labels.min()} to {labels.max()}; expected {lowest} to {classes - 1}"
            )
    # in the column after the last class; `astype` made a copy, so the caller's labels stay
    columns[columns == IGNORED_LABEL] = classes
    width = classes + 1
    # each pair gets the number of its cell, row by row, so that one pass counts them all
    counts = np.bincount(rows * width + columns, minlength=classes * width)
    return counts.reshape(classes, width).astype(np.int64)


@dataclass(frozen=True)
class Counts:
    """Confusion counts of the chips of a split.

    Attributes:
        chip_ids: Ids of the chips.
        scene_ids: Scene of each chip.
        class_names: Names of the classes by label.
        values: ``[chip, class, class + 1]``, see `Confusion`.

    Raises:
        EvaluationError: If their sizes do not agree, a count is not a whole number from 0, or a chip appears twice.
    """

    chip_ids: tuple[str, ...]
    scene_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    values: Confusion

    def __post_init__(self) -> None:
        chips, classes = len(self.chip_ids), len(self.class_names)
        expected = (chips, classes, classes + 1)
        if self.values.shape != expected or len(self.scene_ids) != chips:
            raise EvaluationError(
                f"counts of shape {self.values.shape}, {len(self.scene_ids)} scenes; expected {expected}, {chips}"
            )
        if not np.issubdtype(self.values.dtype, np.integer) or (self.values < 0).any():
            raise EvaluationError("confusion counts are not whole numbers from 0; score the run again")
        if len(set(self.chip_ids)) < chips:
            raise EvaluationError("a chip appears twice among the confusion counts; score the run again")

    @cached_property
    def scenes(self) -> tuple[str, ...]:
        """Return the names of the scenes in order, each once."""
        return tuple(sorted(set(self.scene_ids)))

    @property
    def total(self) -> Confusion:
        """Return the counts ``[class, class + 1]`` of all chips together."""
        total: Confusion = self.values.sum(axis=0)
        return total

    def ordered(self, chip_ids: Sequence[str]) -> Self:
        """Return the same counts with the chips in another order.

        Raises:
            KeyError: If a chip is unknown.
        """
        if tuple(chip_ids) == self.chip_ids:
            return self
        positions = {chip_id: index for index, chip_id in enumerate(self.chip_ids)}
        order = [positions[chip_id] for chip_id in chip_ids]
        scenes = tuple(self.scene_ids[index] for index in order)
        return type(self)(tuple(chip_ids), scenes, self.class_names, self.values[order])

    def by_scene(self) -> Confusion:
        """Return the counts ``[scene, class, class + 1]`` in the order of `scenes`, for reading alone."""
        return self._summed

    @cached_property
    def _summed(self) -> Confusion:
        # a report asks for them a dozen times
        numbers = {scene: index for index, scene in enumerate(self.scenes)}
        positions = np.array([numbers[scene] for scene in self.scene_ids], dtype=np.intp)
        # chips of a scene side by side, from the first of each
        order = np.argsort(positions, kind="stable")
        firsts = np.searchsorted(positions[order], np.arange(len(numbers)))
        summed: Confusion = np.add.reduceat(self.values[order], firsts, axis=0, dtype=np.int64)
        summed.flags.writeable = False
        return summed

    def write(self, path: Path) -> None:
        """Write an ``.npz`` file, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
        """
        with atomic_path(path) as draft, draft.open("wb") as file:
            np.savez_compressed(
                file,
                chip_id=np.array(self.chip_ids),
                scene_id=np.array(self.scene_ids),
                class_name=np.array(self.class_names),
                counts=self.values,
            )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            EvaluationError: If it is missing or damaged.
        """
        if not path.is_file():  # reading a pipe would block
            raise EvaluationError(f"{path}: no such file; score the run again")
        try:
            # no pickles, which could run code: a counts file may come from anyone
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                chips, scenes, classes = (tuple(map(str, file[key])) for key in _NAMES)
                return cls(chips, scenes, classes, file["counts"])
        except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            # a EvaluationError is a ValueError: what `cls` refused already says why
            if isinstance(error, EvaluationError):
                raise
            raise EvaluationError(f"{path}: cannot be read ({error}); score the run again") from error
