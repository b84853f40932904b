"""What carries messages: a websocket, a ZMQ request socket, HTTP. Whatever breaks or takes too long is a `LinkError`.

Each has one deadline per answer and a limit on its size. None uses a proxy: a policy server is a machine on one's own network.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from .base import Channel
from .errors import LinkError, OverdueError, WireError
from .packing import in_short

MAX_ANSWER_BYTES = 64 * 2**20
_CONNECT_S = 5.0
_LOOK_UP_MS = 200


def open_channel(url: str, timeout_s: float, headers: Mapping[str, str]) -> Channel:
    """Connect to ``ws://``, ``wss://``, ``tcp://`` (ZMQ), ``http://`` or ``https://``.

    Raises:
        LinkError: Nobody answers there.
    """
    kinds: dict[str, Callable[[str, float, Mapping[str, str]], Channel]] = {
        "ws": Websocket,
        "wss": Websocket,
        "tcp": ZmqSocket,
        "http": Http,
        "https": Http,
    }
    return kinds[urlsplit(url).scheme](url, timeout_s, headers)


class Websocket:
    """A websocket connection.

    No pings: a server whose event loop waits for its model answers none. For that reason a handshake may take as long as an answer.
    """

    def __init__(self, url: str, timeout_s: float, headers: Mapping[str, str]) -> None:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        self._timeout_s = timeout_s
        self._kept = ExitStack()
        try:
            self._socket = self._kept.enter_context(
                connect(
                    url,
                    additional_headers=dict(headers),
                    compression=None,
                    max_size=MAX_ANSWER_BYTES,
                    open_timeout=timeout_s,
                    close_timeout=2,
                    ping_interval=None,
                    proxy=None,
                )
            )
        except (OSError, WebSocketException) as error:
            raise LinkError(f"no websocket server answers at {url} ({error or type(error).__name__})") from error

    def send(self, message: bytes) -> None:
        from websockets.exceptions import WebSocketException

        try:
            self._socket.send(message)
        except (OSError, WebSocketException) as error:
            raise LinkError(f"the connection broke ({error})") from error

    def receive(self) -> bytes | str:
        from websockets.exceptions import PayloadTooBig, WebSocketException

        try:
            return self._socket.recv(timeout=self._timeout_s)
        except TimeoutError as error:
            raise OverdueError(f"no answer for {self._timeout_s:g} s") from error
        except (OSError, WebSocketException) as error:
            if isinstance(error.__cause__, PayloadTooBig) or "1009" in str(error):
                raise WireError(f"the server's message is larger than {MAX_ANSWER_BYTES} bytes ({error}).") from error
            raise LinkError(f"the connection broke ({error})") from error

    def exchange(self, message: bytes) -> bytes | str:
        self.send(message)
        return self.receive()

    def close(self) -> None:
        self._kept.close()


class ZmqSocket:
    """A ZMQ request socket; one that has missed an answer is of no more use, which is why it is closed then."""

    def __init__(self, url: str, timeout_s: float, headers: Mapping[str, str]) -> None:
        import zmq

        self._url, self._timeout_s = url, timeout_s
        self._closing = False
        self._in_use = threading.Lock()  # a ZMQ socket must not be closed by one thread while another uses it
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_ANSWER_BYTES)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # what is sent while nobody is there is not kept for later
        try:
            self._socket.connect(url)
        except zmq.ZMQError as error:
            self._socket.close(0)
            raise LinkError(f"{url} cannot be connected to ({error})") from error

    def send(self, message: bytes) -> None:
        import zmq

        with self._in_use:
            self._wait(zmq.POLLOUT, _CONNECT_S, LinkError(f"no ZMQ server is there at {self._url}"))
            self._socket.send(message, zmq.NOBLOCK)

    def receive(self) -> bytes | str:
        import zmq

        with self._in_use:
            self._wait(zmq.POLLIN, self._timeout_s, OverdueError(f"no answer for {self._timeout_s:g} s"))
            parts = self._socket.recv_multipart(zmq.NOBLOCK)
        if len(parts) != 1:
            raise WireError(f"the server's answer has {len(parts)} parts; one is expected.")
        return bytes(parts[0])

    def exchange(self, message: bytes) -> bytes | str:
        self.send(message)
        return self.receive()

    def close(self) -> None:
        self._closing = True
        with self._in_use:
            self._socket.close(0)

    def _wait(self, event: int, seconds: float, overdue: LinkError) -> None:
        deadline = time.monotonic() + seconds
        while not self._closing:
            if self._socket.closed:
                break
            if self._socket.poll(_LOOK_UP_MS, event):
                return
            if time.monotonic() > deadline:
                raise overdue
        raise LinkError("the connection has been closed")


class Http:
    """``POST /act`` with JSON. The status says little: these servers report failures with 200, 400 and 422."""

    def __init__(self, url: str, timeout_s: float, headers: Mapping[str, str]) -> None:
        import urllib3

        parts = urlsplit(url)
        try:  # that it is there is known before it is asked, and when it comes back
            where = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
            socket.create_connection(where, _CONNECT_S).close()
        except OSError as error:
            raise LinkError(f"no HTTP server answers at {url} ({error})") from error
        self._url = url if parts.path not in ("", "/") else url.rstrip("/") + "/act"
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json", **headers}
        self._pool = urllib3.PoolManager(maxsize=1, retries=False)

    def send(self, message: bytes) -> None:
        raise WireError("an HTTP server answers every message.")

    def receive(self) -> bytes | str:
        raise WireError("an HTTP server says nothing unasked.")

    def exchange(self, message: bytes) -> bytes | str:
        import urllib3

        try:
            return self._answer(urllib3, message, time.monotonic() + self._timeout_s)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise OverdueError(f"no answer for {self._timeout_s:g} s") from error
        except urllib3.exceptions.HTTPError as error:
            raise LinkError(f"no answer from {self._url} ({error})") from error

    def close(self) -> None:
        self._pool.clear()

    def _answer(self, urllib3: Any, message: bytes, deadline: float) -> bytes:
        reply = self._pool.request(
            "POST",
            self._url,
            body=message,
            headers=self._headers,
            timeout=urllib3.Timeout(total=self._timeout_s),
            preload_content=False,
            redirect=False,
        )
        parts, size = [], 0
        try:
            while part := reply.read(2**20):
                parts.append(part)
                size += len(part)
                if size > MAX_ANSWER_BYTES:
                    raise WireError(f"the server's answer is larger than {MAX_ANSWER_BYTES} bytes.")
                if time.monotonic() > deadline:
                    raise OverdueError(f"no complete answer for {self._timeout_s:g} s")
        finally:
            reply.close() if size > MAX_ANSWER_BYTES else reply.release_conn()
        body = b"".join(parts)
        if reply.status in (502, 503, 504):
            raise LinkError(f"the server is not there: status {reply.status}")
        if reply.status not in (200, 400, 422):
            raise WireError(f"{self._url} answers with status {reply.status}: {in_short(body.decode('utf-8', 'replace'), 200)}")
        return body
