"""Zarr arrays of the store: how they are made, and how damage in them is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import zarr
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.array_spec import ArrayConfigParams

from augment_store.errors import StoreError
from augment_store.schema import ArraySchema

WRITE_ALL_CHUNKS: Final[ArrayConfigParams] = {"write_empty_chunks": True}
"""Chunks of nothing but fill values are written too, so that a chunk that is missing is damage.

zarr keeps this with an open array, not on disk."""


def create_array(group: zarr.Group, schema: ArraySchema, shard_chips: int, *, sharded: bool) -> None:
    """Makes an empty array, compressed and with a checksum per chunk.

    Args:
        group: Group it belongs to.
        schema: What it holds.
        shard_chips: Chips per object on disk.
        sharded: Whether each chip is a chunk of its own within that object.
    """
    chunk = (1 if sharded else shard_chips, *schema.shape)
    group.create_array(
        schema.name,
        shape=(0, *schema.shape),
        chunks=chunk,
        shards=(shard_chips, *schema.shape) if sharded else None,
        dtype=schema.dtype,
        compressors=[ZstdCodec(level=3), Crc32cCodec()],
        fill_value=schema.fill,
        attributes=schema.attributes,
        dimension_names=schema.dims,
    )


def metadata_problem(array: zarr.Array[Any], schema: ArraySchema, shard_chips: int, *, sharded: bool) -> str:
    """In which key an array's metadata differs from what `create_array` writes; empty where in none."""
    memory: Store = zarr.storage.MemoryStore()
    group = zarr.create_group(memory, zarr_format=3)
    create_array(group, schema, shard_chips, sharded=sharded)
    expected, found = (made.metadata.to_dict() for made in (group[schema.name], array))
    for key in sorted({*expected, *found} - {"shape"}):
        ours, theirs = (repr(entry.get(key)) for entry in (expected, found))
        if ours != theirs:
            return f"{key} is {theirs[:80]}, expected {ours[:80]}"
    return ""


DAMAGE: Final = (
    *(OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError),
    *(IndexError, MemoryError, OverflowError, ExceptionGroup),
)
"""What zarr raises on a damaged chunk or metadata; newer ones gather what several reads raised in a group."""


@contextlib.contextmanager
def damage_named(path: Path, what: str) -> Iterator[None]:
    """Turns whatever zarr raises on a damaged chunk or metadata into one line that names it."""
    try:
        yield
    except (StoreError, PermissionError):
        raise
    except DAMAGE as error:
        reason = error
        while isinstance(reason, ExceptionGroup):
            reason = reason.exceptions[0]
        raise StoreError(
            f"{path}: {what} cannot be read ({reason}); the store is damaged there. "
            f"Run python -m augment_store verify {path} --repair, then generate again"
        ) from error
