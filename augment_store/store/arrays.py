"""Arrays of the store on disk: how Zarr makes them, how they are read without it, and how damage is reported.

Zarr takes twice as long as GDAL for a GeoTIFF to read one chip of a shard, most of it for its event loop. What lies
on disk is fixed by the schema and simple: an object is a chunk (compressed by zstd, then a crc32c), or as many of those
as the shard has chips with a table of their positions at the end
(https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed). So reading is done here, and writing by Zarr.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np
import zarr
from numcodecs.vlen import VLenUTF8
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.array_spec import ArrayConfigParams

from augment_store.errors import RemotePathError, StoreError
from augment_store.io.objects import FileVersion, OpenFile, RemoteObject, opened, read_object
from augment_store.io.remote import RemotePath
from augment_store.store.schema import ArraySchema, Role
from augment_store.utils.validation import load_json

WRITE_ALL_CHUNKS: Final[ArrayConfigParams] = {"write_empty_chunks": True}
"""Chunks of nothing but fill values are written too, so that a chunk that is missing is damage.

zarr keeps this with an open array, not on disk."""

MAP_LEVEL: Final = 10
COLUMN_LEVEL: Final = 3
"""Levels of zstd. At 10, land cover of four timesteps takes fewer bytes than with deflate: real maps, and also blocks,
whose repeated rows zstd misses up to level 8. Writing costs 1 ms a chip, and fewer bytes are read faster."""

_NEVER_WRITTEN: Final = 2**64 - 1
"""Offset and length, in a shard's table, of a chunk that was never written."""

# a crc32c has 32 bits
_CHECKSUM_BYTES: Final = 4
_HELD_OBJECTS: Final = 8
_HELD_REMOTE: Final = 2**16
"""Objects at URLs whose size and table are kept, some 1 kB each."""


def create_array(group: zarr.Group, schema: ArraySchema, shard_chips: int) -> None:
    """Make an empty array, compressed and with a checksum per chunk.

    Args:
        group: Group it belongs to.
        schema: What it holds.
        shard_chips: Chips per shard of the store.
    """
    # one object on disk: a shard of one-chip chunks, or a single chunk of a column
    whole = (schema.object_chips(shard_chips), *schema.shape)
    sharded = schema.role is Role.GENERATED
    level = MAP_LEVEL if sharded else COLUMN_LEVEL
    group.create_array(
        schema.name,
        shape=(0, *schema.shape),
        chunks=(1, *schema.shape) if sharded else whole,
        shards=whole if sharded else None,
        dtype=schema.dtype,
        compressors=[ZstdCodec(level=level), Crc32cCodec()],
        fill_value=schema.fill,
        attributes=schema.attributes,
        dimension_names=schema.dims,
    )


def metadata_problem(array: zarr.Array[Any], schema: ArraySchema, shard_chips: int) -> str:
    """Name the key in which an array's metadata differ from what `create_array` writes; empty if none does."""
    # compared with an array made now, so that no second list of keys has to be kept up to date
    memory: Store = zarr.storage.MemoryStore()
    group = zarr.create_group(memory, zarr_format=3)
    create_array(group, schema, shard_chips)
    expected, found = (made.metadata.to_dict() for made in (group[schema.name], array))
    # the shape alone may differ: it grows with every announcement
    for key in sorted({*expected, *found} - {"shape"}):
        ours, theirs = (repr(entry.get(key)) for entry in (expected, found))
        if ours != theirs:
            return f"{key} is {theirs[:80]}, expected {ours[:80]}"
    return ""


