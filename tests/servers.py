"""Servers of this machine that tests read from: S3, and web servers with and without ranges."""

import atexit
import contextlib
import functools
import http.server
import itertools
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faulty_proxy import FaultyProxy, faulty_proxy

_NUMBERS = itertools.count()


@functools.cache
def _s3_proxy() -> FaultyProxy:
    """Start the S3 server of this process behind a proxy; there is one, since fsspec keeps a client and its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(faulty_proxy("http://{}:{}".format(*server.get_host_and_port())))


@contextlib.contextmanager
def _s3_environment() -> Iterator[FaultyProxy]:
    """Put the server's address and a client that repeats a request once where a user sets them."""
    s3fs = pytest.importorskip("s3fs")
    proxy = _s3_proxy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", proxy.address)
        patch.setenv("AWS_ACCESS_KEY_ID", "x")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "y")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_MAX_ATTEMPTS", "2")
        patch.setattr(s3fs.S3FileSystem, "retries", 1)
        proxy.plan()
        yield proxy


@contextlib.contextmanager
def s3_bucket(folder: Path) -> Iterator[str]:
    """URL of a folder's copy in a new bucket."""
    import fsspec

    bucket = f"bucket{next(_NUMBERS)}"
    with _s3_environment():
        files = fsspec.filesystem("s3")
        files.mkdir(bucket)
        files.put(str(folder), bucket, recursive=True)
        yield f"s3://{bucket}/{folder.name}"


@contextlib.contextmanager
def proxied_bucket() -> Iterator[tuple[str, FaultyProxy]]:
    """URL of a new bucket, and the proxy before it."""
    import fsspec

    bucket = f"bucket{next(_NUMBERS)}"
    with _s3_environment() as proxy:
        fsspec.filesystem("s3").mkdir(bucket)
        yield f"s3://{bucket}", proxy


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, the first and last byte of a range as asked for."""

    def do_GET(self):
        asked = self.headers.get("Range")
        path = self.translate_path(self.path)
        if asked is None:
            return super().do_GET()
        first, last = (int(number) for number in asked.removeprefix("bytes=").split("-"))
        with open(path, "rb") as file:  # noqa: PTH123 - a text
            content = file.read()[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return None

    def log_message(self, *_):
        pass


class Whole(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and does not know ranges."""

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def web_site(folder: Path, handler: type[http.server.SimpleHTTPRequestHandler]) -> Iterator[str]:
    """URL of a folder on a web server, which lists folders."""
    made = functools.partial(handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
