"""Channels to processes on other machines, which call in: each says by a word that only it was told which channel is its own.

A channel is there before its process has a place, so that whoever waits for many can wait for it too. Nothing is read as a message
before the word was heard.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from .channel import Channel

_WORD_BYTES = 32
_HEARING_TIMEOUT_S = 10.0


class Line(Channel):
    """The main process's end of a channel to a process that is going to call in.

    Until it has, the end is a socket of our own that the switchboard makes readable.
    """

    def __init__(self) -> None:
        ours, self._bell = socket.socketpair()
        super().__init__(ours)
        self._connection: socket.socket | None = None
        self._connected = self._cut = False
        self._blocks = True
        self._lock = threading.Lock()

    def set_blocking(self, blocks: bool) -> None:
        self._blocks = blocks
        super().set_blocking(blocks)

    def receive(self) -> object | None:
        if not self._connected:
            try:
                heard = self._socket.recv(1)
            except BlockingIOError:
                return None
            if not heard or self._connection is None:
                raise EOFError("the process has ended before it called")
            self._socket.close()
            self._socket, self._connected = self._connection, True
            self._socket.setblocking(self._blocks)
        return super().receive()

    def plug_in(self, connection: socket.socket) -> None:
        """The process has called; from the switchboard's thread."""
        with self._lock:
            if self._cut:
                connection.close()
                return
            self._connection = connection
            self._bell.send(b"!")

    def cut(self) -> None:
        """The process has ended, or its machine is gone, which a connection need not notice; from any thread."""
        with self._lock:
            self._cut = True
            if self._connection is not None:
                with suppress(OSError):  # it has noticed
                    self._connection.shutdown(socket.SHUT_RDWR)
            self._bell.close()

    def close(self) -> None:
        self.cut()
        super().close()
        if self._connection is not None:
            self._connection.close()


class Switchboard:
    """Where processes call in.

    Args:
        host: Address of this machine that the others know.
    """

    def __init__(self, host: str) -> None:
        self._listener = socket.create_server((host, 0), backlog=1024)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._expected: dict[bytes, tuple[Line, Callable[[str], None]]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, name="switchboard", daemon=True).start()

    def expect(self, called: Callable[[str], None]) -> tuple[bytes, Line]:
        """A word for one more process, and its channel.

        Args:
            called: Is called, in another thread, with the place that the process calls from, before there is anything to receive.
        """
        word, line = secrets.token_bytes(_WORD_BYTES), Line()
        with self._lock:
            self._expected[word] = line, called
        return word, line

    def forget(self, word: bytes) -> None:
        """Whoever was told this word will not call any more."""
        with self._lock:
            self._expected.pop(word, None)

    def close(self) -> None:
        """Nobody is listened to any more; channels go on."""
        with suppress(OSError):  # it is closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._connect, args=(connection,), daemon=True).start()

    def _connect(self, connection: socket.socket) -> None:
        """Connect a caller that says one of the words; others are hung up on."""
        try:
            connection.settimeout(_HEARING_TIMEOUT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            word = connection.recv(_WORD_BYTES, socket.MSG_WAITALL)
            length = connection.recv(1)
            place = connection.recv(length[0] if length else 0, socket.MSG_WAITALL).decode(errors="replace")
            connection.settimeout(None)
        except OSError:
            connection.close()
            return
        with self._lock:
            found = next((known for known in self._expected if hmac.compare_digest(known, word)), None)
            line, called = self._expected.pop(found) if found is not None else (None, None)
        if line is None or called is None:
            connection.close()
            return
        called(place)
        line.plug_in(connection)


def call_in(address: tuple[str, int], word: bytes, place: str) -> socket.socket:
    """Connect to a switchboard, from another machine whose name is given; this end blocks.

    Raises:
        OSError: It cannot be reached.
    """
    end = socket.create_connection(address, timeout=_HEARING_TIMEOUT_S)
    end.settimeout(None)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    name = place.encode()[:255]
    end.sendall(word + bytes([len(name)]) + name)
    return end
