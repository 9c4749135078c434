"""Classes guessed from the codes that masks have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from augment_store.modalities.definitions import IGNORED_LABEL
from augment_store.modalities.legend_table import legend_of_codes

_NO_LABEL: Final = frozenset({255, 65_535, 2**31 - 1})
"""Largest values of types, which often mark pixels without a label."""


@dataclass(frozen=True)
class LabelGuess:
    """Classes, and what a layout has to say of the masks.

    Attributes:
        classes: Names of the classes by label.
        notes: What was guessed, each with the layout's keys that say so.
    """

    classes: tuple[str, ...]
    notes: tuple[tuple[str, Mapping[str, Any]], ...]


def guess_labels(codes: Mapping[int, int]) -> LabelGuess:
    """Guess which codes are classes, and the labels they get.

    Args:
        codes: Pixels of each code.
    """
    found = set(codes) - {IGNORED_LABEL}
    total = sum(codes.values())
    shares = ", ".join(f"{code} {number / total:.1%}" for code, number in sorted(codes.items()))
    notes: list[tuple[str, Mapping[str, Any]]] = [(f"masks have {shares}", {})]
    ignored = sorted(code for code in found if code in _NO_LABEL or code < IGNORED_LABEL)
    kept = sorted(found - set(ignored))
    # numbers in a row may be anybody's labels
    in_row = bool(kept) and len(kept) > max(kept) - min(kept)
    table = None if in_row else legend_of_codes(kept)
    if ignored:
        notes.append((f"ignored as no label: {', '.join(map(str, ignored))}", {"ignored_labels": ignored}))
    if table is not None:
        notes.append((f"these are codes of {table.name}, whose table ships", {"legend": table.name}))
        return LabelGuess(tuple(entry.name for entry in table.classes), tuple(notes))
    # a class that these masks lack leaves a gap; codes leave more gaps than classes
    if kept and (min(kept) > 0 or max(kept) >= 2 * len(kept)):
        labels = {code: label for label, code in enumerate(kept)}
        told = ", ".join(f"{code} is {label}" for code, label in labels.items())
        notes.append((f"these codes become labels from 0: {told}", {"labels": labels}))
        return LabelGuess(tuple(f"code_{code}" for code in kept), tuple(notes))
    return LabelGuess(tuple(f"class_{label}" for label in range(1 + max(kept, default=-1))), tuple(notes))
