"""Zipped Zarr groups, format 2 or 3: which group of an archive holds the arrays, and of what they may be made."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore, ZipStore

from augment_store.chips.limits import FileFormatError
from augment_store.chips.zarr_attributes import as_sequence
from augment_store.utils.text import join_first, single_line

ARRAY: Final = "bands"
"""Name of the array that holds a chip's raster."""

_METADATA: Final = ("zarr.json", ".zgroup", ".zarray")

_CODECS: Final = frozenset(
    [
        "bytes",
        "transpose",
        "sharding_indexed",
        "blosc",
        "gzip",
        "zstd",
        "crc32c",
        "zlib",
        "lz4",
        "lzma",
        "bz2",
        "shuffle",
        "delta",
        "fixedscaleoffset",
        "quantize",
        "bitround",
        "packbits",
        "astype",
        "crc32",
        "adler32",
        "fletcher32",
        "jenkins_lookup3",
        "pcodec",
        "vlen-utf8",
    ]
)
"""Codecs of numbers; one of Python objects could run code, and is no raster."""

_LARGEST_COORDINATE: Final = 2**16
"""Bytes that a coordinate of band names may take in its archive."""


@dataclass(frozen=True, slots=True)
class ZarrArchive:
    """A group of an archive that is open.

    Attributes:
        group: The group that holds the arrays.
        nodes: Paths of all groups and arrays in the archive: to look for one that is not there takes zarr as long as
            to read a small one.
        archive: The zip file that they are in.
    """

    group: zarr.Group
    nodes: frozenset[str]
    archive: zipfile.ZipFile

    def member(self, name: str) -> Any:
        """Return an array or a group in the group, None if it is not there."""
        return self.group.get(name) if self._path(name) in self.nodes else None

    def text_coordinate(self, name: str, length: int) -> tuple[str, ...]:
        """Return the texts of a coordinate, none where there is no such array of texts of this length.

        Raises:
            FileFormatError: If it has a codec that is not known.
        """
        path = self._path(name)
        if path not in self.nodes:
            return ()
        files = [each for each in self.archive.infolist() if each.filename.startswith(f"{path}/")]
        if sum(each.file_size for each in files) > _LARGEST_COORDINATE:
            return ()
        content = tuple(
            (each.filename.removeprefix(f"{path}/"), self.archive.read(each))
            for each in files
            if not each.is_dir()
        )
        return _decode_texts(content, length) if content else ()

    def _path(self, name: str) -> str:
        return str(PurePosixPath(self.group.path, name))


# Thousands of chips of a set have the same one, and to decode it takes as long as a fifth of a chip's raster.
@lru_cache(maxsize=64)
def _decode_texts(files: tuple[tuple[str, bytes], ...], length: int) -> tuple[str, ...]:
    """Return the texts of an array whose files, by name, are these."""
    buffer = default_buffer_prototype().buffer
    store = MemoryStore({name: buffer.from_bytes(content) for name, content in files})
    array = zarr.open(store, mode="r")
    # U is text of fixed width, T NumPy's strings of any length
    if not isinstance(array, zarr.Array) or array.shape != (length,) or array.dtype.kind not in "UT":
        return ()
    check_codecs(array, "UT")
    return tuple(str(text) for text in np.asarray(array[...]))


@contextmanager
def open_zarr_archive(path: Path) -> Iterator[ZarrArchive]:
    """Open the group that holds the arrays, at the root or in the one folder that ``zip -r`` puts it into.

    Raises:
        FileFormatError: If there is no group.
        ValueError: If the file is no whole zip file.
    """
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError("not a whole zip file") from error
    with archive:
        names = archive.namelist()
        documents = [name.rpartition("/") for name in names if name.endswith(_METADATA)]
        nodes = frozenset(folder or "." for folder, _, name in documents if name in _METADATA)
        root = _find_root(names, nodes)
        with ZipStore(path, mode="r") as store:
            found = _root_group(store, root, frozenset(names))
            # Members are opened one by one, which takes longer than to read a chip: only where there is no `ARRAY`.
            has_array = str(PurePosixPath(found.path, ARRAY)) in nodes
            yield ZarrArchive(found if has_array else _innermost(found), nodes, archive)


def _root_group(store: ZipStore, root: str, names: Collection[str]) -> zarr.Group:
    """Open a group by the format that its metadata have; to look for all formats takes zarr four times as long.

    Raises:
        FileFormatError: If an array is there in place of a group.
    """
    prefix = "" if root == "." else f"{root}/"
    if f"{prefix}.zgroup" in names:
        # consolidated metadata would be a second description of the same arrays, and take longer to read
        return zarr.open_group(store, path=prefix, mode="r", zarr_format=2, use_consolidated=False)
    found = zarr.open(store, path=prefix, mode="r") if f"{prefix}zarr.json" in names else None
    if not isinstance(found, zarr.Group):
        raise FileFormatError("a single array without a group", f"write a group with the array {ARRAY!r}")
    return found


def _find_root(names: Sequence[str], nodes: Collection[str]) -> str:
    """Return the topmost folder of an archive that holds Zarr, "." at its root.

    Raises:
        FileFormatError: If none does.
    """
    if "." in nodes:
        return "."
    topmost = min(nodes, key=lambda node: (len(node), node), default=None)
    if topmost is None:
        there = join_first(dict.fromkeys(names)) or "nothing"
        raise FileFormatError(
            f"a zip file without Zarr in it; it holds {there}", f"zip a Zarr group with {ARRAY!r}"
        )
    return topmost


def _innermost(group: zarr.Group) -> zarr.Group:
    """Return the group that holds arrays, where each above it holds one group alone.

    Raises:
        FileFormatError: If an array is of a type or codec that is not known.
    """
    try:
        members = dict(group.members())
    except ValueError as error:
        raise unknown_codec(error) from error
    only = next(iter(members.values())) if len(members) == 1 else None
    return _innermost(only) if isinstance(only, zarr.Group) else group


def unknown_codec(error: Exception) -> FileFormatError:
    """Return what to say of an array that zarr does not know, or does not open as it holds Python objects."""
    reason = single_line(error)[:120]
    return FileFormatError(
        f"an array whose codec or type is not read: {reason}", "write numbers with blosc, zstd or gzip"
    )


def check_codecs(array: zarr.Array[Any], kinds: str = "iufb") -> None:
    """Make sure that an array is one of numbers, before any of its bytes are decoded.

    Raises:
        FileFormatError: If its type or a codec is not known.
    """
    if array.dtype.kind not in kinds:
        raise FileFormatError(f"data type {array.dtype}", "write numbers")
    plain = array.metadata.to_dict()
    # format 3 has codecs, format 2 a compressor and filters
    listed = [
        *as_sequence(plain.get("codecs")),
        *as_sequence(plain.get("filters")),
        *as_sequence(plain.get("compressor")),
    ]
    # a stack and not recursion, so that nested codecs cannot exceed Python's depth
    while listed:
        codec = listed.pop()
        said: Mapping[str, Any] = codec if isinstance(codec, Mapping) else {}
        name = str(said.get("id", said.get("name", ""))).rpartition(".")[2]  # numcodecs.zlib is zlib
        if name not in _CODECS:
            raise FileFormatError(f"codec {name!r}, which is not read", "write it with blosc, zstd or gzip")
        inner: Any = said.get("configuration") or {}
        listed += [*as_sequence(inner.get("codecs")), *as_sequence(inner.get("index_codecs"))]  # of a shard
