"""The contract between the stages: chip sets on disk and the Zarr store of generated modalities.

>>> from augment_store import AugmentStore, ChipSet, State, verify_store
>>> chips = ChipSet.open("data/nyc")
>>> chips.ids[0], sorted(chips.modalities)
('scene0_r000c000', ['DEM', 'S1RTC', 'S2L2A'])
>>> chips.read("scene0_r000c000", ["S2L2A"]).rasters["S2L2A"].shape  # timestep, band, y, x
(2, 12, 32, 32)
>>> store = AugmentStore.open("stores/nyc_lulc")
>>> store.spec.modality, len(store.chips_in(State.COMPLETE))
('LULC', 6)
>>> store.read("scene0_r000c000", "lulc").shape  # sample, timestep, y, x; checked against its digest
(1, 2, 32, 32)
>>> chip = store.to_xarray("scene0_r000c000")  # coordinates and units; whole stores: xarray.open_zarr
>>> chip.lulc.sel(sample=0, time=1).dims, chip.confidence.dtype
(('y', 'x'), dtype('float32'))
>>> list(verify_store(store, chips))  # what is wrong with it: nothing
[]
>>> from augment_store import inspect_store
>>> len(inspect_store("stores/nyc_lulc", "data/nyc"))  # chips summarized; plot() draws some of them
6
"""

from typing import TYPE_CHECKING

import lazy_loader as lazy

__all__ = [
    "AugmentStore",
    "AugmentStoreError",
    "ChipSet",
    "GenerationSpec",
    "LegendTable",
    "State",
    "StoreInspection",
    "inspect_store",
    "plot_chip",
    "verify_store",
]

if TYPE_CHECKING:
    from augment_store.api import StoreInspection, inspect_store, plot_chip
    from augment_store.chips.chip_set import ChipSet
    from augment_store.errors import AugmentStoreError
    from augment_store.integrity.verify import verify_store
    from augment_store.modalities.legend_table import LegendTable
    from augment_store.store.schema import State
    from augment_store.store.spec import GenerationSpec
    from augment_store.store.writer import AugmentStore
else:
    __getattr__, __dir__, _ = lazy.attach(
        __name__,
        submod_attrs={
            "chips.chip_set": ["ChipSet"],
            "errors": ["AugmentStoreError"],
            "api": ["StoreInspection", "inspect_store", "plot_chip"],
            "integrity.verify": ["verify_store"],
            "modalities.legend_table": ["LegendTable"],
            "store.schema": ["State"],
            "store.spec": ["GenerationSpec"],
            "store.writer": ["AugmentStore"],
        },
    )
