"""What is known of each test chip besides how much it gained: what the map says about itself, and the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augment_store.errors import StoreError
from augment_store.inspect.statistics import agreement, class_shares
from augment_store.io.remote import RemotePath, as_path
from augment_store.modalities.definitions import LULC, LULC_LEGEND
from augment_store.modalities.map_arrays import TOKEN_PROBABILITY
from augment_store.store.schema import State
from augment_store.store.writer import AugmentStore
from eval.compare.arms import Comparison
from eval.compare.inference import sum_by_scene
from eval.score.metrics import mean_iou

MEASURES: Final = (
    "token probability of the map",
    "agreement of its samples",
    "clouds and no data in the map",
)

UNSEEN: Final = ("no data", "clouds")
"""Classes of a LULC map where the ground was not seen."""


@dataclass(frozen=True)
class Covariate:
    """One number for each chip.

    Attributes:
        name: What it is, as a table says it.
        before_labels: Whether it is known where there is no reference yet, so that a rule can be made of it.
        values: ``[seed, chip]``, or ``[1, chip]`` where all seeds have the same.
    """

    name: str
    before_labels: bool
    values: NDArray[np.float64]


def read_covariates(comparison: Comparison) -> tuple[Covariate, ...]:
    """Return what is known of the test chips, in their order in the scores."""
    return (*_of_the_maps(comparison), *_of_the_baseline(comparison))


def _of_the_maps(comparison: Comparison) -> Iterator[Covariate]:
    """Yield what the candidate's stores say, mean over stores; nothing where one is gone or is another by now.

    A store that cannot be read costs these covariates alone, and one at a URL is not read: only a record names it.
    """
    chip_ids = comparison.candidate.scores[0].counts.chip_ids
    # a control joins other maps than those of its chips
    if comparison.candidate.scores[0].origin.augment.control is not None:
        return
    found = []
    for path, fingerprint in _stores(comparison):
        if isinstance(as_path(path), RemotePath) or not (Path(path) / "zarr.json").is_file():
            return
        try:
            store = AugmentStore.open(path)
            if store.fingerprint != fingerprint or not set(chip_ids) <= set(store.chips_in(State.COMPLETE)):
                return
            found.append([_of_a_map(store, chip_id) for chip_id in chip_ids])
        except StoreError:  # the report says which covariates were not looked at
            return
    if not found:
        return
    # [store, chip, measure] to [measure, chip]; a measure that does not apply is NaN in every chip
    means = np.array(found).mean(axis=0).T
    for name, values in zip(MEASURES, means, strict=True):
        if np.isfinite(values).all():
            yield Covariate(name, True, values[None])


def _stores(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the folder and fingerprint of each store that the candidate's runs joined."""
    joined = [score.origin.augment for whole in comparison.candidate.scores for score in whole.trainings]
    return sorted({(entry.store, entry.fingerprint) for entry in joined if entry.store is not None})


def _of_a_map(store: AugmentStore, chip_id: str) -> tuple[float, float, float]:
    """Return the measures of `MEASURES` for one chip; NaN where one does not apply."""
    kind, token = store.spec.map, float(store.read(chip_id, TOKEN_PROBABILITY).mean())
    if kind.array not in store.map_names:  # a store of tokens alone
        return token, np.nan, np.nan
    values = store.read(chip_id, kind.array)
    unseen = [entry.value for entry in LULC_LEGEND if entry.name in UNSEEN]
    shares = class_shares(values, kind)
    return token, agreement(values, kind), float(shares[unseen].sum()) if kind.name == LULC.name else np.nan


def _of_the_baseline(comparison: Comparison) -> Iterator[Covariate]:
    """Yield what the baseline predicts and how right it is, for each of two seeds or more by the other seeds.

    A baseline that was unlucky in a chip makes any candidate gain there: held against its own luck, the gain would fall
    with the baseline's mIoU even if both arms were the same.
    """
    # [seed, chip, class, class + 1]
    counts = np.stack([score.counts.values for score in comparison.baseline.scores])
    predicted = counts[..., :-1].sum(axis=-2)
    shares = predicted / np.maximum(predicted.sum(axis=-1, keepdims=True), 1)
    for label, name in enumerate(comparison.class_names):
        yield Covariate(f"share of {name} by the baseline", True, _of_other_seeds(shares[..., label]))
    yield Covariate("mIoU of the baseline", False, _of_other_seeds(mean_iou(counts)))


def _of_other_seeds(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each seed the mean over the others ``[seed, chip]``."""
    return np.asarray((values.sum(axis=0) - values) / (len(values) - 1))


def by_scene(
    values: NDArray[np.float64], scenes: Sequence[str], counted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Average ``[…, chip]`` over the counted chips of each scene: ``[…, scene]`` in the order of their names."""
    names, position = np.unique(scenes, return_inverse=True)
    sums = sum_by_scene(np.where(counted, values, 0), position, len(names))
    return sums / np.bincount(position, counted, len(names))
