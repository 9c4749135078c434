"""Modalities of TerraMind, and the maps that are generated of them, by family; public names are offered here."""

from typing import TYPE_CHECKING

import lazy_loader as lazy

__all__ = [
    "INPUT_MODALITIES",
    "LULC_LEGEND",
    "MAPS",
    "LegendTable",
    "Modality",
    "missing",
    "native",
    "ndvi_of",
]

if TYPE_CHECKING:
    from augment_store.modalities.definitions import INPUT_MODALITIES, LULC_LEGEND, Modality
    from augment_store.modalities.legend_table import LegendTable
    from augment_store.modalities.registry import MAPS
    from augment_store.modalities.values import missing, native, ndvi_of
else:
    __getattr__, __dir__, _ = lazy.attach(
        __name__,
        submod_attrs={
            "definitions": ["INPUT_MODALITIES", "LULC_LEGEND", "Modality"],
            "legend_table": ["LegendTable"],
            "registry": ["MAPS"],
            "values": ["missing", "native", "ndvi_of"],
        },
    )
