"""Folders and files at a URL, read the way those on disk are, through fsspec.

Stores and chip sets are read by `Path` everywhere; `RemotePath` is one whose reading goes to fsspec. The `UPath` of
universal_pathlib is no `Path`, and keeps a file system that fsspec refuses in a forked worker.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path, PosixPath
from typing import IO, Any, Final

from augment_store.errors import AugmentStoreError, RemotePathError
from augment_store.words import one_line

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]+):/+")


def as_path(place: str | Path) -> Path:
    """The path of a folder or file, by its path or URL, also by what `Path` makes of a URL (``s3:/bucket``)."""
    scheme = _SCHEME.match(str(place))
    if scheme is None:
        return Path(place)
    if scheme[1] == "file":
        return Path("/", str(place)[scheme.end() :])
    return RemotePath(place)


class RemotePath(PosixPath):
    """A folder or file at a URL, to be read only; what it was when first looked at is remembered.

    Whatever would hand it to the operating system, as writing does, raises `RemotePathError`.
    """

    def __str__(self) -> str:
        return _SCHEME.sub(r"\1://", super().__str__(), count=1)

    def __fspath__(self) -> str:
        raise RemotePathError(f"{self}: a URL is only read; write to a local folder, and copy it there")

    @property
    def protocol(self) -> str:
        """What comes before the ``://``."""
        return self.parts[0].rstrip(":")

    def _look(self) -> dict[str, Any] | None:
        """What fsspec knows of it, None where nothing is there.

        Raises:
            RemotePathError: If the server cannot be asked, or refuses to say.
        """
        known: dict[str, Any] | None = getattr(self, "_seen", None)
        if known is None:
            with contextlib.suppress(FileNotFoundError):
                known = self._seen = self._ask("info")
        return known

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether something is there."""
        return self._look() is not None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether a file is there; to HTTP every address is one."""
        found = self._look()
        return found is not None and found["type"] == "file"

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether a folder is there: files whose names begin with its own."""
        found = self._look()
        return found is not None and (found["type"] == "directory" or bool(self._ask("isdir")))

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Kind and size.

        Raises:
            FileNotFoundError: If nothing is there.
            RemotePathError: If the server does not say how large a file is.
        """
        found = self._look()
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        kind = stat.S_IFREG if found["type"] == "file" else stat.S_IFDIR
        if kind == stat.S_IFREG and found["size"] is None:  # limits and ranges need it
            raise RemotePathError(
                f"{self}: the server does not say how large it is; copy it to a local folder"
            )
        return os.stat_result((kind, 0, 0, 0, 0, 0, int(found["size"] or 0), 0, 0, 0))

    def iterdir(self) -> Iterator[RemotePath]:  # type: ignore[override]
        """Files and folders in a folder."""
        for name in self._ask("ls", detail=False):
            yield self / str(name).rstrip("/").rpartition("/")[2]

    def open(self, mode: str = "r", *_: Any, encoding: str | None = None, **__: Any) -> IO[Any]:  # type: ignore[override]
        """A file's content, read whole.

        Raises:
            RemotePathError: If it is to be written.
        """
        if set(mode) & set("wax+"):
            self.__fspath__()
        content = io.BytesIO(self.read_range())
        return content if "b" in mode else io.TextIOWrapper(content, encoding or "utf-8")

    def read_range(self, start: int | None = None, stop: int | None = None) -> bytes:
        """Bytes of a file, by default all.

        Raises:
            FileNotFoundError: If there is no such file.
            RemotePathError: If the server cannot be asked, or refuses.
        """
        content: bytes = self._ask("cat_file", start=start, end=stop)
        return content

    def resolve(self, strict: bool = False) -> RemotePath:
        """Itself: a URL is absolute."""
        return self

    def absolute(self) -> RemotePath:
        """Itself."""
        return self

    def is_absolute(self) -> bool:
        """Yes."""
        return True

    def _ask(self, method: str, **arguments: Any) -> Any:
        import fsspec

        with _answered(self):
            # looked up each time: fsspec keeps file systems by process, and one made before a fork is refused after it
            files, path = fsspec.core.url_to_fs(str(self))
            return getattr(files, method)(path, **arguments)


@contextlib.contextmanager
def local_file(path: Path, largest: int) -> Iterator[Path]:
    """A file itself, or a temporary copy of one at a URL or in an archive.

    Args:
        path: Where it is.
        largest: Bytes that a copy may take.

    Raises:
        ValueError: If a file to be copied is larger.
    """
    if type(path) is type(Path()):  # what other kinds of path stand for has no name in the file system
        yield path
        return
    size = path.stat().st_size
    if size > largest:
        raise ValueError(f"{size:,} bytes, at most {largest:,} are read")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        copy.write_bytes(path.read_bytes())
        yield copy


@contextlib.contextmanager
def _answered(path: RemotePath) -> Iterator[None]:
    """Turns what fsspec and the clients behind it raise into a line with the remedy; what is not there stays so."""
    try:
        yield
    except AugmentStoreError:
        raise
    except FileNotFoundError as error:
        cause = error.__cause__  # fsspec's HTTP client says so of a server that does not answer, too
        if cause is None or path.protocol not in {"http", "https"} or getattr(cause, "status", 0) in _ABSENT:
            raise
        raise _refused(path, cause) from error
    except ImportError as error:
        package = '"terramind-tim-store[remote]"' if path.protocol in {"s3", "s3a"} else "the package named"
        raise RemotePathError(f"{path}: cannot be read ({one_line(error)}); pip install {package}") from error
    except Exception as error:  # each client has errors of its own, from which one can only learn the reason
        raise _refused(path, error) from error


def _refused(path: RemotePath, reason: BaseException) -> RemotePathError:
    return RemotePathError(
        f"{path}: cannot be read ({one_line(reason) or type(reason).__name__}); check the address, the network and "
        f"your credentials{_CREDENTIALS.get(path.protocol, '')}"
    )


_ABSENT: Final = {404, 410}
"""Answers of HTTP that say that nothing is there."""

_CREDENTIALS: Final = {
    "s3": " (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or for a public bucket FSSPEC_S3='{\"anon\": true}')"
}
