"""Silencing remarks of libraries that would drown out a stage's own lines; each stage hands in those it knows."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from typing import Final

UNPLACED: Final = "Dataset has no geotransform"
"""What rasterio says of every file without georeference; chips need none, and a map of one has none."""


def filter_warnings(remarks: Iterable[str] = (), loggers: Iterable[str] = ()) -> None:
    """Silence warnings by their text, and loggers below the level of a warning; errors and other warnings stay.

    Args:
        remarks: Regular expressions for the text of warnings.
        loggers: Names of loggers.
    """
    for name in loggers:
        logging.getLogger(name).setLevel(logging.WARNING)
    for remark in remarks:
        warnings.filterwarnings("ignore", message=remark)
