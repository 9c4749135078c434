"""Legend tables: which class of a reference legend each of TerraMind's ten LULC classes stands for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ConfigDict

from augment_store.errors import ChipSetError
from augment_store.io.file_kinds import found_yaml
from augment_store.io.files import read_text
from augment_store.modalities.class_colors import class_colors
from augment_store.modalities.definitions import IGNORED_LABEL, LULC_LEGEND, LegendClass
from augment_store.utils.text import shipped_or_given
from augment_store.utils.validation import STRICT, load_yaml, parse

SHIPPED: Final = Path(str(resources.files("augment_store.modalities") / "legend_files"))
"""Folder of the legend tables that ship with the package."""


@dataclass(frozen=True)
class _Class:
    """A class as a file describes it; without a colour, that of the first class mapped to it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    value: int
    name: str
    rgb: tuple[int, int, int] | None = None
    codes: tuple[int, ...] = ()


@dataclass(frozen=True)
class _File:
    """A legend table as a file describes it; `source` and `target` are remarks."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    classes: tuple[_Class, ...]
    mapping: Mapping[int, int]
    source: str = ""
    target: str = ""
    no_data: tuple[int, ...] = ()


@dataclass(frozen=True)
class LegendTable:
    """Maps TerraMind's LULC classes to the labels of a reference.

    Attributes:
        name: What users call the table.
        classes: The reference's classes, by label value.
        mapping: Label of each LULC value; values not listed have no counterpart.
        codes: Label of each code that masks of a published map have in place of labels, −1 of codes without data;
            empty where masks have labels.
    """

    name: str
    classes: tuple[LegendClass, ...]
    mapping: Mapping[int, int]
    codes: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read a table from YAML, of which JSON is a part.

        Args:
            path: File with the keys ``name``, ``classes`` (value, name and, optionally, rgb) and ``mapping``, or the
                name of a table that ships with the package, such as ``flood``; None for ``nyc``: ten classes to the
                five of the Phase 2 NYC masks.

        Raises:
            ChipSetError: If the file cannot be read, or maps values that no legend has.
        """
        # `path` again if it is neither a file nor shipped: reading it then says so
        source = SHIPPED / "nyc.yaml" if path is None else shipped_or_given(str(path), SHIPPED) or path
        plain = None
        try:
            plain = load_yaml(read_text(source))
            return cls.from_dict(plain)
        # a ChipSetError of `from_dict` is a ValueError too, and gets the file's name here
        except (OSError, ValueError, yaml.YAMLError) as error:
            if other := found_yaml(plain, "a legend table"):
                raise ChipSetError(f"{source}: not a legend table{other}") from error
            raise ChipSetError(
                f"{source}: cannot be read as a legend table ({' '.join(str(error).split())}); expected the keys "
                "name, classes (each with value, name, rgb) and mapping (LULC value: label), as in "
                "augment_store/modalities/legend_files/nyc.yaml"
            ) from error

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Build a table from plain values.

        Raises:
            Unfit: If a key is missing or unknown, or a value has another type.
            ChipSetError: If a value or label in the mapping is in neither legend.
        """
        given = parse(_File, plain)
        mapping = dict(given.mapping)
        classes = tuple(
            LegendClass(c.value, c.name, c.rgb or _colour(c.value, mapping)) for c in given.classes
        )
        values, labels = {c.value for c in LULC_LEGEND}, {c.value for c in classes}
        if not mapping.keys() <= values or not set(mapping.values()) <= labels:
            raise ChipSetError(
                f"maps {mapping}; expected values in {sorted(values)}, labels in {sorted(labels)}"
            )
        codes = {code: c.value for c in given.classes for code in c.codes}
        return cls(given.name, classes, mapping, codes | dict.fromkeys(given.no_data, IGNORED_LABEL))

    def apply(self, lulc: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Labels of a LULC map of any shape; −1 where a value has no counterpart."""
        # an entry for each uint8, so that a whole map is translated by one indexing
        lookup = np.full(256, IGNORED_LABEL, dtype=np.int64)
        for value, label in self.mapping.items():
            lookup[value] = label
        labels: NDArray[np.int64] = lookup[lulc]
        return labels


def shipped_legends() -> tuple[Path, ...]:
    """Return the names of the legend tables that ship with the package, as `LegendTable.load` takes them."""
    return tuple(Path(path.stem) for path in sorted(SHIPPED.glob("*.yaml")))


@cache
def _shipped_tables() -> tuple[LegendTable, ...]:
    """Read the legend tables that ship with the package, once: a report asks for them many times."""
    return tuple(map(LegendTable.load, shipped_legends()))


def legend_of_codes(codes: Collection[int]) -> LegendTable | None:
    """Return the shipped legend table of a published map whose codes these are; None if none or several have them."""
    tables = [table for table in _shipped_tables() if set(codes) <= table.codes.keys()]
    return tables[0] if len(tables) == 1 else None


def legend(names: Sequence[str]) -> tuple[LegendClass, ...]:
    """Give classes colors: those of the shipped legend table of these classes, else distinct ones by their names."""
    table = shipped_table(names)
    colors = tuple(entry.rgb for entry in table.classes) if table else class_colors(names)
    return tuple(LegendClass(label, name, colors[label]) for label, name in enumerate(names))


def shipped_table(names: Sequence[str]) -> LegendTable | None:
    """Return the shipped legend table with exactly these classes, if there is one."""
    found = (table for table in _shipped_tables() if [entry.name for entry in table.classes] == list(names))
    return next(found, None)


def _colour(label: int, mapping: Mapping[int, int]) -> tuple[int, int, int]:
    """Colour of the first LULC class that a table maps to a label, so that a map which is right looks right."""
    colours = {entry.value: entry.rgb for entry in LULC_LEGEND}
    found = [colours[value] for value, target in mapping.items() if target == label and value in colours]
    if not found:
        raise ChipSetError(f"class {label} has no rgb and no LULC class to take its colour from")
    return found[0]
