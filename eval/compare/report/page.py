"""The page for the browser: one file with everything in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

from augment_store.files import write_whole
from augment_store.modalities import LegendClass
from eval.compare.report.model import Chip, Report
from eval.compare.report.pictures import AGREEMENT, Shown, draw_chip, legend

_SCRIPTS: Final = ("tables.js", "plots.js", "chips.js", "main.js")


def write_page(path: Path, report: Report, shown: Shown | None, chosen: Sequence[Chip]) -> None:
    """Writes the page.

    Args:
        path: File to write.
        report: What was compared.
        shown: What pictures are made from, None where there are none.
        chosen: Rows of the chips to show.

    Raises:
        OutputError: If it cannot be written.
        AugmentStoreError: If a chip to show cannot be read.
    """
    write_whole(path, (part.encode() for part in _parts(report, shown, chosen)))


def _parts(report: Report, shown: Shown | None, chosen: Sequence[Chip]) -> Iterator[str]:
    head, body, end = _asset("template.html").split("<!--part-->")
    chips = [{**row.model_dump(), "layers": draw_chip(shown, row.id)} for row in chosen] if shown else []
    legends = {"classes": _legend(legend(report.test.classes)), "agreement": _legend(AGREEMENT)}
    if shown is not None and shown.store is not None:
        legends["generated"] = _legend(shown.store.spec.map.legend)
    yield f"{head}<style>\n{_asset('style.css')}</style>\n{body}"
    for name, value in (
        ("report", report.model_dump(mode="json")),
        ("pictures", {"chips": chips, "legends": legends}),
    ):
        yield f'<script type="application/json" id="{name}">{_json(value)}</script>\n'
    yield (
        "<script>\n(() => {\n'use strict';\n"
        + "".join(_asset(name) for name in _SCRIPTS)
        + "})();\n</script>"
    )
    yield end


def _legend(classes: Sequence[LegendClass]) -> list[dict[str, str]]:
    return [{"name": entry.name, "colour": "#{:02x}{:02x}{:02x}".format(*entry.rgb)} for entry in classes]


def _json(value: Any) -> str:
    """JSON that may stand inside a script element: it holds no ``<``."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return resources.files("eval.compare.report").joinpath(f"assets/{name}").read_text(encoding="utf-8")
