"""The Zarr store: spec, schema, index, reader and writer; its public names are offered here."""

from typing import TYPE_CHECKING

import lazy_loader as lazy

__all__ = ["AugmentStore", "ChipEntry", "ChipRecord", "ChipShape", "GenerationSpec", "State"]

if TYPE_CHECKING:
    from augment_store.store.chip_index import ChipEntry
    from augment_store.store.schema import ChipShape, State
    from augment_store.store.spec import GenerationSpec
    from augment_store.store.writer import AugmentStore, ChipRecord
else:
    __getattr__, __dir__, _ = lazy.attach(
        __name__,
        submod_attrs={
            "chip_index": ["ChipEntry"],
            "schema": ["ChipShape", "State"],
            "spec": ["GenerationSpec"],
            "writer": ["AugmentStore", "ChipRecord"],
        },
    )
