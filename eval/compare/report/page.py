"""The page for the browser: one file with everything in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from augment_store.inspect.page.assembly import PageAssets, as_json, as_legend, assemble
from augment_store.io.files import atomic_write
from augment_store.modalities.legend_table import legend
from eval.compare.report.model import ChipRow, Report
from eval.compare.report.pictures import AGREEMENT, PictureSources, draw_chip, generated_legend
from eval.compare.verdict import format_interval

_ASSETS: Final = PageAssets("eval.compare.report", ("tables.js", "plots.js", "chips.js", "main.js"))


def write_page(path: Path, report: Report, shown: PictureSources | None, chosen: Sequence[ChipRow]) -> None:
    """Write the page.

    Args:
        path: File to write.
        report: What was compared.
        shown: What pictures are made from, None for no pictures.
        chosen: Rows of the chips to show.

    Raises:
        OutputError: If it cannot be written.
        AugmentStoreError: If a chip to show cannot be read.
    """
    # as `as_json` does, without a dictionary for each of many chips
    report_json = report.model_dump_json().replace("<", "\\u003c")
    data = {"report": [report_json], "pictures": [as_json(_pictures(report, shown, chosen))]}
    arms = f"{report.candidate.title} against {report.baseline.title}"
    title = f"{report.verdict.outcome.capitalize()}: {arms}, mIoU {format_interval(report.difference)}"
    atomic_write(path, (part.encode() for part in assemble(_ASSETS, title, data)))


def _pictures(report: Report, shown: PictureSources | None, chosen: Sequence[ChipRow]) -> dict[str, Any]:
    chips = [{**row.model_dump(), "layers": draw_chip(shown, row.id)} for row in chosen] if shown else []
    legends = {"classes": as_legend(legend(report.test.classes)), "agreement": as_legend(AGREEMENT)}
    generated = generated_legend(shown) if shown else ()
    return {"chips": chips, "legends": legends | ({"generated": as_legend(generated)} if generated else {})}
