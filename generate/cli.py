"""The commands of stage 1: generate and audit."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from augment_store.chips.layouts import find_layout
from augment_store.cli.parser import run_guarded
from augment_store.io.files import write_json
from augment_store.modalities.definitions import INPUT_MODALITIES
from augment_store.store.history import command_line
from augment_store.utils.text import pluralize
from generate.audit.audit import Audit, audit_chips
from generate.audit.rules import BandStatistics
from generate.options import (
    ChipOptions,
    GenerateOptions,
    audit_parser,
    check_weights,
    chip_options,
    generate_options,
    generate_parser,
)


def main(arguments: Sequence[str]) -> int:
    """Entry point of `python -m generate`; returns the exit status."""
    if list(arguments[:1]) == ["audit"]:
        parsed = audit_parser().parse_args(arguments[1:])
        return run_guarded(lambda: run_audit(chip_options(parsed), parsed.json))
    parsed = generate_parser().parse_args(arguments)
    command = command_line("generate", arguments)
    return run_guarded(lambda: _run_generate(generate_options(parsed), command))


def _run_generate(options: GenerateOptions, command: str) -> int:
    find_layout(options.source.chips, options.source.layout)  # so that errors in these are reported at once
    check_weights(options)
    from generate.run import run_generate  # torch and TerraTorch are imported here, when work starts

    return run_generate(options, command)


def run_audit(options: ChipOptions, json_path: Path | None) -> int:
    """Audits a chip set and prints what it finds; returns 1 if a run would be stopped."""
    chip_set, units = options.open()
    audit = audit_chips(chip_set, options.inputs, units)
    show_audit(audit, Console())
    if json_path is not None:
        write_json(json_path, audit.to_dict())
    return 1 if audit.stops else 0


def show_audit(audit: Audit, console: Console) -> None:
    """Prints an audit as a table per modality and its findings as lines."""
    console.print(
        f"{pluralize(len(audit.chips), 'chip')}, in pretraining units; shift: mean against the pretraining mean, in its"
    )
    console.print("standard deviations; missing: share of the pixels that are NaN or no data")
    for modality, bands in itertools.groupby(audit.bands, key=lambda band: band.modality):
        console.print(_band_table(modality, bands))
    for chip_id, reason in audit.unreadable:
        console.print(f"unreadable: {escape(chip_id)}: {escape(reason)}")
    for finding in audit.findings:
        console.print(f"[bold]{finding.level}[/]: {finding.modality}: {escape(finding.message)}")
    if not audit.findings:
        console.print("nothing suspicious")


def _band_table(modality: str, bands: Iterable[BandStatistics]) -> Table:
    """Numbers of each band, narrow enough for 80 columns, which is what a log file has."""
    unit = INPUT_MODALITIES[modality].unit
    table = Table(
        title=f"{modality}, {unit}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for heading in ("band", "min", "median", "max", "mean", "std", "shift", "missing"):
        table.add_column(heading, justify="left" if heading == "band" else "right", no_wrap=True)
    for band in bands:
        numbers = (band.minimum, band.median, band.maximum, band.mean, band.std)
        shown = [f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.1f}" for number in numbers]
        table.add_row(band.band, *shown, f"{band.shift:+.2f}", f"{band.missing:.0%}")
    return table
