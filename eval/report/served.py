"""Serves a report from memory to browsers on this machine: nothing but its own files and its runs' videos, each by its exact name.

A request names an entry of two mappings, so no name leads to another file. The address holds a word that others on the machine do
not know, and a request that came by another name than this machine's own (a page whose name resolves to 127.0.0.1) is refused.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from ...errors import ConfigError
from .build import Report

LOOPBACK = "127.0.0.1"
_STATE = "version.json"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".mp4": "video/mp4",
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_BLOCK_BYTES = 2**16
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class State:
    """What a page is told of the report that is served.

    Attributes:
        version: How many there have been before it.
        said: How far its runs are, for people.
        at: Since when, for people.
        over: There will be no other.
    """

    version: int
    said: str
    at: str
    over: bool


class ServedReport:
    """A report on a port of this machine, until it is closed; another one can take its place at any time.

    Args:
        port: 0 for any that is free.

    Raises:
        ConfigError: The port is taken, or not for everybody to take.
    """

    def __init__(self, port: int) -> None:
        self._word = secrets.token_urlsafe(12)
        self._served: tuple[Report, State] | None = None
        self._asked = time.monotonic()
        try:
            self._server = _Server((LOOPBACK, port), self)
        except OSError as error:
            raise ConfigError(f"port {port} of this machine cannot be used: {error.strerror}; choose another --port.") from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="report server", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where browsers of this machine find it."""
        return f"http://{LOOPBACK}:{self._server.server_port}/{self._word}/"

    @property
    def quiet_s(self) -> float:
        """How long nobody has asked for anything."""
        return time.monotonic() - self._asked

    def show(self, report: Report, state: State) -> None:
        """Serve this one from now on."""
        self._served = report, state

    def tell(self, **changes: Any) -> None:
        """Change what is said of the report that is served."""
        assert self._served is not None
        report, state = self._served
        self._served = report, replace(state, **changes)

    def close(self) -> None:
        """Answer nobody any more, on connections that are open already neither."""
        self._served = None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def admits(self, host: str | None) -> bool:
        """Whether a request was meant for this machine by its own name."""
        return host in (f"{LOOPBACK}:{self._server.server_port}", f"localhost:{self._server.server_port}")

    def open(self, target: str) -> tuple[str, BinaryIO] | None:
        """Name and content of what a request's target names; None if that is nothing of the report."""
        self._asked = time.monotonic()
        path = unquote(urlsplit(target).path)
        if self._served is None or not path.startswith(f"/{self._word}/"):
            return None
        report, state = self._served
        name = path.removeprefix(f"/{self._word}/") or "index.html"
        if name == _STATE:
            return name, io.BytesIO(json.dumps(vars(state)).encode())
        if name in report.files:
            return name, io.BytesIO(report.files[name])
        if name in report.videos:
            try:
                return name, report.videos[name].open("rb")
            except OSError:  # it was deleted since
                return None
        return None


@contextmanager
def serving(port: int) -> Iterator[ServedReport]:
    """A served report that is closed afterwards."""
    served = ServedReport(port)
    try:
        yield served
    finally:
        served.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a browser keeps its connection open for as long as it likes

    def __init__(self, address: tuple[str, int], served: ServedReport) -> None:
        self.served = served
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called while the error is handled: a browser that leaves in the middle is none."""
        import sys

        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 60.0

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are nobody's news."""

    def version_string(self) -> str:
        return "vla-eval"

    def _answer(self, with_content: bool) -> None:
        if not self.server.served.admits(self.headers.get("Host")):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        found = self.server.served.open(self.path)
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        name, content = found
        with content:
            self._send(name, content, with_content)

    def _send(self, name: str, content: BinaryIO, with_content: bool) -> None:
        size = content.seek(0, io.SEEK_END)
        part = _part(self.headers.get("Range"), size)
        if part is None:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        begin, end = part
        self.send_response(HTTPStatus.OK if "Range" not in self.headers else HTTPStatus.PARTIAL_CONTENT)
        for header, value in _HEADERS.items():
            self.send_header(header, value)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(end - begin))
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
        self.end_headers()
        content.seek(begin)
        left = end - begin if with_content else 0
        while left and (block := content.read(min(_BLOCK_BYTES, left))):
            self.wfile.write(block)
            left -= len(block)


def _part(asked: str | None, size: int) -> tuple[int, int] | None:
    """First byte, and that behind the last, of the part of a file that a Range asks for; None if there is no such part."""
    if asked is None:
        return 0, size
    match = _RANGE.fullmatch(asked.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    begin, end = (int(first), min(int(last) + 1, size) if last else size) if first else (max(0, size - int(last)), size)
    return (begin, end) if begin < end else None
