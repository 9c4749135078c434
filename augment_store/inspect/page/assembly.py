"""Putting a page together: one file with its style, its data and its scripts, which loads nothing from outside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from augment_store.modalities.definitions import LegendClass

SHARED: Final = "augment_store.inspect.page"


@dataclass(frozen=True)
class PageAssets:
    """The files of a page: ``body.html``, ``style.css`` and scripts.

    Attributes:
        package: Package whose folder ``assets`` holds them.
        scripts: Names of the scripts in the order they are run, after `SHARED`'s own.
    """

    package: str
    scripts: tuple[str, ...]

    def read(self, name: str) -> str:
        """Read the text of one of the files."""
        return _page_file(self.package, f"assets/{name}")


def assemble(assets: PageAssets, title: str, data: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Yield the page, part by part.

    Args:
        assets: Its files.
        title: Its title until a script changes it; plain text.
        data: JSON by the id under which `read` of ``dom.js`` finds it, in parts so that it need not be held at once.
    """
    head, body, end = _page_file(SHARED, "frame.html").split("<!--part-->")
    # "&" first: after "<" it would also escape the "&" of "&lt;"
    yield head.replace("<!--title-->", title.replace("&", "&amp;").replace("<", "&lt;"))
    yield f"<style>\n{_page_file(SHARED, 'base.css')}{assets.read('style.css')}</style>\n{body}"
    yield assets.read("body.html")
    for name, parts in data.items():
        yield f'<script type="application/json" id="{name}">'
        yield from parts
        yield "</script>\n"
    scripts = (_page_file(SHARED, "dom.js"), *map(assets.read, assets.scripts))
    # one function around all scripts, so that none of their names is global
    yield f"<script>\n(() => {{\n'use strict';\n{''.join(scripts)}}})();\n</script>\n{end}"


def as_json(value: Any) -> str:
    """Return JSON that is safe inside a script element: it holds no ``<``."""
    # allow_nan=False: JSON has no NaN, and the browser would refuse all of the data
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def as_legend(classes: Sequence[LegendClass]) -> list[dict[str, str]]:
    """Return classes with their names, and colors as CSS writes them."""
    return [{"name": entry.name, "colour": entry.hex} for entry in classes]


def _page_file(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
