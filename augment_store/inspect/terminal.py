"""The summary in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from augment_store.inspect.statistics import MEASURES, ChipStatistics
from augment_store.inspect.store_inspector import Group, StoreInspector, average_by_split
from augment_store.io.files import printable
from augment_store.modalities.definitions import LegendClass
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.utils.text import format_size, pluralize

_LISTED: Final = 10
_BAR: Final = 20


def print_summary(console: Console, inspector: StoreInspector, seen: Sequence[ChipStatistics]) -> None:
    """Print what the store is, its class shares and measures per split, and the chips that look wrong.

    Args:
        console: Where to print.
        inspector: The store.
        seen: Statistics of the chips that the summary covers.
    """
    # soft_wrap: rich breaks no line, so a long path can be copied
    console.print(_summary_title(inspector, len(seen)), soft_wrap=True)
    groups = average_by_split(seen)
    console.print(_shares_table(inspector.kind, groups))
    console.print(_measures_table(groups, inspector.kind))
    wrong = sorted((entry for entry in seen if entry.flags), key=lambda entry: entry.doubt, reverse=True)
    if inspector.legend:
        console.print(
            Text(f"references: masks by the legend {printable(inspector.legend)} (--legend)"), soft_wrap=True
        )
    if inspector.unknown_masks:
        console.print("references: masks found; give --legend to compare the maps with them", soft_wrap=True)
    if wrong:
        console.print(
            chips_table(wrong[:_LISTED], f"looks wrong: {len(wrong)} of {pluralize(len(seen), 'chip')}")
        )
    else:
        console.print(f"None of {pluralize(len(seen), 'chip')} looks wrong.", style="green")


def chips_table(chips: Sequence[ChipStatistics], title: str) -> Table:
    """Return a table with a row per chip: its measures and flags."""
    table = _plain_table(title)
    table.add_column("chip", overflow="fold")
    for key in _applying(chips):
        table.add_column(key, justify="right")
    table.add_column("looks wrong", style="yellow", overflow="fold")
    for entry in chips:
        numbers = [_format_measure(entry.measures[key]) for key in _applying(chips)]
        # plain text: an id may hold square brackets, which rich would take for markup
        table.add_row(Text(entry.chip_id), *numbers, Text(", ".join(entry.flags)))
    return table


def _summary_title(inspector: StoreInspector, seen: int) -> Text:
    store, progress = inspector.store, inspector.progress
    facts = f"{inspector.title}, {progress}"
    text = Text.assemble((printable(str(store.path)), "bold"), "\n", printable(facts), "\n")
    text.append(f"fingerprint {store.fingerprint[:12]} · {_extent(inspector)}\n", style="dim")
    if seen < progress.complete.size:
        text.append(f"Numbers are from a seeded sample of {pluralize(seen, 'chip')}.\n", style="dim")
    return text


def _extent(inspector: StoreInspector) -> str:
    extent, samples = inspector.store.extent, inspector.store.spec.sampling.samples
    return f"{format_size(extent.shape)} · {pluralize(extent.timesteps, 'timestep')} · {pluralize(samples, 'sample')}"


def _shares_table(kind: GeneratedMap, groups: Sequence[Group]) -> Table:
    table = _plain_table("share of pixels")
    table.add_column(kind.quantity if kind.continuous else "class")
    for group in groups:
        table.add_column(_group_heading(group), justify="right")
    table.add_column("", width=_BAR)
    for entry in kind.legend:
        shares = [float(group.shares[entry.value]) for group in groups]
        if max(shares) > 0:  # classes that occur nowhere are left out
            name = Text.assemble(("■ ", _color_style(entry)), entry.name)
            # the bar shows the first column: all chips, or the only split
            bar = Text("█" * round(shares[0] * _BAR), style=_color_style(entry))
            table.add_row(name, *(f"{share:.1%}" for share in shares), bar)
    return table


def _measures_table(groups: Sequence[Group], kind: GeneratedMap) -> Table:
    table = _plain_table("means over chips")
    table.add_column("measure")
    for group in groups:
        table.add_column(_group_heading(group), justify="right")
    for key, name in MEASURES.items():
        if any(np.isfinite(group.measures[key]) for group in groups):
            table.add_row(name, *(_format_measure(group.measures[key]) for group in groups))
    if any(np.isfinite(group.mean_value) for group in groups):
        table.add_row(f"mean {kind.quantity}", *(_format_measure(group.mean_value) for group in groups))
    return table


def _applying(chips: Sequence[ChipStatistics]) -> list[str]:
    return [key for key in MEASURES if any(np.isfinite(entry.measures[key]) for entry in chips)]


def _group_heading(group: Group) -> str:
    return f"{group.name or 'no split'} ({group.chips:,})"


def _format_measure(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"


def _color_style(entry: LegendClass) -> str:
    return "rgb({},{},{})".format(*entry.rgb)


def _plain_table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim"
    )
