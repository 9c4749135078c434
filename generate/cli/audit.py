"""`tim-generate audit`: compare the inputs with what TerraMind was pretrained on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from augment_store.io.files import write_json
from augment_store.modalities.definitions import INPUT_MODALITIES
from augment_store.utils.text import pluralize
from generate.audit.audit import Audit, audit_chips
from generate.audit.findings import BandStatistics
from generate.cli.parser import OptionsParser, make_parser, parse_options
from generate.options import ChipOptions

DESCRIPTION: Final = (
    "Compares the inputs with TerraMind's pretraining statistics; exits 1 if a run would be stopped."
)

EXAMPLES: Final = """
tim-generate audit --chips data/nyc
tim-generate audit --chips sen1floods11 --inputs S2L1C S1GRD --json audit.json
"""


@dataclass(frozen=True)
class AuditOptions(ChipOptions):
    """Options of an audit.

    Attributes:
        json: Also write the audit as JSON.
    """

    title: ClassVar[str] = "output"

    json: Path | None = field(default=None, kw_only=True, metadata={"metavar": "FILE"})


def audit_parser() -> OptionsParser:
    """Return the parser of `tim-generate audit`."""
    return make_parser("tim-generate audit", DESCRIPTION, EXAMPLES, AuditOptions)


def prepare(arguments: Sequence[str]) -> Callable[[], int]:
    """Parse arguments; exit with status 2 where they do not fit, or return the work to do."""
    options = parse_options(audit_parser(), AuditOptions, arguments)
    return lambda: run_audit(options)


def run_audit(options: AuditOptions) -> int:
    """Audit a chip set and print what it finds; return 1 if a run would be stopped."""
    request = options.input_request()
    audit = audit_chips(request.chip_set, request.modalities, request.units)
    show_audit(audit, Console())
    if options.json is not None:
        write_json(options.json, audit.to_dict())
    return 1 if audit.stops else 0


def show_audit(audit: Audit, console: Console) -> None:
    """Print an audit as a table per modality and its findings as lines."""
    console.print(
        f"{pluralize(len(audit.chips), 'chip')}, in pretraining units; shift: mean against the pretraining mean, in its"
    )
    console.print("standard deviations; missing: share of the pixels that are NaN or no data")
    # the bands of a modality follow one another, as `groupby` needs
    for modality, bands in itertools.groupby(audit.bands, key=lambda band: band.modality):
        console.print(_band_table(modality, bands))
    for chip_id, reason in audit.unreadable:
        console.print(f"unreadable: {escape(chip_id)}: {escape(reason)}")
    for finding in audit.findings:
        console.print(f"[bold]{finding.level}[/]: {finding.modality}: {escape(finding.message)}")
    if not audit.findings and not audit.unreadable:
        console.print("nothing suspicious")


def _band_table(modality: str, bands: Iterable[BandStatistics]) -> Table:
    """Return the statistics of each band as a table of at most 80 columns, the width of a log file."""
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
