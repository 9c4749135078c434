"""Where chips lie: read from the headers of their files in threads, and kept for later runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference, is_known
from augment_store.utils.validation import STRICT
from finetune.data.survey_cache import kept_path, load_kept, stamp_files, write_kept


@dataclass(frozen=True)
class PlacedChip:
    """Where a chip lies.

    Attributes:
        stamp: Digest of the sizes and times of its files; empty where these do not tell a change.
        crs_wkt: As `Georeference` has it.
        transform: Likewise; None if unknown, as JSON has no NaN.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    stamp: str
    crs_wkt: str
    transform: tuple[float, float, float, float, float, float] | None

    @property
    def georeference(self) -> Georeference:
        """Return the place."""
        return Georeference() if self.transform is None else Georeference(self.crs_wkt, self.transform)


@dataclass(frozen=True)
class _KeptPlaces:
    """A file of places, by chip."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    chips: Mapping[str, PlacedChip] = field(default_factory=dict)


def read_places(chips: ChipSet, ids: Iterable[str], folder: Path | None) -> dict[str, Georeference]:
    """Return where each chip lies; only those whose files have changed since they were kept are read.

    Args:
        chips: The chip set.
        ids: Which chips.
        folder: Where what was read is kept, beside the runs; None to read every chip.

    Raises:
        ChipDataError: If a header cannot be read.
    """
    path = kept_path(folder, chips, "places")
    kept = load_kept(path, _KeptPlaces).chips

    def place(chip_id: str) -> PlacedChip:
        # before it is read: what changes meanwhile is read again the next time
        stamp = "" if path is None else stamp_files(_files(chips, chip_id))
        known = kept.get(chip_id)
        if known is not None and stamp and known.stamp == stamp:
            return known
        found = chips.georeference(chip_id)
        return PlacedChip(stamp, found.crs_wkt, found.transform if is_known(found) else None)

    wanted = tuple(dict.fromkeys(ids))
    # reading headers is waiting, on network file systems most of all
    with ThreadPoolExecutor() as pool:
        made = dict(zip(wanted, pool.map(place, wanted), strict=True))
    if any(found is not kept.get(chip_id) for chip_id, found in made.items()):
        write_kept(path, _KeptPlaces({name: each for name, each in {**kept, **made}.items() if each.stamp}))
    return {chip_id: found.georeference for chip_id, found in made.items()}


def _files(chips: ChipSet, chip_id: str) -> Sequence[Path]:
    """Return every file of a chip, any of which may say where it lies."""
    names = [name for name in chips.layout.images if chip_id in chips.ids_of(name)]
    files = [path for name in names for path in chips.band_paths(chip_id, name)]
    mask = chips.mask_path(chip_id)
    return files if mask is None else [*files, mask]
