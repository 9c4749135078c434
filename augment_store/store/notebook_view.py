"""A store as it shows itself in a notebook."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from augment_store.errors import StoreError
from augment_store.modalities.pictures import MapPicture
from augment_store.store.chip_selection import StoreProgress
from augment_store.utils.notebook import THUMBNAILS, to_html
from augment_store.utils.text import pluralize

if TYPE_CHECKING:
    from augment_store.store.writer import AugmentStore

# the width at which `to_html` shows a picture
_SIDE: Final = 96
_QUALITY: Final = 60


def store_html(store: AugmentStore) -> str:
    """Return a table about a store and the maps of its first complete chips, as HTML."""
    spec, progress = store.spec, StoreProgress.read(store)
    doubt = ", random weights" if spec.weights == "random" else ""
    rows = {
        "path": store.path,
        "generated": f"{spec.modality} by {spec.generator}{doubt}",
        "from": ", ".join(entry.name for entry in spec.inputs),
        "chips": progress,
        "each": f"{store.extent}, {pluralize(spec.sampling.samples, 'sample')}",
        "fingerprint": store.fingerprint[:12],
    }
    pictures = {}
    for position in progress.complete[:THUMBNAILS]:
        chip_id = store.chip_ids[int(position)]
        with contextlib.suppress(StoreError):  # a damaged chip is for `verify` to report
            # [sample, time, ...] → [...] of the first sample's first timestep
            values = store.read(chip_id, spec.map.array)[0, 0]
            pictures[chip_id] = MapPicture.from_values(spec.map, values).uri(_SIDE, _QUALITY)
    return to_html("AugmentStore", rows, pictures)
