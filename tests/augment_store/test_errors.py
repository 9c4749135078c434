"""Kinds of errors, by which programs tell them apart: they may be added to, and never renamed."""

from augment_store import errors
from augment_store.errors import AugmentStoreError
from augment_store.io.lock import StoreBusyError

KINDS = {
    "AugmentStoreError": "error",
    "ChipDataError": "chip_data",
    "ChipNotFoundError": "chip_not_found",
    "ChipSetError": "chip_set",
    "OutputError": "output",
    "RemotePathError": "remote_path",
    "StoreError": "store",
}


def test_kinds_are_stable():
    classes = [
        found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, Exception)
    ]
    assert {found.__name__: found.kind for found in classes if issubclass(found, AugmentStoreError)} == KINDS
    assert StoreBusyError.kind == "store_busy"
