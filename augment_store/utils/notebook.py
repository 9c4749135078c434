"""How objects show themselves in a notebook: a table and a few pictures."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

THUMBNAILS: Final = 4
"""Pictures that an object shows."""

_SIDE: Final = 96


def to_html(title: str, rows: Mapping[str, object], pictures: Mapping[str, str]) -> str:
    """Return a table of properties and a row of pictures as HTML; texts are escaped.

    Args:
        title: Heading.
        rows: Values by property.
        pictures: Data URIs by caption.
    """
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    # pixelated: a chip of 32 px is shown larger than it is
    style = f"width:{_SIDE}px;image-rendering:pixelated;display:block"
    figures = "".join(
        f"<figure style='display:inline-block;margin:4px'><img style='{style}' src='{escape(uri)}' alt=''>"
        f"<figcaption style='max-width:{_SIDE}px;overflow-wrap:anywhere'>{escape(caption)}</figcaption></figure>"
        for caption, uri in pictures.items()
    )
    return f"<div><strong>{escape(title)}</strong><table>{cells}</table>{figures}</div>"