class StoredArray:
    """Read an array of a store.

    Args:
        store: Folder of the store.
        schema: What the array must hold.
        shard_chips: Chips per shard of the store.

    Raises:
        StoreError: If its metadata are missing, unreadable, or describe another layout.
    """

    def __init__(self, store: Path, schema: ArraySchema, shard_chips: int) -> None:
        self.schema = schema
        self.chips = schema.object_chips(shard_chips)
        self._folder = store / schema.name
        # None stands for text, which has a codec of its own
        self._dtype = None if schema.dtype == "str" else np.dtype(schema.dtype).newbyteorder("<")
        # by object number: its decoded values, and the version of the file that they are from
        self._held: dict[int, tuple[NDArray[Any], FileVersion]] = {}
        self._remote: dict[int, RemoteObject] = {}
        with wrap_damage(store, schema.name):
            content = read_object(self._folder / "zarr.json")
            if content is None:
                raise StoreError(f"{store}: no array {schema.name!r}; the store is damaged")
            self.length = self._checked_length(load_json(content))

    def _checked_length(self, metadata: dict[str, Any]) -> int:
        """Return the number of chips that the metadata declare.

        Raises:
            ValueError: If they declare a layout that this class does not read.
        """
        sharded, text = self.schema.role is Role.GENERATED, self._dtype is None
        # this reader knows only what `create_array` writes; anything else would be decoded wrongly
        expected = {
            "data_type": "string" if text else self.schema.dtype,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [self.chips, *self.schema.shape]},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        }
        for key, value in expected.items():
            if metadata[key] != value:
                raise ValueError(f"{key} is {str(metadata[key])[:80]}, expected {value}")
        codecs = [codec["name"] for codec in metadata["codecs"]]
        layout = ["sharding_indexed"] if sharded else ["vlen-utf8" if text else "bytes", "zstd", "crc32c"]
        if codecs != layout:
            raise ValueError(f"codecs are {codecs}, expected {layout}")
        length, *rest = metadata["shape"]
        # `type`, since JSON's true would pass as an instance of int
        if type(length) is not int or length < 0 or tuple(rest) != self.schema.shape:
            raise ValueError(f"shape {metadata['shape']} by chip, expected {self.schema.shape}")
        return length

    def object(self, number: int) -> Path:
        """Return the path of an object, whether or not it exists."""
        # objects are cut along the chips alone, so every other coordinate of a chunk's key is 0
        return self._folder.joinpath("c", str(number), *["0"] * len(self.schema.shape))

    def chip(self, position: int) -> NDArray[Any]:
        """Return one chip of the array, as a copy; fill values where it was never written.

        Raises:
            StoreError: If its object is not a file.
            ValueError: If its object is damaged; other errors of `DAMAGE` likewise.
        """
        if position >= self.length:
            raise IndexError(f"it declares {self.length} chips, so none at position {position}")
        number, row = divmod(position, self.chips)
        if self.schema.role is not Role.GENERATED:
            # a copy, as `_whole` keeps the array that it returns
            return np.array(self._whole(number)[row])
        with self._open(number) as file:
            if file is None:
                return self._filled(())
            # the table at a shard's end: 8 bytes each for offset and length of a chunk, then a crc32c
            length = 16 * self.chips
            start = file.stamp.size - length - _CHECKSUM_BYTES
            # a shard that was cut short may end before its table does: what is read then fails the checksum
            table = _without_checksum(file.read(length + _CHECKSUM_BYTES, max(0, start)))
            offset, count = struct.unpack_from("<QQ", table, 16 * row)
            if offset == count == _NEVER_WRITTEN:
                return self._filled(())
            if offset + count > start:
                raise ValueError("the position of the chunk lies outside its shard")
            return self._decoded(file.read(count, offset), self.schema.shape)

    def forget(self, first: int, last: int) -> None:
        """Drop what is kept of the objects of chips ``first`` to ``last - 1``, which have been written to."""
        # rounded up, since the last object may be written to in part
        for number in range(first // self.chips, -(-last // self.chips)):
            self._held.pop(number, None)
            self._remote.pop(number, None)

    def region(self, first: int, last: int) -> NDArray[Any]:
        """Return chips ``first`` to ``last - 1`` of the array, as a copy.

        Raises:
            StoreError: If an object is not a file.
            ValueError: If an object is damaged; other errors of `DAMAGE` likewise.
        """
        if self.schema.role is Role.GENERATED:
            # [...] → [1, ...]; the empty part in front gives an empty region its shape and type
            chips = [self.chip(position)[None] for position in range(first, last)]
            return np.concatenate([self._filled((0,)), *chips])
        parts = [self._filled((0,))]
        for number in range(first // self.chips, -(-last // self.chips)):
            start = number * self.chips
            # the first and the last object may reach beyond the region
            parts.append(self._whole(number)[max(0, first - start) : last - start])
        return np.concatenate(parts)

    def _whole(self, number: int) -> NDArray[Any]:
        """Read an object of a column; the last ones read are kept in memory while their files stay the same."""
        with self._open(number) as file:
            if file is None:
                return self._filled((self.chips,))
            stamp = file.stamp
            if number in self._held and self._held[number][1] == stamp:
                return self._held[number][0]
            values = self._decoded(file.read(stamp.size, 0), (self.chips, *self.schema.shape))
        self._held.pop(number, None)
        # a dict keeps the order of insertion, so the object that was decoded first goes first
        while len(self._held) >= _HELD_OBJECTS:
            self._held.pop(next(iter(self._held)))
        self._held[number] = values, stamp
        return values

    def _open(self, number: int) -> AbstractContextManager[OpenFile | RemoteObject | None]:
        """Open one shard or chunk file, None where there is none; remote objects are asked for once and kept."""
        path = self.object(number)
        if not isinstance(path, RemotePath):
            return opened(path)
        if number not in self._remote:
            # an absence is not remembered: this process may write the object later
            if not path.is_file():
                return contextlib.nullcontext()
            while len(self._remote) >= _HELD_REMOTE:
                self._remote.pop(next(iter(self._remote)))
            self._remote[number] = RemoteObject(path)
        return contextlib.nullcontext(self._remote[number])

    def _decoded(self, content: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
        raw = Zstd().decode(_without_checksum(content))
        if self._dtype is None:
            return np.asarray(VLenUTF8().decode(raw), dtype=object).reshape(shape)
        # `astype` copies: an array over bytes cannot be written to
        return np.frombuffer(raw, self._dtype).reshape(shape).astype(self.schema.dtype)

    def _filled(self, chips: tuple[int, ...]) -> NDArray[Any]:
        dtype = object if self._dtype is None else self.schema.dtype
        return np.full((*chips, *self.schema.shape), self.schema.fill, dtype)


def _without_checksum(content: bytes) -> bytes:
    """Return a chunk without the crc32c at its end, which must match the rest."""
    body, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if google_crc32c.value(body) != int.from_bytes(checksum, "little"):
        raise ValueError("its checksum does not match its content")
    return body


DAMAGE: Final = (
    *(OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, struct.error),
    *(IndexError, MemoryError, OverflowError, ExceptionGroup),
)
"""Errors that a damaged chunk or damaged metadata raise, here and in zarr, whose newer versions group them."""


@contextlib.contextmanager
def wrap_damage(path: Path, what: str) -> Iterator[None]:
    """Turn any error of a damaged chunk or damaged metadata into one line that names what is damaged."""
    try:
        yield
    except (StoreError, RemotePathError, PermissionError):
        raise  # a server that does not answer is not damage
    except DAMAGE as error:
        reason = error
        # the first error inside says what is wrong; the group's own text does not
        while isinstance(reason, ExceptionGroup):
            reason = reason.exceptions[0]
        raise StoreError(
            f"{path}: {what} cannot be read ({reason}); the store is damaged there. "
            f"Run tim-store verify {path} --repair, then generate again"
        ) from error
