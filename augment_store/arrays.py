"""Zarr arrays of the store: how they are made, and how damage in them is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from augment_store.errors import StoreError
from augment_store.schema import ArraySchema


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
        config={"write_empty_chunks": True},  # so that a chunk that is missing is damage, never a fill value
    )


@contextlib.contextmanager
def damage_named(path: Path, what: str) -> Iterator[None]:
    """Turns whatever zarr raises on a damaged chunk or metadata into one line that names it."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: {what} cannot be read ({error}); the store is damaged there") from error
