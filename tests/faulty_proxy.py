"""A proxy before an HTTP server that does to requests what networks do: resets, delays, truncates, refuses, repeats."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

FAULTS = ("reset", "delay", "truncate", "unavailable", "repeat")
"""The connection is reset before the request is passed on, or the answer comes late, is cut in half, is 503, or is that
of the second of two equal requests, as where the first answer was lost."""

NEVER = 10**9


@dataclass
class FaultyProxy:
    """What happens to requests, by their number counted from 0.

    Attributes:
        server: Address of the server behind it.
        address: Its own.
        faults: One of `FAULTS` by request.
        dead_from: The request from which on every connection is reset.
        seen: Requests so far.
        met: How often each fault happened.
    """

    server: str
    address: str = ""
    faults: Mapping[int, str] = field(default_factory=dict)
    dead_from: int = NEVER
    seen: int = 0
    met: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, faults: Mapping[int, str] | None = None, dead_from: int = NEVER) -> None:
        """Say what happens to the requests that come from now on."""
        self.faults, self.dead_from, self.seen = faults or {}, dead_from, 0

    def fault(self) -> str:
        """Count a request; return what happens to it, empty for nothing."""
        with self.lock:
            place, self.seen = self.seen, self.seen + 1
            found = "reset" if place >= self.dead_from else self.faults.get(place, "")
            if found:
                self.met[found] = self.met.get(found, 0) + 1
            return found


@contextlib.contextmanager
def faulty_proxy(server: str) -> Iterator[FaultyProxy]:
    """Start a proxy before a server at ``http://host:port``."""
    proxy = FaultyProxy(server)

    class Handler(_Handler):
        settings = proxy

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        proxy.address = f"http://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Passes a request on, unless something happens to it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body waits 40 ms for the acknowledgment of its headers
    settings: FaultyProxy

    def log_message(self, *_: object) -> None:
        pass

    def handle_request(self) -> None:
        """Answer a request of any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.settings.fault()
        if fault == "reset":
            # no lingering: the other side gets RST in place of an orderly end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif fault == "unavailable":
            self._answer(503, [("Content-Type", "text/plain")], b"")
        else:
            if fault == "delay":
                time.sleep(0.05)
            if fault == "repeat":
                self._pass_on(body)
            self._answer(*self._pass_on(body), cut=fault == "truncate")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_request  # noqa: N815 - as the base class calls them

    def _pass_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(urlsplit(self.settings.server).netloc)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        own = {"connection", "transfer-encoding", "content-length"}
        declared = {name.lower(): value for name, value in headers}.get("content-length", "0")
        for name, value in headers:
            if name.lower() not in own:
                self.send_header(name, value)
        # that of HEAD is of a body that does not come
        self.send_header("Content-Length", declared if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True
