"""Looking at the maps of a store, as a function for notebooks and scripts; the command prints what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from augment_store.errors import AugmentStoreError
from augment_store.inspect.contact_sheet import STYLE, draw_sheet
from augment_store.inspect.references import OtherMaps, masks_table
from augment_store.inspect.statistics import ChipStatistics
from augment_store.inspect.store_inspector import StoreInspector, average_by_split
from augment_store.inspect.views import view_chip
from augment_store.integrity.input_match import check_inputs, open_matching_chips
from augment_store.io.remote import as_path
from augment_store.store.chip_selection import StoreProgress, check_not_empty, draw_positions, positions_of
from augment_store.store.writer import AugmentStore
from augment_store.utils.notebook import THUMBNAILS, to_html
from augment_store.utils.progress import track
from augment_store.utils.text import pluralize

_SHOWN: Final = 8
"""Chips that are shown where nobody says how many."""

_CHECKED_CHIPS: Final = 3
"""Chips whose inputs are compared with the store before any are shown: a wrong chip set differs in all of them."""

_SIDE: Final = 96
_QUALITY: Final = 60
"""Pixels of a thumbnail, and its quality from 0 to 100."""


@dataclass(frozen=True, repr=False)
class StoreInspection:
    """What was found of a store's maps.

    Attributes:
        inspector: The store, with what belongs to its chips.
        seen: Statistics of the chips that the summary is of.
        chosen: Statistics of the chips to show.
        timestep: Timestep that is shown.
    """

    inspector: StoreInspector
    seen: tuple[ChipStatistics, ...]
    chosen: tuple[ChipStatistics, ...]
    timestep: int

    def __len__(self) -> int:
        """Return the number of chips that the summary is of."""
        return len(self.seen)

    def __repr__(self) -> str:
        wrong = sum(bool(entry.flags) for entry in self.seen)
        path = self.inspector.store.path
        return f"<StoreInspection {path}: {pluralize(len(self), 'chip')} summarized, {wrong} look wrong>"

    def _repr_html_(self) -> str:
        """Return the summary as a table, and the maps of the first chips to show."""
        wrong = sum(bool(entry.flags) for entry in self.seen)
        rows: dict[str, object] = {"chips summarized": len(self), "look wrong": wrong}
        for group in average_by_split(self.seen):
            told = ", ".join(
                f"{name} {value:.2f}" for name, value in group.measures.items() if np.isfinite(value)
            )
            rows[f"{group.name or 'all'} ({group.chips})"] = told
        views = [view_chip(self.inspector, entry, self.timestep) for entry in self.chosen[:THUMBNAILS]]
        pictures = {view.statistics.chip_id: view.maps[0].uri(_SIDE, _QUALITY) for view in views}
        return to_html(self.inspector.title, rows, pictures)

    def plot(self) -> Figure:
        """Draw the chips to show: inputs, maps, how sure they are, and references, a row a chip."""
        views = [view_chip(self.inspector, entry, self.timestep) for entry in self.chosen]
        with mpl.rc_context(STYLE):
            return draw_sheet(self.inspector, views, self.timestep)


def inspect_store(
    store: str | Path,
    chips: str | Path | None = None,
    *,
    layout: str | None = None,
    legend: str | Path | None = None,
    ids: Sequence[str] | None = None,
    worst: int | None = None,
    random: int | None = None,
    timestep: int = 0,
    against: str | Path | None = None,
    summary_chips: int = 500,
    seed: int = 0,
    quiet: bool = False,
) -> StoreInspection:
    """Summarize the maps of a store, and choose chips to show, as `tim-store inspect` does.

    Args:
        store: Folder of the store, even while it is being written, or its URL.
        chips: Chip set it was generated from; shows inputs, splits and references.
        layout: Layout of the chip set, None to detect it.
        legend: Legend table to the masks' classes, a file or the name of one that ships; None for the layout's.
        ids: Chips to show; in place of `worst` and `random`.
        worst: Number of chips to show, the most doubtful of those summarized.
        random: Number of chips to show, drawn at random.
        timestep: Timestep to show.
        against: Another store of the same chips, whose maps stand for the references.
        summary_chips: Number of random chips that the summary is of.
        seed: Seed for random draws.
        quiet: Report no progress.

    Returns:
        The statistics, which show themselves in a notebook; ``plot()`` draws the chips.

    Raises:
        AugmentStoreError: If the store, the chips or the choice cannot be used.

    Example:
        >>> inspect_store("stores/nyc_lulc", "data/nyc", worst=8).plot()  # doctest: +SKIP
    """
    opened = AugmentStore.open(as_path(store))
    known = None if chips is None else open_matching_chips(as_path(chips), layout, opened)
    table = masks_table(known, None if legend is None else Path(legend))
    known = None if known is None else known.with_legend(table)
    check_not_empty(opened, StoreProgress.read(opened))
    if not 0 <= timestep < opened.extent.timesteps:
        raise AugmentStoreError(f"--timestep {timestep}: the store has 0 to {opened.extent.timesteps - 1}")
    other = None if against is None else OtherMaps(AugmentStore.open(as_path(against)), opened, timestep)
    inspector = StoreInspector(opened, known, table, other)
    complete = inspector.progress.complete
    # before anything is read: an unknown id is told at once
    asked = (
        draw_positions(complete, random or _SHOWN, seed)
        if ids is None
        else positions_of(opened, ids, inspector.progress)
    )
    drawn = draw_positions(complete, summary_chips, seed)
    # a tuple, since the summary, `worst` and a page each go through it
    seen = tuple(track(inspector.measure(drawn), "reading maps", drawn.size, quiet=quiet))
    chosen = _choose(inspector, seen, asked, worst)
    _check_inputs(inspector, chosen)  # of another chip set, every picture and agreement would mislead
    return StoreInspection(inspector, seen, chosen, timestep)


def plot_chip(
    store: str | Path,
    chip_id: str,
    chips: str | Path | None = None,
    *,
    layout: str | None = None,
    legend: str | Path | None = None,
    timestep: int = 0,
) -> Figure:
    """Draw a chip of a store: its inputs, maps, how sure they are, and its reference.

    Args:
        store: Folder of the store, or its URL.
        chip_id: The chip.
        chips: Chip set it was generated from; shows inputs and references.
        layout: Layout of the chip set, None to detect it.
        legend: Legend table to the masks' classes; None for the layout's.
        timestep: Timestep to show.

    Returns:
        A figure of Matplotlib.

    Raises:
        AugmentStoreError: If the store, the chips or the choice cannot be used.
    """
    found = inspect_store(
        store,
        chips,
        layout=layout,
        legend=legend,
        ids=[chip_id],
        timestep=timestep,
        summary_chips=1,
        quiet=True,
    )
    return found.plot()


def _choose(
    inspector: StoreInspector, seen: Sequence[ChipStatistics], asked: NDArray[np.int64], worst: int | None
) -> tuple[ChipStatistics, ...]:
    """Return statistics of the chips to show; those of the summary are reused."""
    if worst is not None:
        # of the chips read anyway: ranking all chips would read every map of a large store
        return tuple(sorted(seen, key=lambda entry: entry.doubt, reverse=True)[:worst])
    known = {entry.chip_id: entry for entry in seen}
    ids = [inspector.store.chip_ids[position] for position in asked]
    return tuple(known.get(chip_id) or inspector.statistics(chip_id) for chip_id in ids)


def _check_inputs(inspector: StoreInspector, chosen: Sequence[ChipStatistics]) -> None:
    if inspector.chips is not None:
        # chips that the chip set lacks cannot tell whether it is the right one
        known = [entry.chip_id for entry in chosen if inspector.has_inputs(entry.chip_id)]
        check_inputs(inspector.store, inspector.chips, known[:_CHECKED_CHIPS])
