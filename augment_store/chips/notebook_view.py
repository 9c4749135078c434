"""A chip set as it shows itself in a notebook."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from augment_store.chips.units import Units
from augment_store.errors import AugmentStoreError
from augment_store.modalities.definitions import S1_MODALITIES, S2_MODALITIES
from augment_store.modalities.pictures import draw_input, photo_uri
from augment_store.utils.notebook import THUMBNAILS, to_html

if TYPE_CHECKING:
    from augment_store.chips.chip_set import ChipSet

# the width at which `to_html` shows a picture
_SIDE: Final = 96
_QUALITY: Final = 60


def chips_html(chips: ChipSet) -> str:
    """Return a table about a chip set and pictures of its first chips, as HTML."""
    splits = ", ".join(f"{len(ids):,} {name}" for name, ids in chips.splits.items())
    rows = {
        "root": chips.root,
        "layout": chips.layout.name,
        "chips": f"{len(chips):,}",
        "modalities": ", ".join(present_modalities(chips)),
        "splits": splits or "none",
    }
    pictures = {}
    for chip_id in chips.ids[:THUMBNAILS]:
        with contextlib.suppress(AugmentStoreError):  # an unreadable chip is for `layouts check` to report
            pictures[chip_id] = _picture_uri(chips, chip_id)
    return to_html("ChipSet", rows, pictures)


def present_modalities(chips: ChipSet) -> list[str]:
    """Return the input modalities of which there is a file."""
    return [name for name in chips.modalities if chips.ids_of(name)]


def _picture_uri(chips: ChipSet, chip_id: str) -> str:
    """Draw the first timestep of the first modality that a chip has: Sentinel-2, else radar, else elevation."""
    found = [name for name in chips.modalities if chips.has(chip_id, name)]
    # False sorts before True
    name = min(found, key=lambda name: (name not in S2_MODALITIES, name not in S1_MODALITIES))
    unit = Units.of(chips.layout).name(name)
    # [T, C, y, x] → [C, y, x] of the first timestep
    return photo_uri(draw_input(chips.raster(chip_id, name)[0], name, unit=unit), _SIDE, _QUALITY)
