"""Contents of a store as plain values: counts, sizes and the spec."""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np

from augment_store.io.remote import RemotePath
from augment_store.modalities.rendering import NO_CODE
from augment_store.store.chip_index import iter_entries
from augment_store.store.chip_selection import StoreProgress
from augment_store.store.schema import State
from augment_store.store.writer import AugmentStore
from augment_store.utils.sampling import spread_evenly

SHARES_CHIPS: Final = 1000
"""Most chips that class shares are counted over, so that a large store does not have to be read whole."""


def summarize(store: AugmentStore) -> dict[str, Any]:
    """Return counts, extent and spec of a store as plain JSON values; ``bytes`` is None at a URL."""
    progress = StoreProgress.read(store)
    scenes = {entry.scene_id for entry in iter_entries(store)}
    return {
        "path": str(store.path),
        "chips": len(store.chip_ids),
        **{state.name.lower(): progress.count(state) for state in State},
        "scenes": len(scenes),
        "timesteps": store.extent.timesteps,
        "height": store.extent.height,
        "width": store.extent.width,
        "arrays": list(store.map_names),
        "bytes": None if isinstance(store.path, RemotePath) else _bytes_under(store.path),
        "fingerprint": store.fingerprint,
        "spec": store.spec.to_dict(),
        "audit": store.audit,
        "history": store.history.splitlines(),
    }


def _bytes_under(folder: str | os.PathLike[str]) -> int:
    """Count the bytes of the files in a folder; a store of a million chips has 300,000, so each is asked once."""
    with os.scandir(folder) as found:
        return sum(
            # links are not followed: one to a folder above would be walked without end
            _bytes_under(entry) if entry.is_dir(follow_symlinks=False) else entry.stat().st_size
            for entry in found
        )


def mean_class_shares(store: AugmentStore) -> dict[str, float]:
    """Return the share of each class by name, over sample 0 of the complete chips; empty where maps have no classes.

    If more than `SHARES_CHIPS` chips are complete, that many evenly spread ones are counted.
    """
    kind, complete = store.spec.map, store.chips_in(State.COMPLETE)
    if kind.continuous or store.spec.tokens_only or not complete:
        return {}
    counts = np.zeros(NO_CODE + 1, dtype=np.int64)
    for chip_id in spread_evenly(complete, SHARES_CHIPS):
        # [sample, time, y, x] → [time, y, x]
        codes = kind.codes(store.read(chip_id, kind.array)[0])
        # without `minlength`, a chip that lacks the highest codes would give a shorter count
        counts += np.bincount(codes.ravel(), minlength=NO_CODE + 1)
    # leaves out `NO_CODE`, pixels without a value
    there = counts[: len(kind.legend)]
    return {
        entry.name: int(count) / int(there.sum())
        for entry, count in zip(kind.legend, there, strict=True)
        if count
    }
