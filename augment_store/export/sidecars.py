"""Files beside a categorical raster: GDAL's, with category names and attribute table, and QGIS's style."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from augment_store.io.files import atomic_write
from augment_store.modalities.definitions import LegendClass

_COLUMNS: Final = (
    ("Value", 0, 5),
    ("Class", 2, 2),
    ("Red", 0, 6),
    ("Green", 0, 7),
    ("Blue", 0, 8),
)
"""Name, type (0 integer, 2 text) and usage of a column, in the numbers of GDAL's `GDALRATFieldUsage`."""


def write_sidecars(raster: Path, classes: Sequence[LegendClass]) -> None:
    """Write ``<raster>.aux.xml`` and ``.qml`` for a categorical raster; remove old ones beside another.

    Without the style, QGIS lists the unused entries of the color table too, black and unnamed.

    Raises:
        OutputError: If one cannot be written.
    """
    # both are written anew or removed: they may be of another export to the same name
    documents = {
        raster.with_name(f"{raster.name}.aux.xml"): _document,
        raster.with_suffix(".qml"): _qgis_style,
    }
    for path, make in documents.items():
        if classes:
            atomic_write(path, [ElementTree.tostring(make(classes), encoding="utf-8")])
        else:
            path.unlink(missing_ok=True)


def _qgis_style(classes: Sequence[LegendClass]) -> ElementTree.Element:
    """Return the parts of QGIS's style of a paletted raster that it needs."""
    root = ElementTree.Element("qgis")
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(pipe, "rasterrenderer", type="paletted", band="1", opacity="1")
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for entry in classes:
        shown = {"value": str(entry.value), "label": entry.name, "color": entry.hex, "alpha": "255"}
        ElementTree.SubElement(palette, "paletteEntry", shown)
    return root


def _document(classes: Sequence[LegendClass]) -> ElementTree.Element:
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    names = ElementTree.SubElement(band, "CategoryNames")
    for entry in classes:
        # GDAL takes a name's position for its pixel value: TerraMind's legend counts from 0, no gaps
        _add_text_element(names, "Category", entry.name)
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_COLUMNS):
        column = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        _add_text_element(column, "Name", name)
        _add_text_element(column, "Type", str(kind))
        _add_text_element(column, "Usage", str(usage))
    for index, entry in enumerate(classes):
        row = ElementTree.SubElement(table, "Row", index=str(index))
        # one value for each of _COLUMNS, in their order
        for value in (entry.value, entry.name, *entry.rgb):
            _add_text_element(row, "F", str(value))
    return root


def _add_text_element(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = text
