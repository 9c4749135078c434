"""Files in uncompressed tar archives, read where they lie, as TerraMesh publishes its chips.

A file's path is that of its archive, and then its name. Nothing is unpacked by the names in an archive, and only plain
files at its top count: links, devices, folders and what is in them are as if they were not there.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path, PosixPath, PurePosixPath
from types import MappingProxyType
from typing import Final, NamedTuple

from augment_store.errors import ChipSetError
from augment_store.io.remote import RemotePath
from augment_store.utils.text import single_line

SUFFIX: Final = ".tar"


class ByteRange(NamedTuple):
    """Position of a file's bytes in its archive."""

    start: int
    size: int


class ArchivedPath(PosixPath):
    """A file in an archive, to be read only."""

    @property
    def archive(self) -> Path:
        """Return the archive."""
        # by a plain `Path`, as the parent of this kind would be of this kind too
        return Path(str(self)).parent

    def _span(self) -> ByteRange:
        try:
            return _tar_members(self.archive)[self.name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self)) from None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Say whether the archive holds it."""
        return self.name in _tar_members(self.archive)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return kind and size.

        Raises:
            FileNotFoundError: If the archive does not hold it.
        """
        return os.stat_result((stat.S_IFREG, 0, 0, 0, 0, 0, self._span().size, 0, 0, 0))

    def read_bytes(self) -> bytes:
        """Return its content.

        Raises:
            FileNotFoundError: If the archive does not hold it.
        """
        span = self._span()
        with self.archive.open("rb") as file:
            file.seek(span.start)
            return file.read(span.size)


def is_archived(path: Path) -> bool:
    """Say whether a path, or a pattern, names files in archives, as ``S2L2A/*.tar/{id}.zarr.zip``."""
    return path.parent.name.endswith(SUFFIX)


def archived(path: Path) -> Mapping[str, Path]:
    """Return the archive of each file of a path's type, by the file's name; none at a URL, where it is read whole.

    Args:
        path: A file or a pattern in archives, see `is_archived`.

    Raises:
        ChipSetError: If an archive is damaged or compressed, or two hold a file of one name.
    """
    folder = path.parent.parent
    if isinstance(path, RemotePath) or not folder.is_dir():
        return MappingProxyType({})
    return _files(folder, path.parent.name, path.suffix, folder.stat().st_mtime_ns)


@functools.cache
def _files(folder: Path, pattern: str, suffix: str, changed: int) -> Mapping[str, Path]:
    """Do as `archived`; `changed` is when the folder last was, so that new archives are found."""
    found: dict[str, Path] = {}
    for archive in sorted(path for path in folder.glob(pattern) if path.is_file() and path.name[0] != "."):
        for name in _tar_members(archive):
            # `setdefault` returns the archive that had the name first
            if name.endswith(suffix) and found.setdefault(name, archive) is not archive:
                raise ChipSetError(f"{archive}: holds {name}, as {found[name]} does; move one of them away")
    return MappingProxyType(found)


def _tar_members(archive: Path) -> Mapping[str, ByteRange]:
    """Return the plain files at the top of an archive by their names.

    Raises:
        ChipSetError: If it cannot be read.
    """
    try:
        status = archive.stat()
        return _list_members(archive, status.st_mtime_ns, status.st_size)
    except (OSError, tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise ChipSetError(
            f"{archive}: not a whole, uncompressed tar archive ({single_line(error)}); download it again, or "
            "move it away"
        ) from error


@functools.cache
def _list_members(archive: Path, changed: int, size: int) -> Mapping[str, ByteRange]:
    """Do as `_members`, for an archive as it last changed: listing 10,000 files takes a third of a second."""
    found: dict[str, ByteRange] = {}
    # "r:" refuses compressed archives, in which no file lies as it is
    with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for entry in tar:
            if entry.size < 0:  # where the next header would be is then behind this one, without end
                raise ValueError(f"{entry.name!r} declares {entry.size} bytes")
            path = PurePosixPath(entry.name)  # which drops a leading ./
            # a sparse file's bytes are not in one piece
            if not entry.isreg() or entry.issparse() or path.parent != PurePosixPath("."):
                continue
            if path.name in found:
                raise ValueError(f"{path.name} appears twice")
            found[path.name] = ByteRange(entry.offset_data, entry.size)
        file.seek(tar.offset)  # tarfile takes a damaged header for the end
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise ValueError("it has no end mark where its files end")
    return MappingProxyType(found)
