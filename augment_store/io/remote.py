"""Folders and files at a URL, read the way those on disk are, through fsspec.

Stores and chip sets are read by `Path` everywhere; `RemotePath` is one whose reading goes to fsspec. The `UPath` of
universal_pathlib is no `Path`, and keeps a file system that fsspec refuses in a forked worker. What a store writes at a
URL goes through `augment_store.io.objects`.
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
from augment_store.utils.text import single_line

# any number of slashes, as `Path` makes one of two
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]+):/+", re.IGNORECASE)

_LOGIN: Final = re.compile(
    r"(\b(?:https?|ftp):/+)[^/\s]*@|([a-z][a-z0-9+.-]+:/+)[^/\s]*:[^/\s]*@", re.IGNORECASE
)
"""A user and password before the host, or a token; ``abfs://container@account`` has neither."""

_QUERY: Final = re.compile(r"([a-z][a-z0-9+.-]+:/[^?\n]*)\?\S*=\S*", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Return a text in which no URL has a user and password, or a query such as ``?token=…``.

    Everything that is kept or shown goes through it: the history, manifests, messages, and what is published.
    """
    return _QUERY.sub(r"\1", _LOGIN.sub(r"\1\2", text))


def as_path(location: str | Path) -> Path:
    """Return the path of a folder or file, by its path or URL, also by what `Path` makes of a URL (``s3:/bucket``)."""
    if isinstance(location, RemotePath):
        return location
    scheme = _SCHEME.match(str(location))
    if scheme is None:
        return Path(location)
    rest = str(location)[scheme.end() :]
    return Path("/", rest) if scheme[1].lower() == "file" else RemotePath(f"{scheme[1].lower()}://{rest}")


def check_no_credentials(url: str) -> None:
    """Make sure that a URL holds no user and password, and no query such as ``?token=…``.

    Raises:
        RemotePathError: If it does; the message does not repeat them.
    """
    plain = without_secrets(url)
    if plain != url:
        raise RemotePathError(
            f"{plain}: given with a password, token or query, which would be kept in histories and seen in lists of "
            "processes; leave it out, and give it to the client in the environment: for S3 AWS_ACCESS_KEY_ID and "
            'AWS_SECRET_ACCESS_KEY, for others as FSSPEC_HTTPS=\'{"headers": {"Authorization": …}}\''
        )


class RemotePath(PosixPath):
    """A folder or file at a URL, to be read only; what it was when first looked at is remembered.

    Credentials in it are refused when it is used, and never shown. Whatever would hand it to the operating system, as
    writing does, raises `RemotePathError`.
    """

    def __str__(self) -> str:
        return without_secrets(self._url)

    @property
    def _url(self) -> str:
        # pathlib keeps one slash of the two that clients need
        return _SCHEME.sub(r"\1://", super().__str__(), count=1)

    @property
    def address(self) -> str:
        """Return the URL, for the client.

        Raises:
            RemotePathError: If it holds credentials.
        """
        check_no_credentials(self._url)
        return self._url

    def __fspath__(self) -> str:
        raise RemotePathError(f"{self}: a URL is only read; write to a local folder, and copy it there")

    @property
    def protocol(self) -> str:
        """Return what comes before the ``://``."""
        return self.parts[0].rstrip(":")

    def _look(self) -> dict[str, Any] | None:
        """Return what fsspec knows of it, None where nothing is there.

        Raises:
            RemotePathError: If the server cannot be asked, or refuses to say.
        """
        # no `__init__` sets it: pathlib makes derived paths without one in Python 3.11
        known: dict[str, Any] | None = getattr(self, "_seen", None)
        if known is None:
            # an absence is not remembered, as the file may be written later
            with contextlib.suppress(FileNotFoundError):
                known = self._seen = self.ask("info")
        return known

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Say whether something is there."""
        return self._look() is not None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Say whether a file is there; to HTTP every address is one."""
        found = self._look()
        return found is not None and found["type"] == "file"

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Say whether a folder is there: files whose names begin with its own."""
        found = self._look()
        # `info` says file of every HTTP address, and of an object named like the folder
        return found is not None and (found["type"] == "directory" or bool(self.ask("isdir")))

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return kind and size.

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
        """Yield files and folders in a folder."""
        # clients give names with or without the protocol, so it is left out of both
        own = self.address.partition("://")[2].strip("/")
        for name in self.ask("ls", detail=False):
            path = str(name).rpartition("://")[2].strip("/")
            if path != own:  # object stores' consoles make an object for a folder, named like it
                yield self / path.rpartition("/")[2]

    def open(self, mode: str = "r", *_: Any, encoding: str | None = None, **__: Any) -> IO[Any]:  # type: ignore[override]
        """Open a file's content, read whole.

        Raises:
            RemotePathError: If it is to be written.
        """
        if set(mode) & set("wax+"):
            self.__fspath__()
        content = io.BytesIO(self.read_range())
        return content if "b" in mode else io.TextIOWrapper(content, encoding or "utf-8")

    def read_range(self, start: int | None = None, stop: int | None = None) -> bytes:
        """Return bytes of a file, by default all.

        Raises:
            FileNotFoundError: If there is no such file.
            RemotePathError: If the server cannot be asked, or refuses.
        """
        content: bytes = self.ask("cat_file", start=start, end=stop)
        return content

    def resolve(self, strict: bool = False) -> RemotePath:
        """Return itself: a URL is absolute."""
        return self

    def absolute(self) -> RemotePath:
        """Return itself."""
        return self

    def is_absolute(self) -> bool:
        """Return true."""
        return True

    def ask(self, method: str, *given: Any, doing: str = "read", **named: Any) -> Any:
        """Return what a method of fsspec's file systems returns for it.

        Args:
            method: Name of the method.
            given: Its arguments after the path.
            doing: What is done to it, for the message.
            named: Its keyword arguments.

        Raises:
            FileNotFoundError: If nothing is there to be read or deleted.
            FileExistsError: If something is there that was to be created.
            RemotePathError: If the server cannot be asked, or refuses.
        """
        import fsspec

        with translate_remote_errors(self, doing):
            # looked up each time: fsspec keeps file systems by process, and one made before a fork is refused after it
            files, path = fsspec.core.url_to_fs(self.address)
            try:
                return getattr(files, method)(path, *given, **named)
            finally:  # a listing that it keeps misses what other clients and processes write
                files.invalidate_cache(path)


@contextlib.contextmanager
def local_file(path: Path, largest: int) -> Iterator[Path]:
    """Give a file itself, or a temporary copy of one at a URL or in an archive.

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
def translate_remote_errors(path: Path, doing: str, kinds: type[Exception] = Exception) -> Iterator[None]:
    """Turn what fsspec and the clients behind it raise into a line with the remedy; what is not there stays so.

    Args:
        path: What is asked for; errors of a path on disk are left alone.
        doing: What is done to it: ``read``, ``written`` or ``deleted``.
        kinds: Errors that are meant; each client has some of its own, from which one can only learn the reason.
    """
    try:
        yield
    # FileExistsError is an answer that `create` waits for
    except (AugmentStoreError, FileExistsError):
        raise
    except FileNotFoundError as error:
        if not isinstance(path, RemotePath) or (doing != "written" and not _is_silence(path, error)):
            raise
        raise _refused(path, doing, error.__cause__ or error) from error
    except kinds as error:
        if not isinstance(path, RemotePath):
            raise
        raise _refused(path, doing, error) from error


def _is_silence(path: RemotePath, error: FileNotFoundError) -> bool:
    """Say whether nobody answered; fsspec's HTTP client says of such a server, too, that nothing is there."""
    cause = error.__cause__
    return (
        cause is not None
        and path.protocol in {"http", "https"}
        and getattr(cause, "status", 0) not in _ABSENT
    )


def _refused(path: RemotePath, doing: str, reason: BaseException) -> RemotePathError:
    while isinstance(reason, ExceptionGroup):  # newer versions of zarr group them
        reason = reason.exceptions[0]
    told = without_secrets(single_line(reason) or type(reason).__name__)
    if isinstance(reason, ImportError):
        package = '"terramind-tim-store[remote]"' if path.protocol in {"s3", "s3a"} else "the package named"
        return RemotePathError(f"{path}: cannot be {doing} ({told}); pip install {package}")
    return RemotePathError(
        f"{path}: cannot be {doing} ({told}); check the address, the network and your credentials"
        f"{_CREDENTIALS.get(path.protocol, '')}"
    )


_ABSENT: Final = {404, 410}
"""Answers of HTTP that say that nothing is there."""

_CREDENTIALS: Final = {
    "s3": " (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or for a public bucket FSSPEC_S3='{\"anon\": true}')"
}
